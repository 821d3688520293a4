/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the readers of an agent's checkpoints and those that remove some apart: DIR/agents/ID/lock,
 * an empty file. Single bytes of it are locked, so that a process that dies leaves no lock.
 *
 *     byte 0          chains: shared while a chain's manifests are read and its segments opened;
 *                     exclusive while manifests are replaced and removed, which takes milliseconds
 *     byte 1          contents: shared by a verification, exclusive by a prune; a rewrite shares it
 *                     while it copies, and has it alone while it puts a segment in another's place
 *     byte 2          rewrites: exclusive by a rewrite
 *     byte 3          the session: shared by the agent's writer, exclusive by a removal
 *     byte 4          copies elsewhere: exclusive by a copy
 *     byte 5          the holder: exclusive by the agent's writer, if several dispatchers share the
 *                     data directory
 *     byte TIMESTAMP  shared by whoever reads the frames of that checkpoint: it is then not removed
 *
 * A prune takes byte 1, then byte 0, and then looks whether a checkpoint's byte is locked. A reader
 * takes byte 0 first and the checkpoint's byte under it, so that it either keeps the checkpoint or
 * does not find it. No prune touches what a kept checkpoint needs. So a reader that has its plan
 * needs its checkpoint's lock alone.
 *
 * The locks belong to the open file (F_OFD_SETLK), not to the process: two threads that opened it
 * exclude each other like two processes. Private to lib/store.
 *
 * Threads: one lock, one thread at a time.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "store/store.h"

enum blx_lock_part {
    BLX_LOCK_CHAINS = 0,
    BLX_LOCK_CONTENTS = 1,
    BLX_LOCK_REWRITES = 2,
    BLX_LOCK_SESSION = 3,
    BLX_LOCK_COPIES = 4,
    BLX_LOCK_HOLDER = 5,
    BLX_LOCK_PARTS
};

enum blx_lock_mode { BLX_LOCK_FREE, BLX_LOCK_SHARED, BLX_LOCK_ALONE };

struct blx_agent_lock {
    int fd;                                   /* -1: none */
    enum blx_lock_mode parts[BLX_LOCK_PARTS]; /* as this lock has them, for asserts */
};

/* Opens the file, which is made if it is missing. On a read-only filesystem, where nobody can
 * remove anything, the lock stays empty and every call below succeeds. */
int blx_agent_lock_open(struct blx_agent_store agent, struct blx_agent_lock *lock,
                        struct blx_error *err);

/*
 * The same for a reader, which only shares and holds. A file that may only be read is enough for
 * that. The lock stays empty too if the file is missing and cannot be made, or may not be read: an
 * immutable copy, another user's store, no room, no free inode. If something is removed in such a
 * store after all, its reader fails; it never reads other data.
 */
int blx_agent_lock_open_shared(struct blx_agent_store agent, struct blx_agent_lock *lock,
                               struct blx_error *err);

/* Gives up everything. A lock that was never opened must have fd = -1. */
void blx_agent_lock_close(struct blx_agent_lock *lock);

/* Shared; waits while another one has it alone. */
int blx_agent_lock_share(struct blx_agent_lock *lock, enum blx_lock_part part,
                         struct blx_error *err);

/* Exclusive, also if it is shared by this lock already; -EBUSY if somebody has it after `wait_ms`.
 */
int blx_agent_lock_alone(struct blx_agent_lock *lock, enum blx_lock_part part, unsigned wait_ms,
                         struct blx_error *err);

void blx_agent_lock_release(struct blx_agent_lock *lock, enum blx_lock_part part);

/* Keeps the checkpoint from being removed. The caller shares BLX_LOCK_CHAINS. */
int blx_agent_lock_hold(struct blx_agent_lock *lock, blx_timestamp checkpoint,
                        struct blx_error *err);

/* Opens the lock and shares the chains, and holds the checkpoint: how a reader begins. -ENOENT for
 * an unknown agent. After an error too the lock must be closed. */
int blx_agent_lock_begin(struct blx_agent_store agent, blx_timestamp checkpoint,
                         struct blx_agent_lock *lock, struct blx_error *err);

/*
 * Opens the lock and shares the session's byte: how a writer begins. -EBUSY while data of the agent
 * is being removed: it does not wait. In a store that is shared it has the holder's byte alone
 * afterwards, too: -EBUSY if another dispatcher has the agent for longer than two seconds. After an
 * error too the lock must be closed.
 */
int blx_agent_lock_enter(struct blx_agent_store agent, struct blx_agent_lock *lock,
                         struct blx_error *err);

/* After BLX_LOCK_SESSION: has the other parts alone, too, in the order in which a copy, a
 * rewrite and a prune take theirs. -EBUSY if one of these runs for longer than a minute. */
int blx_agent_lock_others(struct blx_agent_lock *lock, struct blx_error *err);

/* -EBUSY if anybody reads a checkpoint of the agent. The caller has BLX_LOCK_CHAINS alone. */
int blx_agent_lock_check_readers(const struct blx_agent_lock *lock, struct blx_agent_store agent,
                                 struct blx_error *err);

/* Whether anybody else holds one of the checkpoints [first, last]: 1, 0, or -errno. The caller has
 * BLX_LOCK_CHAINS alone. */
int blx_agent_lock_is_held(const struct blx_agent_lock *lock, blx_timestamp first,
                           blx_timestamp last, struct blx_error *err);
