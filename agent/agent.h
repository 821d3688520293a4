/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state that all parts of the agent share: its settings, volumes, workers and guard, and the
 * one lock between its threads.
 *
 * Threads of the agent: the main thread, which is a session's control thread while one runs; the
 * sender and the receiver of the session; the workers of the pipeline; the signal thread; one that
 * watches for disks. Each block of fields below, and in struct agent_session, says which lock
 * guards it, who writes it, and who may read it without the lock. Functions that end in _locked
 * expect `lock` to be held.
 *
 * Order of locks: `lock` is the outer one. Only that of the log is ever taken under it, and nothing
 * waits for a disk or the network while holding it.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/addresses.h"
#include "agent/disk/device.h"
#include "agent/disk/disks.h"
#include "agent/freeze/freeze.h"
#include "agent/identity.h"
#include "base/bucket.h"
#include "base/limiter.h"
#include "agent/send/pipeline.h"
#include "agent/refusals.h"
#include "agent/self.h"
#include "agent/track/volume.h"
#include "base/watchdog.h"
#include "config/config.h"

/*
 * What the agent is to do when its session ends. A session ends as soon as it is not RUN.
 *
 *     RUN --agent_rejoin_locked()--> REJOIN        something has changed: the disks, the policy
 *     REJOIN --agent_lineup_refresh()--> RUN       the next session begins with it
 *     RUN, REJOIN --agent_stop()--> STOP           SIGTERM came; nothing leads out of it
 */
enum agent_order { AGENT_RUN, AGENT_REJOIN, AGENT_STOP };

struct agent {
    /* Written by the main thread before any other runs, then constant: any may read them. */
    const struct blx_config *config;
    struct blx_key key; /* id none: nothing is encrypted */
    struct agent_pipeline *pipeline;

    /*
     * Written by the main thread while no session runs. A session's threads, and the workers while
     * they have a job of it, read them without a lock. What changes inside a volume during a
     * session is in volume.h.
     */
    struct agent_volume volumes[BLX_MAX_VOLUMES];
    struct blx_volume_key volume_keys[BLX_MAX_VOLUMES]; /* derived from `key` */
    struct agent_device devices[BLX_MAX_VOLUMES]; /* copies of the volumes' devices, in a row */
    size_t volume_count;

    /* The main thread's alone. */
    struct blx_generation instance; /* of this process: tells it from a clone's. A machine that was
                                     * cloned with its memory has it twice, until one is told that
                                     * the other one took over */
    struct agent_identity identity;
    struct agent_addresses addresses;
    struct agent_refusals refusals; /* disks that are wanted, and are no volumes now */
    bool lined_up; /* once: from then on a disk that cannot be opened ends nothing */
    struct agent_freezer *freezer;
    uint64_t read_bytes_per_second; /* as measured at the last cuts */
    bool freezing_failed; /* at the last checkpoint: something wrote all the same, or the limit
                           * passed each time */

    struct blx_watchdog watchdog; /* atomic; its one hand is turned by the control thread */

    pthread_mutex_t lock;
    pthread_cond_t changed; /* broadcast after each change under `lock`; CLOCK_MONOTONIC */

    /* Guarded by `lock`. In brackets: the threads that write it. */
    enum agent_order order;           /* [any] */
    struct blx_policy_message policy; /* the dispatcher's last one; all zero: none came yet
                                       * [handshake, receiver] */
    struct blx_limiter limiter;       /* both bandwidth limits [main, sender, receiver] */
    struct agent_disks disks; /* what the last agent_lineup_refresh() has found [main thread, which
                               * reads it without the lock] */
    struct agent_self self;   /* what it tells of itself [main, receiver] */
    /* What a dispatcher that was broken into may order, over all sessions. */
    struct blx_bucket orders;  /* that cost something: policies, CAs, rescans [receiver] */
    struct blx_bucket rescans; /* that were begun [main] */
};

/* Whether some device is no longer the one that was opened (gone, resized, swapped), or does not
 * answer. Names it in `err`. */
bool agent_has_changed_device(const struct agent *agent, struct blx_error *err);

/*
 * I4: reads the trackers' counters. If tracking of a volume has become doubtful, logs it and begins
 * a rescan of that volume. `*doubtful` (may be NULL): whether there was such a volume.
 */
int agent_check_trackers(struct agent *agent, bool *doubtful, struct blx_error *err);

/* Sets the configuration's limit of what may be sent, also in the middle of a session. From any
 * thread. */
void agent_set_bandwidth(struct agent *agent, const struct blx_bandwidth *limit);

enum agent_policy_time {
    AGENT_POLICY_FIRST, /* in the handshake: no volume was announced yet */
    AGENT_POLICY_LATER, /* in the middle of a session */
};

/* Adopts the dispatcher's policy. If it asks for other volumes, or for a pause in the middle of a
 * session, another session is to begin. */
void agent_take_policy_locked(struct agent *agent, const struct blx_policy_message *policy,
                              enum agent_policy_time time);

/* Whether the dispatcher has told the agent to send nothing until further notice. */
bool agent_is_paused(struct agent *agent);

/* The transitions of `order`. From any thread; they wake everybody. After a stop nobody waits for a
 * disk that does not answer. */
void agent_rejoin_locked(struct agent *agent);
void agent_stop(struct agent *agent);

bool agent_is_stopping(struct agent *agent);

/* Waits up to `timeout_ms` for `changed`. */
void agent_wait_locked(struct agent *agent, uint64_t timeout_ms);

/*
 * Makes the folder for state, or looks whether it is the agent's alone: what lies there decides
 * which blocks are sent. A folder that others may enter is closed to them; -EPERM for somebody
 * else's.
 */
int agent_make_run_dir(const char *path, struct blx_error *err);
