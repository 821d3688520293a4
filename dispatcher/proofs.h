/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the records of tests in the store say of each agent (store/checkpoint/tested.h), and the
 * marks of suspicious checkpoints (store/signal/suspicion.h), for events and metrics. Anybody may
 * test a checkpoint, also while no dispatcher runs, so the store is looked at, and not a memory of
 * our own: again whenever something has changed in the folder of the agent's checkpoints.
 *
 * Threads: any. Looking waits for the disk under the lock, which nobody else needs.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "store/checkpoint/tested.h"
#include "store/signal/suspicion.h"

struct dispatcher_proof {
    bool is_wanted; /* a policy has the agent's checkpoints tested; the caller's to set */
    bool is_tested, is_proven, is_suspicious;
    struct blx_suspicion suspicion; /* of the newest suspicious checkpoint; if is_suspicious */
    size_t suspicious_count;        /* checkpoints with such a mark */
    bool stands;                    /* the automatic pin of a signal does */
    struct blx_tested newest;       /* of the newest checkpoint that was tested; if is_tested */
    bool is_told; /* somebody was told of it, before this process looked for the first time */
    struct blx_tested proven; /* of the newest one that passed; if is_proven */
};

struct dispatcher_proofs {
    pthread_mutex_t lock;
    struct dispatcher_proof_entry *entries; /* owned; guarded by `lock` */
    size_t count;                           /* guarded by `lock` */
};

void dispatcher_proofs_init(struct dispatcher_proofs *proofs);
void dispatcher_proofs_done(struct dispatcher_proofs *proofs);

/* What cannot be read counts as not tested. */
void dispatcher_proofs_look(struct dispatcher_proofs *proofs, struct blx_agent_store agent,
                            struct dispatcher_proof *proof);
