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
#include "store/checkpoint/manifest.h"

enum { CLI_CONSISTENCY_TEXT_BYTES = 32 };

/* The "s" of "3 checkpoints"; "" for 1. */
const char *cli_plural(uint64_t count);

/* "full" or "incremental". */
const char *cli_kind_name(const struct blx_manifest *manifest);
const char *cli_volume_kind_name(const struct blx_manifest_volume *volume);

/* "filesystem"; "filesystem, damaged" unless `unreadable_bytes` is 0. Returns `text`. */
const char *cli_consistency_format(enum blx_consistency consistency, uint64_t unreadable_bytes,
                                   char text[CLI_CONSISTENCY_TEXT_BYTES]);

/* A member `key` with the timestamp's 14 digits, or with its time as RFC 3339. 0 is null. */
void cli_json_timestamp(struct blx_json *json, const char *key, blx_timestamp timestamp);
void cli_json_time(struct blx_json *json, const char *key, blx_timestamp timestamp);

/* The member "missing": an array of the devices that the checkpoint lacks. */
void cli_json_missing(struct blx_json *json, const struct blx_manifest *manifest);

/* A member `key`: an array of {"offset", "length"} in bytes. */
void cli_json_extents(struct blx_json *json, const char *key, const struct blx_extent *extents,
                      size_t count, unsigned block_shift);

/* The members "unreadable_bytes" and "unreadable": what the checkpoint lacks of the volume. */
void cli_json_unreadable(struct blx_json *json, const struct blx_manifest_volume *volume);
