/* SPDX-License-Identifier: Apache-2.0 */
/* The record of a test for --json: the same wherever it is printed. */
#include "base/clock.h"
#include "base/when.h"
#include "store/checkpoint/tested.h"

const char *blx_test_result_name(enum blx_test_result result)
{
    return result == BLX_TEST_GOOD ? "good" : result == BLX_TEST_BAD ? "bad" : "not made";
}

void blx_tested_print_json(struct blx_json *json, const char *key, const struct blx_tested *tested)
{
    char time[BLX_WHEN_TEXT_BYTES], checkpoint[BLX_TIMESTAMP_TEXT_BYTES];
    const int64_t begun_s = (int64_t)(tested->begun_realtime_ns / BLX_NS_PER_S);
    blx_json_open(json, key, '{');
    blx_timestamp_format(tested->checkpoint, checkpoint);
    blx_json_string(json, "checkpoint", checkpoint);
    blx_json_string(json, "time",
                    blx_when_format(blx_timestamp_from_unix(begun_s), BLX_ZONE_UTC, time));
    blx_json_bool(json, "passed", blx_tested_is_good(tested));
    blx_json_string(json, "verdict", blx_tested_verdict(tested));
    blx_json_number(json, "level", (uint64_t)tested->level);
    for (unsigned i = 0; i < BLX_TEST_CHECKS; i++)
        blx_json_string(json, blx_test_check_name((enum blx_test_check)i),
                        blx_test_result_name(tested->results[i]));
    blx_json_string(json, "machine", blx_test_machine_name(tested->machine));
    blx_json_number(json, "took_ms", tested->took_ms);
    blx_json_number(json, "booted_ms", tested->booted_ms);
    blx_json_number(json, "within_ms", tested->within_ms);
    blx_json_string(json, "expect", tested->expect);
    blx_json_string(json, "run", tested->command);
    blx_json_string(json, "seen", tested->seen);
    blx_json_string(json, "reason", tested->reason);
    blx_json_string(json, "screen", tested->screen);
    blx_json_close(json, '}');
}
