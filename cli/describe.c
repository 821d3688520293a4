/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/describe.h"

#include <stdbool.h>
#include <stdio.h>

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
