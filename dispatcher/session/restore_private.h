/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection of a machine that restores: PROTOCOL.md 4.13. Its session stays in the state
 * ACCEPTED, as it has no agent's place and nothing to write; this is what it goes through instead:
 *
 *     STRANGER    one message, RESTORE, within DISPATCHER_JOIN_MS; it holds one of the places
 *        |  the token is this machine's: HANDOVER if it takes over, RESTORE_OFFER
 *        v
 *     OFFERED     it holds the checkpoint. A PLAN_REQUEST plans a window of a volume
 *        |  PLAN
 *        v                   another PLAN_REQUEST drops the window and what was asked for
 *     SERVING  <---------+
 *        |     FRAMES_REQUEST: the frames follow, one by one; requests are read between them
 *        |  RESTORE_DONE: the agent's name is handed over if HARDWARE came, as it must for that;
 *        |     the token is spent, GOODBYE
 *        v
 *     FINISHED
 *
 * In OFFERED and SERVING a target that compares itself asks DELTA_REQUEST, DIGEST_REQUESTs, which
 * drop the window too, and says what it wants in DELTA_WANTED (store/restore/supply.h).
 *
 * Anything else ends the connection with ERROR. So does a token that was taken back: it is looked
 * at every DISPATCHER_RESTORE_LOOK_MS. The machine may come again until RESTORE_DONE.
 *
 * A machine that asks for nothing is cut after DISPATCHER_RESTORE_IDLE_MS. TCP's keep-alive finds
 * one that is gone.
 *
 * Memory: the plan of a window and a frame (store/restore/supply.h), and 20 KiB.
 *
 * Threads: the session's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/limiter.h"
#include "dispatcher/session/session_private.h"
#include "store/restore/supply.h"
#include "tls/pki_restore.h"

enum {
    DISPATCHER_RESTORE_WINDOW_BYTES = 16 * 1024 * 1024, /* asked for, and not sent */
    DISPATCHER_RESTORE_MAX_REQUESTS = 1024,             /* that wait */
    DISPATCHER_RESTORE_LOOK_MS = 5 * 1000,
    DISPATCHER_RESTORE_IDLE_MS = 30 * 60 * 1000,
};

enum dispatcher_restore_state {
    DISPATCHER_RESTORE_STRANGER = 0,
    DISPATCHER_RESTORE_OFFERED,
    DISPATCHER_RESTORE_SERVING,
    DISPATCHER_RESTORE_FINISHED,
};

/* Frames of the window that were asked for. */
struct dispatcher_restore_range {
    uint32_t first;
    uint32_t count; /* that are left */
};

struct dispatcher_restore_volume {
    uint64_t size_bytes;
    unsigned block_shift;
};

struct dispatcher_restore {
    struct dispatcher_session *session;
    enum dispatcher_restore_state state;
    struct blx_restore_message hello; /* with the token's secret: wiped at the end */
    struct blx_restore_grant grant;
    struct blx_supply *supply; /* owned; of `volume` */
    uint32_t volume;
    struct dispatcher_restore_volume volumes[BLX_MAX_VOLUMES]; /* those of the grant */
    struct blx_supply_window window;                           /* the last PLAN */
    uint64_t start_block;                                      /* of it */
    struct dispatcher_restore_range ranges[DISPATCHER_RESTORE_MAX_REQUESTS]; /* a ring */
    uint32_t range_first, range_count;
    uint64_t queued_bytes; /* of their frames */
    uint64_t sent_bytes;   /* of frames */
    struct blx_limiter limiter;
    bool told_key;                        /* of digests */
    bool told_damage;                     /* in the log */
    uint64_t looked_ns;                   /* at the token */
    uint8_t hardware[BLX_HARDWARE_BYTES]; /* of a machine that takes over; zero: it has not told */
    struct dispatcher_registry_restore *listed; /* owned */
};
