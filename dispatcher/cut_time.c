/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/cut_time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"

static uint64_t clamp(uint64_t instant_ns, const struct dispatcher_cut_window *window)
{
    if (instant_ns < window->asked_ns)
        return window->asked_ns;
    return instant_ns > window->arrived_ns ? window->arrived_ns : instant_ns;
}

/* The latest instant that the cut's age allows. */
static uint64_t by_age(const struct dispatcher_cut_window *window,
                       const struct blx_checkpoint_message *cut)
{
    bool is_within = cut->cut_age_ns <= window->arrived_ns - window->asked_ns;
    return is_within ? window->arrived_ns - cut->cut_age_ns : window->asked_ns;
}

uint64_t dispatcher_cut_time_ns(const struct dispatcher_cut_window *window,
                                const struct blx_checkpoint_message *cut)
{
    const uint64_t transit_ns = DISPATCHER_CLOCK_TRANSIT_S * BLX_NS_PER_S;
    uint64_t claimed_ns = cut->cut_realtime_ns;
    bool is_possible = clamp(claimed_ns, window) == claimed_ns;
    if (cut->cut_age_ns == BLX_CUT_AGE_UNKNOWN)
        return is_possible ? claimed_ns : window->arrived_ns;
    uint64_t latest_ns = by_age(window, cut);
    bool is_close = claimed_ns <= latest_ns && latest_ns - claimed_ns <= transit_ns;
    return is_possible && is_close ? claimed_ns : latest_ns;
}

int64_t dispatcher_clock_offset_ms(const struct dispatcher_cut_window *window,
                                   const struct blx_checkpoint_message *cut)
{
    uint64_t here_ns = cut->cut_age_ns == BLX_CUT_AGE_UNKNOWN ? clamp(cut->cut_realtime_ns, window)
                                                              : by_age(window, cut);
    /* Signed halves: any two instants of 64 bits have a difference that fits. */
    return (int64_t)(cut->cut_realtime_ns / 1000000) - (int64_t)(here_ns / 1000000);
}

void dispatcher_note_clock(int64_t offset_ms, char note[BLX_TEXT_BYTES])
{
    char off[BLX_UNIT_TEXT_BYTES];
    uint64_t magnitude_ms = (uint64_t)llabs(offset_ms);
    if (magnitude_ms <= DISPATCHER_CLOCK_TOLERANCE_S * UINT64_C(1000))
        return;
    size_t used = strlen(note);
    snprintf(note + used, BLX_TEXT_BYTES - used, "%sthe agent's clock is %s %s",
             used > 0 ? "; " : "", blx_duration_format(magnitude_ms, off),
             offset_ms > 0 ? "ahead" : "behind");
    /* A cut UTF-8 sequence at the end would not be text. */
    while (strlen(note) == BLX_TEXT_BYTES - 1 && ((unsigned char)note[BLX_TEXT_BYTES - 2] & 0x80))
        note[BLX_TEXT_BYTES - 2] = '\0';
}
