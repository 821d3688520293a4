/* SPDX-License-Identifier: Apache-2.0 */
#include "base/units.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *suffix;
    double factor;
};

/* The number at the start of `text`; *suffix points at the text after it. -EINVAL if there is none,
 * or it is not a plain decimal. */
static int parse_number(const char *text, double *number, const char **suffix)
{
    size_t digits = strspn(text, "0123456789.");
    if (digits == 0 || digits > 20)
        return -EINVAL;
    char copy[24];
    memcpy(copy, text, digits);
    copy[digits] = '\0';
    char *end;
    *number = strtod(copy, &end);
    if (*end != '\0' || end == copy || !isfinite(*number))
        return -EINVAL;
    *suffix = text + digits + strspn(text + digits, " ");
    return 0;
}

static int parse_with_units(const char *text, const struct unit *units, double limit, double *value)
{
    double number;
    const char *suffix;
    int rc = parse_number(text, &number, &suffix);
    if (rc < 0)
        return rc;
    for (; units->suffix != NULL; units++) {
        if (strcmp(units->suffix, suffix) != 0)
            continue;
        *value = number * units->factor;
        return *value <= limit ? 0 : -ERANGE;
    }
    return -EINVAL;
}

int blx_duration_parse(const char *text, uint64_t default_unit_ms, uint64_t *ms,
                       struct blx_error *err)
{
    const struct unit units[] = {{"", (double)default_unit_ms},
                                 {"ms", 1},
                                 {"s", 1e3},
                                 {"m", 6e4},
                                 {"h", 3.6e6},
                                 {"d", 864e5},
                                 {"w", 6048e5},
                                 {NULL, 0}};
    double value;
    if (parse_with_units(text, units, (double)BLX_DURATION_MAX_MS, &value) < 0)
        return blx_error_set(
            err, -EINVAL,
            "'%.40s' is not a duration: write a number with s, m, h, d or w, such as 30s or 1.5h",
            text);
    *ms = (uint64_t)llround(value);
    return 0;
}

int blx_size_parse(const char *text, uint64_t *bytes, struct blx_error *err)
{
    static const struct unit units[] = {
        {"", 1},         {"B", 1},       {"K", 0x1p10},   {"KB", 0x1p10},  {"KiB", 0x1p10},
        {"M", 0x1p20},   {"MB", 0x1p20}, {"MiB", 0x1p20}, {"G", 0x1p30},   {"GB", 0x1p30},
        {"GiB", 0x1p30}, {"T", 0x1p40},  {"TB", 0x1p40},  {"TiB", 0x1p40}, {NULL, 0},
    };
    double value;
    if (parse_with_units(text, units, 0x1p62, &value) < 0)
        return blx_error_set(err, -EINVAL,
                             "'%.40s' is not a size: write a number with K, M, G or T, such as 64M",
                             text);
    *bytes = (uint64_t)value;
    return 0;
}

const char *blx_size_format(uint64_t bytes, char text[BLX_UNIT_TEXT_BYTES])
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1023.95 && unit < 6) {
        value /= 1024;
        unit++;
    }
    snprintf(text, BLX_UNIT_TEXT_BYTES, unit == 0 ? "%.0f %s" : "%.1f %s", value, names[unit]);
    return text;
}

const char *blx_duration_format(uint64_t ms, char text[BLX_UNIT_TEXT_BYTES])
{
    uint64_t s = ms / 1000;
    if (ms < 1000)
        snprintf(text, BLX_UNIT_TEXT_BYTES, "%" PRIu64 " ms", ms);
    else if (s < 60)
        snprintf(text, BLX_UNIT_TEXT_BYTES, "%.1f s", (double)ms / 1e3);
    else if (s < 3600)
        snprintf(text, BLX_UNIT_TEXT_BYTES, "%" PRIu64 " m %" PRIu64 " s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(text, BLX_UNIT_TEXT_BYTES, "%" PRIu64 " h %" PRIu64 " m", s / 3600, s / 60 % 60);
    else
        snprintf(text, BLX_UNIT_TEXT_BYTES, "%" PRIu64 " d %" PRIu64 " h", s / 86400,
                 s / 3600 % 24);
    return text;
}
