/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notices events: compares an overview with the one before. Nothing here runs a command
 * or logs.
 *
 * Threads: one at a time.
 */
#pragma once

#include "wire/event.h"
#include "dispatcher/overview.h"
#include "dispatcher/roster.h"
#include "wire/protection.h"

/* The last report about an agent. */
struct dispatcher_event_memory {
    char agent_id[BLX_NAME_BYTES];
    enum blx_protection told;
    uint64_t findings[DISPATCHER_FINDINGS];
    bool clock_off;
    bool hook_failed;
    enum blx_end certificate;
    uint32_t quota_state;
    char prune_hold[BLX_TEXT_BYTES];
    bool copy_late;
    bool copy_unlocked;
    uint64_t copy_strange;
    blx_timestamp suspicious; /* where the signal began that was reported last */
    uint64_t failed_test_ns;  /* when the failed test began that was reported last */
};

/* All zero: nothing was reported yet, and everything counts as well. */
struct dispatcher_event_watch {
    struct dispatcher_event_memory *agents; /* owned */
    size_t agent_count;
    enum blx_trouble_kind store_trouble; /* was reported */
    bool nearly_full;
    enum blx_end certificate; /* the dispatcher's */
    enum blx_end ca;
    uint64_t kept_out;    /* as of the last look */
    uint64_t kept_out_ns; /* when that grew last, by the wall clock */
    bool keeping_out;     /* was reported */
};

void dispatcher_event_watch_done(struct dispatcher_event_watch *watch);

/* When the failed test of the agent began that was noticed last; 0: none. */
uint64_t dispatcher_event_watch_failed_test(const struct dispatcher_event_watch *watch,
                                            const char *agent_id);

/* Appends an event for each change since the last look. -ENOMEM: the next look finds the rest. */
int dispatcher_event_watch_look(struct dispatcher_event_watch *watch,
                                struct dispatcher_roster *roster,
                                const struct dispatcher_overview *overview,
                                uint64_t now_realtime_ns, struct blx_event_list *list);
