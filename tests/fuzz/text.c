/* SPDX-License-Identifier: Apache-2.0 */
/* Timestamps, durations, sizes, bandwidth limits, names and the texts of messages: what is taken
 * keeps to its bounds, and written out it reads the same. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bandwidth.h"
#include "base/name.h"
#include "base/text.h"
#include "base/timestamp.h"
#include "base/units.h"
#include "fuzz.h"
#include "wire/frame.h"
#include "wire/text_private.h"

static void check_timestamp(const char *text)
{
    blx_timestamp timestamp = 0, first = 0, last = 0;
    struct blx_error err = {0}, range_err = {0};
    char written[BLX_TIMESTAMP_TEXT_BYTES], rfc3339[BLX_RFC3339_TEXT_BYTES];
    int rc = blx_timestamp_parse(text, &timestamp, &err);
    int range_rc = blx_timestamp_parse_range(text, &first, &last, &range_err);
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
    } else {
        blx_timestamp_format(timestamp, written);
        FUZZ_ASSERT(strcmp(written, text) == 0);
        FUZZ_ASSERT(blx_timestamp_from_unix(blx_timestamp_to_unix(timestamp)) == timestamp);
        blx_timestamp_format_rfc3339(timestamp, rfc3339);
        FUZZ_ASSERT(strlen(rfc3339) == 20);
        FUZZ_ASSERT(range_rc == 0 && first == timestamp && last == timestamp);
    }
    if (range_rc < 0)
        fuzz_assert_refusal(range_rc, &range_err);
    else
        FUZZ_ASSERT(first <= last && last - first <= 59);
}

static void check_units(const char *text)
{
    uint64_t ms = 0, bytes = 0;
    struct blx_error err = {0}, size_err = {0};
    char written[BLX_UNIT_TEXT_BYTES];
    int rc = blx_duration_parse(text, 60000, &ms, &err);
    if (rc < 0)
        fuzz_assert_refusal(rc, &err);
    else
        FUZZ_ASSERT(ms <= BLX_DURATION_MAX_MS);
    rc = blx_size_parse(text, &bytes, &size_err);
    if (rc < 0)
        fuzz_assert_refusal(rc, &size_err);
    else
        FUZZ_ASSERT(bytes <= UINT64_C(1) << 62);
    FUZZ_ASSERT(strlen(blx_duration_format(ms, written)) < sizeof(written) - 1);
    FUZZ_ASSERT(strlen(blx_size_format(bytes, written)) < sizeof(written) - 1);
}

static void check_bandwidth(const char *text)
{
    struct blx_bandwidth limit = {0};
    struct blx_error err = {0};
    int rc = blx_bandwidth_parse(text, &limit, &err);
    if (rc < 0)
        fuzz_assert_refusal(rc, &err);
    FUZZ_ASSERT(limit.rule_count <= BLX_BANDWIDTH_MAX_RULES && (rc < 0) == (limit.rule_count == 0));
    struct tm when = {.tm_wday = 1, .tm_hour = 8};
    unsigned minutes;
    uint64_t rate = blx_bandwidth_at(&limit, &when, &minutes);
    FUZZ_ASSERT(rate == 0 || rate >= BLX_BANDWIDTH_MIN_BYTES);
    unsigned then = 8 * 60 + minutes;
    when = (struct tm){.tm_wday = (int)(1 + then / 1440) % 7,
                       .tm_hour = (int)(then / 60 % 24),
                       .tm_min = (int)(then % 60)};
    FUZZ_ASSERT((blx_bandwidth_at(&limit, &when, NULL) != rate) == (minutes > 0));
}

static void check_numbers(const uint8_t *data, size_t size)
{
    uint64_t number = 0;
    int64_t seconds = 0;
    char written[BLX_UNIT_TEXT_BYTES];
    memcpy(&number, data, size < sizeof(number) ? size : sizeof(number));
    memcpy(&seconds, &number, sizeof(seconds));
    FUZZ_ASSERT(strlen(blx_size_format(number, written)) > 0);
    FUZZ_ASSERT(strlen(written) < sizeof(written) - 1);
    FUZZ_ASSERT(strlen(blx_duration_format(number, written)) > 0);
    FUZZ_ASSERT(strlen(written) < sizeof(written) - 1);
    blx_timestamp timestamp = blx_timestamp_from_unix(seconds);
    FUZZ_ASSERT(timestamp == 0 || blx_timestamp_to_unix(timestamp) == seconds);
}

static void check_name(const char *text)
{
    char name[BLX_NAME_BYTES];
    enum blx_codec codec;
    struct blx_error err = {0}, codec_err = {0};
    int rc = blx_name_check("agent ID", text, &err);
    if (rc < 0)
        fuzz_assert_refusal(rc, &err);
    else
        FUZZ_ASSERT(strlen(text) <= 64 && strpbrk(text, "/ \n") == NULL && text[0] != '.');
    blx_name_from_device(text, name);
    FUZZ_ASSERT(blx_name_check("volume name", name, NULL) == 0);
    rc = blx_codec_parse(text, &codec, &codec_err);
    if (rc < 0)
        fuzz_assert_refusal(rc, &codec_err);
    else
        FUZZ_ASSERT(strcmp(blx_codec_name(codec), text) == 0);
}

/* A field as it comes over the wire, and one that is made of any text. */
static void check_field(const uint8_t *data, size_t size, const char *text)
{
    char field[64], again[64];
    blx_text_put(field, sizeof(field), text);
    FUZZ_ASSERT(blx_text_is_valid(field, sizeof(field)));
    blx_text_put(again, sizeof(again), field);
    FUZZ_ASSERT(memcmp(field, again, sizeof(field)) == 0);
    memset(field, 0, sizeof(field));
    memcpy(field, data, size < sizeof(field) ? size : sizeof(field));
    if (!blx_text_is_valid(field, sizeof(field)))
        return;
    blx_text_clean(field); /* as whoever decodes it does */
    blx_text_put(again, sizeof(again), field);
    FUZZ_ASSERT(memcmp(field, again, sizeof(field)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    check_timestamp(text);
    check_units(text);
    check_bandwidth(text);
    check_numbers(data, size);
    check_name(text);
    check_field(data, size, text);
    free(text);
    return 0;
}
