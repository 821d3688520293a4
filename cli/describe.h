/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words and JSON members that several commands print of a checkpoint, each in one form.
 *
 * Threads: one.
 */
#pragma once

#include <stddef.h>

#include "base/bitmap.h"
#include "base/json.h"
#include "base/timestamp.h"
#include "base/units.h"
#include "base/when.h"
#include "config/config.h"
#include "store/checkpoint/manifest.h"

enum { CLI_CONSISTENCY_TEXT_BYTES = 32, CLI_PASS_TEXT_BYTES = 96 };

/* The "s" of "3 checkpoints"; "" for 1. */
const char *cli_plural(uint64_t count);

/* "full" or "incremental". */
const char *cli_kind_name(const struct blx_manifest *manifest);
const char *cli_volume_kind_name(const struct blx_manifest_volume *volume);

/* "filesystem"; "filesystem, damaged" unless `unreadable_bytes` is 0. Returns `text`. */
const char *cli_consistency_format(enum blx_consistency consistency, uint64_t unreadable_bytes,
                                   char text[CLI_CONSISTENCY_TEXT_BYTES]);

/* The id of the key that a volume is encrypted with; "-" if it is not. Returns `text`. */
const char *cli_key_format(const struct blx_key_id *id, char text[BLX_KEY_ID_TEXT_BYTES]);

/* A time for people: local with its offset, or UTC if the user wants that. Returns `text`. */
const char *cli_time_format(const struct blx_config *config, blx_timestamp timestamp,
                            char text[BLX_WHEN_TEXT_BYTES]);

/* "12 s", "3 m 20 s": how old `timestamp` is. Returns `text`. */
const char *cli_age_format(blx_timestamp timestamp, uint64_t now_realtime_ns,
                           char text[BLX_UNIT_TEXT_BYTES]);

/* "12 s", "3 m 20 s". Returns `text`. */
const char *cli_seconds_format(uint64_t seconds, char text[BLX_UNIT_TEXT_BYTES]);

/* "51 % of 20 GiB, ETA 3 m 20 s": how far an agent's full pass or rescan is; "-" if none runs. */
void cli_pass_format(const struct blx_status *status, char text[CLI_PASS_TEXT_BYTES]);

/* Notes on stderr which checkpoint was meant, if --checkpoint gave a time in words. */
void cli_note_checkpoint(const struct blx_config *config, blx_timestamp timestamp);

/* A member `key` with the timestamp's 14 digits, or with its time as RFC 3339. 0 is null. */
void cli_json_timestamp(struct blx_json *json, const char *key, blx_timestamp timestamp);
/* NULL: null. */
void cli_json_text(struct blx_json *json, const char *key, const char *text);
void cli_json_time(struct blx_json *json, const char *key, blx_timestamp timestamp);

/* The member "key": the id of the volume's key, null if it is not encrypted. */
void cli_json_key(struct blx_json *json, const struct blx_manifest_volume *volume);

/* The member "missing": an array of the devices that the checkpoint lacks. */
void cli_json_missing(struct blx_json *json, const struct blx_manifest *manifest);

/* A member `key`: an array of {"offset", "length"} in bytes. */
void cli_json_extents(struct blx_json *json, const char *key, const struct blx_extent *extents,
                      size_t count, unsigned block_shift);

/* The members "unreadable_bytes" and "unreadable": what the checkpoint lacks of the volume. */
void cli_json_unreadable(struct blx_json *json, const struct blx_manifest_volume *volume);
