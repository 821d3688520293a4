/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times as people write and read them, in the zone of the machine: `yesterday 18:00`, `2h ago`,
 * `2026-11-28 18:00`. base/timestamp.h has the names of checkpoints, which are UTC.
 *
 * Threads: any; the environment ($TZ) must not change meanwhile.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/timestamp.h"

enum { BLX_WHEN_TEXT_BYTES = 40 };

enum blx_zone { BLX_ZONE_LOCAL, BLX_ZONE_UTC };

/*
 * Reads a time as a range of seconds, both ends included:
 *
 *     20261128180000 202611281800                     UTC, as checkpoints are named
 *     2026-11-28 18:00:00   2026-11-28T18:00          local; Z or +01:00 at the end says otherwise
 *     2026-11-28   yesterday   today                  the whole day, unless a time of it follows
 *     18:00                                           of today
 *     now   2h ago   1.5 d ago                        a second
 *
 * -EINVAL for anything else; the message names the text and shows the forms.
 */
int blx_when_parse(const char *text, uint64_t now_realtime_ns, blx_timestamp *first,
                   blx_timestamp *last, struct blx_error *err);

/* "2026-11-28 18:00:00 +01:00", or "2026-11-28T17:00:00Z". Returns `text`. */
const char *blx_when_format(blx_timestamp timestamp, enum blx_zone zone,
                            char text[BLX_WHEN_TEXT_BYTES]);
