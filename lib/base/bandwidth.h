/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of the network may be used, and when: "10M", or "mon-fri 08:00-18:00 2M, 22:00-06:00
 * none, 20M".
 *
 * A limit is a list of rules, separated by commas. The first rule that matches counts:
 *
 *     [DAY[-DAY]] [HH:MM-HH:MM] RATE
 *
 * DAY is mon, tue, wed, thu, fri, sat or sun. A window that ends before it begins goes on into the
 * next day, and its days are those on which it begins; 24:00 is the end of a day. RATE is bytes a
 * second as in units.h, at least BLX_BANDWIDTH_MIN_BYTES. "none", or 0, means no limit. If no rule
 * matches there is no limit either.
 *
 * Times are those of a wall clock; the caller chooses the clock with the struct tm it passes.
 * Threads: all functions are pure.
 */
#pragma once

#include <stdint.h>
#include <time.h>

#include "base/error.h"
#include "base/hours.h"

enum {
    BLX_BANDWIDTH_MAX_RULES = 16,
    BLX_BANDWIDTH_MIN_BYTES = 1024, /* a second */
};

struct blx_bandwidth_rule {
    uint8_t days;              /* bit n: tm_wday n */
    struct blx_hours hours;    /* always given */
    uint64_t bytes_per_second; /* 0: no limit */
};

/* All zero: no limit. */
struct blx_bandwidth {
    uint32_t rule_count;
    struct blx_bandwidth_rule rules[BLX_BANDWIDTH_MAX_RULES];
};

/* -EINVAL with cause and hint if `text` is not a limit. */
int blx_bandwidth_parse(const char *text, struct blx_bandwidth *limit, struct blx_error *err);

/*
 * The bytes a second that are allowed at `when` (its tm_wday, tm_hour and tm_min count); 0: no
 * limit. `minutes` (may be NULL) becomes the minutes of that clock until another rate begins; 0:
 * never.
 */
uint64_t blx_bandwidth_at(const struct blx_bandwidth *limit, const struct tm *when,
                          unsigned *minutes);
