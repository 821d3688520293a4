/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How each agent's copy elsewhere stands, for `status`, metrics and events: what blxrep-copy left
 * in the store (store/copy/elsewhere.h), judged by the clock and by the configuration.
 *
 * A copy is late if a checkpoint has been due for it for longer than the time between two copies
 * and some minutes. An agent that makes no checkpoints is not late here.
 *
 * Threads: any. Looking waits for the disk under the lock, which nobody else needs.
 */
#pragma once

#include <pthread.h>

#include "config/config.h"
#include "store/copy/elsewhere.h"
#include "wire/message.h"

enum { DISPATCHER_COPY_SLACK_S = 10 * 60 };

struct dispatcher_copies {
    const struct blx_config_object_store *wish; /* constant; its `url` NULL: no copies are wanted */
    pthread_mutex_t lock;
    struct dispatcher_copy_entry *entries; /* owned; guarded by `lock` */
    size_t count;                          /* guarded by `lock` */
};

void dispatcher_copies_init(struct dispatcher_copies *copies,
                            const struct blx_config_object_store *wish);
void dispatcher_copies_done(struct dispatcher_copies *copies);

enum dispatcher_copied { DISPATCHER_NOT_COPIED, DISPATCHER_COPIED };

/* NOT_COPIED: it was never copied, and nobody wants it to be. `last` is its last checkpoint, or 0.
 */
enum dispatcher_copied dispatcher_copies_look(struct dispatcher_copies *copies,
                                              struct blx_agent_store agent, blx_timestamp last,
                                              uint64_t now_realtime_ns,
                                              struct blx_control_copy *copy);

/* The judgement alone. `elsewhere` NULL: there is no record. `waiting` is the oldest checkpoint
 * that is not copied, or 0. Pure. */
void dispatcher_copies_judge(const struct blx_config_object_store *wish,
                             const struct blx_elsewhere *elsewhere, blx_timestamp waiting,
                             uint64_t now_realtime_ns, struct blx_control_copy *copy);
