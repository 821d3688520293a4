/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hours of every day, "22:00-06:00", by the wall clock of this host. Hours that end before they
 * begin go on into the next day; 24:00 is the end of a day.
 *
 * They are looked for as instants, so a day on which the clock is set forward or back has them
 * once: hours that the clock skips come right after the gap, and hours that it repeats begin at the
 * first time.
 *
 * Threads: any; the environment ($TZ) must not change meanwhile.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum { BLX_HOURS_TEXT_BYTES = 16 };

/* All zero: none are given, and all of the time counts. */
struct blx_hours {
    uint16_t from_minute, end_minute; /* of the day; from >= end: the end is on the next day */
};

/* -EINVAL if `text` is not HH:MM-HH:MM, or has no length. */
int blx_hours_parse(const char *text, struct blx_hours *hours);

/* "22:00-06:00"; "" if none are given. Returns `text`. */
const char *blx_hours_format(const struct blx_hours *hours, char text[BLX_HOURS_TEXT_BYTES]);

/* Whether `now` lies in the hours. `begin` and `end` become those that it lies in, or the next
 * ones. If none are given it does, from 0 to the end of time. */
bool blx_hours_find(const struct blx_hours *hours, time_t now, time_t *begin, time_t *end);
