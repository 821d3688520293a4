/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a checkpoint was cut, by the dispatcher's clock. The agent cannot choose the instant: it
 * lies between the request for the checkpoint and the arrival of CHECKPOINT, both seen here (I13).
 *
 *     asked                       cut                        arrival
 *     ----+------------------------+----------------------------+----> the dispatcher's clock
 *         |  pre-copy, rescan ...  |  cut_age_ns, by the agent  |
 *
 * Inside of that window the agent says how long ago the cut was. The way through the network, and
 * the frames before it, are not in that age, so the instant found by it lies too late. If the
 * agent's clock shows a little less it is right, or errs towards an older label, and counts.
 *
 * An older agent only says what its clock showed: that is believed if it lies in the window;
 * otherwise the arrival counts, as the one instant at which the cut had surely been made.
 *
 * Threads: all functions are pure. Times are since 1970 in UTC.
 */
#pragma once

#include <stdint.h>

#include "wire/message.h"

enum {
    DISPATCHER_CLOCK_TOLERANCE_S = 120, /* a clock further off is worth a note and an event */
    DISPATCHER_CLOCK_TRANSIT_S = 30,    /* so long may the way of a cut's frames take */
};

struct dispatcher_cut_window {
    uint64_t asked_ns;   /* when the request was made */
    uint64_t arrived_ns; /* when CHECKPOINT was read */
};

uint64_t dispatcher_cut_time_ns(const struct dispatcher_cut_window *window,
                                const struct blx_checkpoint_message *cut);

/*
 * The agent's clock less the dispatcher's. It is exact if the agent told the cut's age; otherwise
 * it is how far the agent's instant lies outside of the window, so 0 if it lies inside.
 */
int64_t dispatcher_clock_offset_ms(const struct dispatcher_cut_window *window,
                                   const struct blx_checkpoint_message *cut);

/*
 * Appends to the checkpoint's note that the agent's clock is off, if it is by more than
 * DISPATCHER_CLOCK_TOLERANCE_S. A note that is too long already loses its end.
 */
void dispatcher_note_clock(int64_t offset_ms, char note[BLX_TEXT_BYTES]);
