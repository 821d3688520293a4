/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the threads of the dispatcher share: one accept loop (server.h), one thread per connection
 * (session.h), the scheduler (scheduler.h), and the control socket with a thread per client
 * (control.h). Everything here but the registry and the roster is made before the threads start and
 * only read afterwards; the registry (registry.h: who is connected), the roster (roster.h: what is
 * known of every agent) and the book of policies (policy_book.h) are the changing state, each with
 * its own lock.
 *
 * Owner: main().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/watchdog.h"
#include "dispatcher/rate.h"
#include "dispatcher/registry.h"
#include "dispatcher/roster.h"
#include "dispatcher/threads.h"
#include "store/store.h"
#include "tls/tls.h"

/* The hands on the watchdog. The scheduler's turn takes the registry's lock, which every session
 * takes as well: who holds it for ever is found, too. */
enum dispatcher_hand { DISPATCHER_HAND_ACCEPT, DISPATCHER_HAND_SCHEDULER, DISPATCHER_HANDS };

enum {
    DISPATCHER_HEARTBEAT_MS = 10 * 1000,
    DISPATCHER_HANDSHAKE_MS = 10 * 1000, /* TLS; and the same again for the first message */
    DISPATCHER_JOIN_MS = 5 * 1000,       /* for the one message of a server that joins */
    DISPATCHER_MAX_PENDING = 64,         /* connections that have not said yet who they are */
    DISPATCHER_SYNC_BYTES =
        8 * 1024 * 1024, /* received and not synced, at most, while more comes */
    DISPATCHER_WINDOW_BYTES = 64 * 1024 * 1024,
    DISPATCHER_STOP_MS = 5 * 1000, /* how long the threads may take to end */
};

struct dispatcher_policy_book;

struct dispatcher {
    const struct blx_store *store;
    struct blx_tls_context *tls;
    const char *data_dir; /* with pki/ below it */
    bool own_pki; /* the certificates are signed in there: joins and renewals are possible */
    const char *policy_dir;
    uint64_t heartbeat_ms;
    struct dispatcher_policy_book *book;
    struct dispatcher_registry registry;
    struct dispatcher_roster roster;
    struct dispatcher_threads sessions;
    struct dispatcher_rate refusals; /* log lines about connections that never became a session */
    struct blx_watchdog watchdog;
};
