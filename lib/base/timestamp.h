/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint's name: the UTC instant of its cut, YYYYMMDDHHMMSS, as a number that sorts as time
 * does.
 *
 * Threads: all functions are pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* 20261122203600 for 2026-11-22 20:36:00 UTC; 0 means "none". */
typedef uint64_t blx_timestamp;

enum { BLX_TIMESTAMP_DIGITS = 14, BLX_TIMESTAMP_TEXT_BYTES = 15, BLX_RFC3339_TEXT_BYTES = 32 };

/* No timestamp is after it. */
#define BLX_TIMESTAMP_MAX UINT64_C(99991231235959)

/* From seconds since 1970. 0 if that is not in the years 1970 to 9999. */
blx_timestamp blx_timestamp_from_unix(int64_t seconds);

/* Seconds since 1970. `timestamp` must be valid. */
int64_t blx_timestamp_to_unix(blx_timestamp timestamp);

/* Reads 14 digits that are a real date and time. -EINVAL otherwise; the message names the text. */
int blx_timestamp_parse(const char *text, blx_timestamp *timestamp, struct blx_error *err);

/*
 * Reads YYYYMMDDHHMM or YYYYMMDDHHMMSS as a range of seconds, both ends included: 12 digits mean
 * the whole minute.
 */
int blx_timestamp_parse_range(const char *text, blx_timestamp *first, blx_timestamp *last,
                              struct blx_error *err);

/* For qsort() and bsearch(). */
int blx_timestamp_compare(const void *a, const void *b);

/* "20261122203600" */
void blx_timestamp_format(blx_timestamp timestamp, char text[BLX_TIMESTAMP_TEXT_BYTES]);

/* "2026-11-22T20:36:00Z" */
void blx_timestamp_format_rfc3339(blx_timestamp timestamp, char text[BLX_RFC3339_TEXT_BYTES]);
