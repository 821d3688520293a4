/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells people when an agent, a checkpoint, the store or its disk needs attention, and when the
 * trouble is over: with a line in the log, and with the user's `on-event` command.
 *
 * A thread of its own looks at the overview regularly; no session knows about it or waits for it.
 * Events that are found within DISPATCHER_EVENTS_SETTLE_MS go to one run of the command. The next
 * run begins DISPATCHER_EVENTS_APART_MS later at the earliest, with all events that were found
 * meanwhile. So a burst makes one call, and there is never more than one process. A run that fails
 * or takes too long is logged and not repeated.
 *
 * While all is well, as `status --check` means it, the thread also runs the user's `on-heartbeat`
 * command regularly: whoever hears nothing for longer than that knows that something is wrong, even
 * if it is this program or its host.
 *
 * Threads: start and stop are main()'s.
 */
#pragma once

#include <stdbool.h>

#include "dispatcher/dispatcher.h"

enum {
    DISPATCHER_EVENTS_LOOK_MS = 2 * 1000,
    DISPATCHER_EVENTS_SETTLE_MS = 5 * 1000,
    DISPATCHER_EVENTS_APART_MS = 60 * 1000,
};

struct dispatcher_events_plan {
    const char *command;   /* NULL: events are only logged */
    const char *heartbeat; /* NULL: none */
    uint64_t heartbeat_ms; /* from one to the next */
    uint64_t timeout_ms;
    uint64_t look_ms;
    uint64_t settle_ms;
    uint64_t apart_ms;
};

struct dispatcher_events;

/* `plan` and its commands are copied. */
int dispatcher_events_start(struct dispatcher *dispatcher,
                            const struct dispatcher_events_plan *plan,
                            struct dispatcher_events **events, struct blx_error *err);

/* The commands of the next runs, and the heartbeat's time: copies of what `plan` has; the rest of
 * the plan stays. A command that runs now is left alone. True if one of them is another than
 * before. -ENOMEM is logged, and the old one stays. For main(). */
bool dispatcher_events_set_commands(struct dispatcher_events *events,
                                    const struct dispatcher_events_plan *plan);

/* Kills a running command. -ETIMEDOUT if the thread still sits in a disk call at `deadline_ns`:
 * then nothing was freed. NULL is allowed. */
int dispatcher_events_stop(struct dispatcher_events *events, uint64_t deadline_ns);
