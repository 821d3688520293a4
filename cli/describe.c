/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/describe.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/command.h"

#include "store/checkpoint/missing.h"

const char *cli_plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

static const char *kind_name(bool full)
{
    return full ? "full" : "incremental";
}

const char *cli_kind_name(const struct blx_manifest *manifest)
{
    return kind_name(blx_manifest_is_full(manifest));
}

const char *cli_volume_kind_name(const struct blx_manifest_volume *volume)
{
    return kind_name(volume->base);
}

const char *cli_consistency_format(enum blx_consistency consistency, uint64_t unreadable_bytes,
                                   char text[CLI_CONSISTENCY_TEXT_BYTES])
{
    snprintf(text, CLI_CONSISTENCY_TEXT_BYTES, "%s%s", blx_consistency_name(consistency),
             unreadable_bytes > 0 ? ", damaged" : "");
    return text;
}

const char *cli_key_format(const struct blx_key_id *id, char text[BLX_KEY_ID_TEXT_BYTES])
{
    if (blx_key_id_is_none(id))
        snprintf(text, BLX_KEY_ID_TEXT_BYTES, "-");
    else
        blx_key_id_format(id, text);
    return text;
}

const char *cli_time_format(const struct blx_config *config, blx_timestamp timestamp,
                            char text[BLX_WHEN_TEXT_BYTES])
{
    return blx_when_format(timestamp, config->utc ? BLX_ZONE_UTC : BLX_ZONE_LOCAL, text);
}

const char *cli_age_format(blx_timestamp timestamp, uint64_t now_realtime_ns,
                           char text[BLX_UNIT_TEXT_BYTES])
{
    int64_t age_s = (int64_t)(now_realtime_ns / BLX_NS_PER_S) - blx_timestamp_to_unix(timestamp);
    if (age_s < 60)
        snprintf(text, BLX_UNIT_TEXT_BYTES, "%d s", age_s > 0 ? (int)age_s : 0);
    else
        blx_duration_format((uint64_t)age_s * 1000, text);
    return text;
}

const char *cli_seconds_format(uint64_t seconds, char text[BLX_UNIT_TEXT_BYTES])
{
    if (seconds < 60)
        snprintf(text, BLX_UNIT_TEXT_BYTES, "%" PRIu64 " s", seconds);
    else
        blx_duration_format(seconds * 1000, text);
    return text;
}

void cli_pass_format(const struct blx_status *status, char text[CLI_PASS_TEXT_BYTES])
{
    char total[BLX_UNIT_TEXT_BYTES], eta[BLX_UNIT_TEXT_BYTES];
    snprintf(text, CLI_PASS_TEXT_BYTES, "-");
    if (status->state == BLX_AGENT_OFFLINE || status->total_bytes == 0)
        return;
    double percent = 100.0 * (double)status->done_bytes / (double)status->total_bytes;
    snprintf(text, CLI_PASS_TEXT_BYTES, "%.0f %% of %s%s%s", percent > 100 ? 100 : percent,
             blx_size_format(status->total_bytes, total), status->eta_seconds > 0 ? ", ETA " : "",
             status->eta_seconds > 0 ? cli_seconds_format(status->eta_seconds, eta) : "");
}

void cli_note_checkpoint(const struct blx_config *config, blx_timestamp timestamp)
{
    const char *given = config->checkpoint;
    char time[BLX_WHEN_TEXT_BYTES], age[BLX_UNIT_TEXT_BYTES];
    if (strcmp(given, "latest") == 0 || given[strspn(given, "0123456789")] == '\0')
        return;
    cli_note("'%s' is the checkpoint %" PRIu64 ", of %s, %s ago", given, timestamp,
             cli_time_format(config, timestamp, time),
             cli_age_format(timestamp, blx_clock_realtime_ns(), age));
}

void cli_json_timestamp(struct blx_json *json, const char *key, blx_timestamp timestamp)
{
    char text[BLX_TIMESTAMP_TEXT_BYTES];
    if (timestamp == 0) {
        blx_json_null(json, key);
        return;
    }
    blx_timestamp_format(timestamp, text);
    blx_json_string(json, key, text);
}

void cli_json_text(struct blx_json *json, const char *key, const char *text)
{
    if (text != NULL)
        blx_json_string(json, key, text);
    else
        blx_json_null(json, key);
}

void cli_json_time(struct blx_json *json, const char *key, blx_timestamp timestamp)
{
    char text[BLX_RFC3339_TEXT_BYTES];
    if (timestamp == 0) {
        blx_json_null(json, key);
        return;
    }
    blx_timestamp_format_rfc3339(timestamp, text);
    blx_json_string(json, key, text);
}

void cli_json_key(struct blx_json *json, const struct blx_manifest_volume *volume)
{
    char text[BLX_KEY_ID_TEXT_BYTES];
    if (blx_key_id_is_none(&volume->key_id))
        blx_json_null(json, "key");
    else
        blx_json_string(json, "key", cli_key_format(&volume->key_id, text));
}

void cli_json_missing(struct blx_json *json, const struct blx_manifest *manifest)
{
    struct blx_missing missing;
    blx_missing_list(manifest, &missing);
    blx_json_open(json, "missing", '[');
    for (size_t i = 0; i < missing.count; i++)
        blx_json_string(json, NULL, missing.devices[i]);
    blx_json_close(json, ']');
}

void cli_json_extents(struct blx_json *json, const char *key, const struct blx_extent *extents,
                      size_t count, unsigned block_shift)
{
    blx_json_open(json, key, '[');
    for (size_t i = 0; i < count; i++) {
        blx_json_open(json, NULL, '{');
        blx_json_number(json, "offset", extents[i].start_block << block_shift);
        blx_json_number(json, "length", extents[i].block_count << block_shift);
        blx_json_close(json, '}');
    }
    blx_json_close(json, ']');
}

void cli_json_unreadable(struct blx_json *json, const struct blx_manifest_volume *volume)
{
    blx_json_number(json, "unreadable_bytes", blx_manifest_volume_unreadable_bytes(volume));
    cli_json_extents(json, "unreadable", volume->unreadable, volume->unreadable_count,
                     volume->block_shift);
}
