/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extents of a disk as the commands print them in JSON.
 *
 * Threads: one.
 */
#pragma once

#include <stddef.h>

#include "base/bitmap.h"
#include "base/json.h"

/* An array `key` of {"offset", "length"}, in bytes. */
void cli_extents_json(struct blx_json *json, const char *key, const struct blx_extent *extents,
                      size_t count, unsigned block_shift);
