/* SPDX-License-Identifier: Apache-2.0 */
#include "base/timestamp.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const int64_t last_second_of_9999 = INT64_C(253402300799);

static struct tm to_tm(blx_timestamp t)
{
    return (struct tm){
        .tm_sec = (int)(t % 100),
        .tm_min = (int)(t / 100 % 100),
        .tm_hour = (int)(t / 10000 % 100),
        .tm_mday = (int)(t / 1000000 % 100),
        .tm_mon = (int)(t / 100000000 % 100) - 1,
        .tm_year = (int)(t / UINT64_C(10000000000)) - 1900,
    };
}

blx_timestamp blx_timestamp_from_unix(int64_t seconds)
{
    if (seconds < 0 || seconds > last_second_of_9999)
        return 0;
    time_t t = (time_t)seconds;
    struct tm tm;
    gmtime_r(&t, &tm);
    uint64_t date = (uint64_t)(tm.tm_year + 1900) * 10000 + (uint64_t)(tm.tm_mon + 1) * 100 +
                    (uint64_t)tm.tm_mday;
    return date * 1000000 + (uint64_t)tm.tm_hour * 10000 + (uint64_t)tm.tm_min * 100 +
           (uint64_t)tm.tm_sec;
}

int64_t blx_timestamp_to_unix(blx_timestamp timestamp)
{
    struct tm tm = to_tm(timestamp);
    return (int64_t)timegm(&tm);
}

static bool read_digits(const char *text, size_t wanted, blx_timestamp *value)
{
    if (strlen(text) != wanted || strspn(text, "0123456789") != wanted)
        return false;
    *value = 0;
    for (size_t i = 0; i < wanted; i++)
        *value = *value * 10 + (uint64_t)(text[i] - '0');
    return true;
}

/* A date such as February 30 comes back from seconds as another date. */
static bool is_real(blx_timestamp value)
{
    return value >= UINT64_C(19700101000000) &&
           blx_timestamp_from_unix(blx_timestamp_to_unix(value)) == value;
}

int blx_timestamp_parse(const char *text, blx_timestamp *timestamp, struct blx_error *err)
{
    blx_timestamp value;
    if (!read_digits(text, BLX_TIMESTAMP_DIGITS, &value) || !is_real(value))
        return blx_error_set(err, -EINVAL,
                             "'%.40s' is not a timestamp: write YYYYMMDDHHMMSS in UTC", text);
    *timestamp = value;
    return 0;
}

int blx_timestamp_parse_range(const char *text, blx_timestamp *first, blx_timestamp *last,
                              struct blx_error *err)
{
    blx_timestamp value;
    bool whole = read_digits(text, BLX_TIMESTAMP_DIGITS, &value);
    if (!whole && read_digits(text, 12, &value))
        value *= 100;
    else if (!whole)
        value = 0;
    if (!is_real(value))
        return blx_error_set(err, -EINVAL,
                             "'%.40s' is not a timestamp: write YYYYMMDDHHMM or YYYYMMDDHHMMSS in "
                             "UTC",
                             text);
    *first = value;
    *last = whole ? value : value + 59;
    return 0;
}

/* Without snprintf(): a listing of ten thousand checkpoints formats each of them twice. */
void blx_timestamp_format(blx_timestamp timestamp, char text[BLX_TIMESTAMP_TEXT_BYTES])
{
    for (size_t i = BLX_TIMESTAMP_DIGITS; i > 0; i--) {
        text[i - 1] = (char)('0' + timestamp % 10);
        timestamp /= 10;
    }
    text[BLX_TIMESTAMP_DIGITS] = '\0';
}

void blx_timestamp_format_rfc3339(blx_timestamp timestamp, char text[BLX_RFC3339_TEXT_BYTES])
{
    static const char pattern[] = "YYYY-MM-DDThh:mm:ssZ";
    char digits[BLX_TIMESTAMP_TEXT_BYTES];
    blx_timestamp_format(timestamp, digits);
    memcpy(text, pattern, sizeof(pattern));
    memcpy(text, digits, 4);
    for (size_t part = 1; part < 6; part++)
        memcpy(text + 2 + 3 * part, digits + 2 + 2 * part, 2);
}

int blx_timestamp_compare(const void *a, const void *b)
{
    blx_timestamp x = *(const blx_timestamp *)a, y = *(const blx_timestamp *)b;
    return x < y ? -1 : x > y;
}
