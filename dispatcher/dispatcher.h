/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state that the threads of the dispatcher share. The threads are:
 *
 *     main()          accepts connections (server.h), reloads policies, stops the others
 *     session         one for each connection (session/session.h), now and then with a pulse
 *                     (pulse.h)
 *     scheduler       one (scheduler.h)
 *     chores          the pruner and the rewriter, one each (chore.h)
 *     events          one (events.h)
 *     announcement    one for a while after a reload (announce.h)
 *     control         one that accepts, and one for each client (control.h)
 *     metrics         one (metrics.h)
 *     neighbours      one (neighbours.h)
 *
 * The changing state is the registry (registry.h: which agents are connected), the roster
 * (roster.h: the facts about every agent), the book of policies (policy_book.h), the identity
 * (identity.h), the sessions' threads and the rate of refusals. Each has a lock of its own, and
 * each of these locks is a leaf.
 * Everything else is made before the threads start and only read afterwards.
 *
 * Owner: main().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/watchdog.h"
#include "dispatcher/copies.h"
#include "dispatcher/identity.h"
#include "dispatcher/proofs.h"
#include "dispatcher/rate.h"
#include "dispatcher/registry.h"
#include "dispatcher/roster.h"
#include "dispatcher/threads.h"
#include "dispatcher/turns.h"
#include "store/store.h"

/* The hands on the watchdog. The scheduler's turn takes the registry's lock, as every session does,
 * so a thread that holds it for ever is found, too. */
enum dispatcher_hand { DISPATCHER_HAND_ACCEPT, DISPATCHER_HAND_SCHEDULER, DISPATCHER_HANDS };

enum {
    DISPATCHER_HEARTBEAT_MS = 10 * 1000,
    DISPATCHER_HANDSHAKE_MS = 10 * 1000, /* TLS; and the same again for the first message */
    DISPATCHER_JOIN_MS = 5 * 1000,       /* for the one message of a server that joins */
    DISPATCHER_MAX_PENDING = 64,         /* connections that have shown no certificate yet */
    DISPATCHER_MAX_FROM_SOURCE = 16,     /* of these, from one address */
    DISPATCHER_SYNC_BYTES =
        8 * 1024 * 1024, /* at most this much is received and not synced while more arrives */
    DISPATCHER_WINDOW_BYTES = 64 * 1024 * 1024,
    DISPATCHER_PAUSE_MS = 60 * 1000, /* for frames that were on their way at a pause */
    DISPATCHER_STOP_MS = 5 * 1000,   /* how long the threads may take to end */
};

struct dispatcher_policy_book;
struct dispatcher_sources;
struct dispatcher_pruner;
struct dispatcher_neighbours;

struct dispatcher {
    /* Constant while threads run: main() fills them before, and any thread reads them. */
    const struct blx_store *store;
    const char *data_dir; /* with pki/ below it */
    bool own_pki; /* the certificates are signed in there: joins and renewals are possible */
    const char *policy_dir;
    char *const *admitted; /* admit_count patterns of IDs; none: any valid certificate will do */
    size_t admit_count;
    uint64_t heartbeat_ms;
    uint64_t pause_ms; /* DISPATCHER_PAUSE_MS, except in tests */

    struct dispatcher_pruner *pruner; /* borrowed; NULL: there is none. Set before the first session
                                         is accepted */

    const char *control_name; /* of its control socket; NULL: the usual one */

    /* Shared; each has a lock of its own. */
    struct dispatcher_neighbours *neighbours; /* NULL: it knows of no others */
    struct dispatcher_policy_book *book;
    struct dispatcher_sources *sources; /* NULL: its settings come from no file */
    struct dispatcher_identity identity;
    struct dispatcher_registry registry;
    struct dispatcher_roster roster;
    struct dispatcher_proofs proofs;
    struct dispatcher_copies copies;
    struct dispatcher_threads sessions;
    struct dispatcher_turns turns;   /* of rescans */
    struct dispatcher_rate refusals; /* log lines about connections that never became a session */

    struct blx_watchdog watchdog; /* atomic; main() and the scheduler turn their hands */
};
