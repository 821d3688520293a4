/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes and durations as people write and read them. base/clock.h has time as programs count it.
 *
 * Threads: all functions are pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"

enum { BLX_UNIT_TEXT_BYTES = 32 };

/* A hundred years: what a longer time would mean is "never". */
#define BLX_DURATION_MAX_MS (UINT64_C(100) * 366 * 24 * 60 * 60 * 1000)

/*
 * A duration: a number (fractions allowed) and a suffix ms, s, m, h, d or w. Without one the unit
 * is `default_unit_ms` (60000 for sync-freq). -EINVAL for anything else, and for a duration that is
 * negative or over BLX_DURATION_MAX_MS.
 */
int blx_duration_parse(const char *text, uint64_t default_unit_ms, uint64_t *ms,
                       struct blx_error *err);

/* A size: a number and an optional suffix K, M, G or T (powers of 1024; "KiB" and "KB" mean the
 * same). */
int blx_size_parse(const char *text, uint64_t *bytes, struct blx_error *err);

/* "1.5 GiB"; "512 B". Returns `text`. */
const char *blx_size_format(uint64_t bytes, char text[BLX_UNIT_TEXT_BYTES]);

/* "350 ms", "4.2 s", "3 m 20 s", "5 h 12 m", "3 d 4 h". Returns `text`. */
const char *blx_duration_format(uint64_t ms, char text[BLX_UNIT_TEXT_BYTES]);
