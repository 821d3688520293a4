/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync-freq: asks every agent that is not paused for a checkpoint once in each of its periods, at
 * its beat (beat.h). At most DISPATCHER_SCHEDULER_OUTSTANDING requests are in agents' hands at
 * once; the others wait their turn, longest overdue first. An agent that is still busy with its
 * last request skips the beat.
 *
 * A request does not count against that limit while its agent sends a full pass, which may take
 * days and sends its data with or without a request. Nor does it after
 * DISPATCHER_SCHEDULER_SLOT_MS, so that slow agents cannot stop the beat of the others.
 *
 * Threads: one of its own; start and stop are main()'s. It holds the registry's lock while it looks
 * at the entries, not while it logs.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/watchdog.h"
#include "dispatcher/registry.h"

enum { DISPATCHER_SCHEDULER_OUTSTANDING = 8, DISPATCHER_SCHEDULER_SLOT_MS = 5 * 60 * 1000 };

/* Constant while its thread runs, so neither side needs a lock: main() fills it before. */
struct dispatcher_scheduler {
    struct dispatcher_registry *registry;
    struct blx_watchdog *watchdog; /* borrowed */
    unsigned hand;                 /* the scheduler's hand on it */
    pthread_t thread;              /* main()'s */
};

/* Each look at the registry turns `hand` of `watchdog`. */
int dispatcher_scheduler_start(struct dispatcher_scheduler *scheduler,
                               struct dispatcher_registry *registry, struct blx_watchdog *watchdog,
                               unsigned hand, struct blx_error *err);

/* Joins the thread; dispatcher_registry_stop() must have been called. */
void dispatcher_scheduler_stop(struct dispatcher_scheduler *scheduler);

enum dispatcher_scheduler_action {
    DISPATCHER_SCHEDULER_WAIT = 0, /* nothing is due before `wake_ns` */
    DISPATCHER_SCHEDULER_ASKED,    /* `agent_id` was asked */
    DISPATCHER_SCHEDULER_SKIPPED,  /* `agent_id` skips a beat, the first one of this request */
};

struct dispatcher_scheduler_step {
    enum dispatcher_scheduler_action action;
    uint64_t wake_ns; /* UINT64_MAX: not before the registry changes */
    char agent_id[BLX_NAME_BYTES];
    uint64_t busy_ms; /* skipped: how long it has been busy with its request */
    bool full_pass;
};

/*
 * One decision, with the registry's lock held: everything that the thread does, except waiting and
 * logging. To be repeated until the step is WAIT.
 */
void dispatcher_scheduler_decide_locked(struct dispatcher_registry *registry, uint64_t now_ns,
                                        uint64_t now_realtime_ns,
                                        struct dispatcher_scheduler_step *step);
