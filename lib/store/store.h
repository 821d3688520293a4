/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data directory: DIR/format, the folders of agents, and the lock that one dispatcher has, or
 * several share, which then have an agent each at a time (member.h). STORE.md beside this file
 * specifies the layout and every byte of its files. The filesystem is the database (I11): there is
 * no catalogue.
 *
 * The rooms, each of which includes only those above it:
 *
 *     .            store.h: the data directory; member.h: its dispatchers; destination.h: which of
 *                  them an agent is to go to; agent_lock.h: readers and prunes; quota.h;
 *                  pause.h, archive.h, rescan_order.h: standing orders
 *     segment/     segment.h: a file of frames with an index; index.h: which frame holds a block
 *     checkpoint/  manifest.h, manifest_file.h: what a checkpoint is, and its file; pin.h
 *     view/        view.h: a checkpoint's volume, read at any place; plan_private.h: a chain as one
 *                  index, for every reader; image.h: a rescan's; info.h: what a checkpoint takes
 *     signal/      signal.h: whether a checkpoint looks as if data had been encrypted
 *     receive/     agent_writer.h: append, sync, commit
 *     restore/     restore.h: a checkpoint back into an image
 *     prune/       retention.h: which checkpoints to keep; prune.h removes the others; rewrite.h
 *                  makes the rest compact
 *     verify/      verify.h: every byte read and checked
 *     copy/        copy_source.h: what a copy elsewhere lacks; adoption.h: an agent from a copy
 *     remove/      remove.h: an agent's data, by hand
 *
 * Threads: a struct blx_store is immutable once it is open.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/name.h"
#include "base/timestamp.h"

enum { BLX_STORE_FORMAT = 1 };

struct blx_store {
    char data_dir[PATH_MAX / 2];
    int lock_fd;   /* of DIR/lock; -1 in a reader */
    int folder_fd; /* of DIR itself, locked as well; counts only if lock_fd is not -1 */
    bool shared;   /* opened with BLX_STORE_SHARE: an agent's writer has the agent alone */
};

enum blx_store_mode {
    BLX_STORE_READ,  /* DIR must be a store already; no lock */
    BLX_STORE_INIT,  /* makes DIR a store if it is empty or missing; no lock */
    BLX_STORE_WRITE, /* the dispatcher: DIR must be a store; holds the lock; -EBUSY if another
                        dispatcher does */
    BLX_STORE_SHARE, /* the same for one of several dispatchers: it shares the lock. -EBUSY if one
                        has it alone */
};

/*
 * Opens DIR. A store is made only if somebody asks for it (--init): a folder without one may be the
 * empty place of a disk that is not mounted. Errors, each named: not there, not writable, not a
 * directory, not empty and no store, a newer format than this program knows, another dispatcher
 * running on it.
 */
int blx_store_open(const char *data_dir, enum blx_store_mode mode, struct blx_store *store,
                   struct blx_error *err);

/*
 * Whether the lock is still held: 0, or -errno. A network filesystem may have given it to another
 * host meanwhile, because this one was not heard of for a while; then nothing may be written any
 * more. For a store opened with a lock.
 */
int blx_store_check_lock(const struct blx_store *store);

/* Gives up the lock. A store that was never opened must have lock_fd = -1. */
void blx_store_close(struct blx_store *store);

/* One of the store's agents, known or not: a value, which borrows the store and the ID. The ID is
 * checked wherever it becomes a path: blx_name_check()'s error then is the call's. */
struct blx_agent_store {
    const struct blx_store *store;
    const char *id;
};

static inline struct blx_agent_store blx_store_agent(const struct blx_store *store,
                                                     const char *agent_id)
{
    return (struct blx_agent_store){.store = store, .id = agent_id};
}

/* DIR/agents/ID and below; `volume` may be NULL. */
int blx_agent_store_path(struct blx_agent_store agent, char path[PATH_MAX], struct blx_error *err);
int blx_agent_store_volume_path(struct blx_agent_store agent, const char *volume,
                                char path[PATH_MAX], struct blx_error *err);

/* Makes the folder of an agent that has got credentials, so that it is listed before it ever
 * connects. One that is there stays as it is. */
int blx_agent_store_enroll(struct blx_agent_store agent, struct blx_error *err);

/* When that was, if the agent has not connected since; otherwise 0. */
blx_timestamp blx_agent_store_look_enrolled(struct blx_agent_store agent);

/* Whether the store knows the agent. */
bool blx_agent_store_exists(struct blx_agent_store agent);

/* The same, as 0 or -ENOENT; the message names agents that it knows. */
int blx_agent_store_check(struct blx_agent_store agent, struct blx_error *err);

/* Whether the agent has a volume of that name: a folder. */
bool blx_agent_store_has_volume(struct blx_agent_store agent, const char *volume);

/* The IDs of all agents, sorted; free each and the array with blx_store_free_agents(). */
int blx_store_list_agents(const struct blx_store *store, char ***agent_ids, size_t *count,
                          struct blx_error *err);
void blx_store_free_agents(char **agent_ids, size_t count);
