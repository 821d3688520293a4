/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data directory: DIR/format, the folders of agents, and the one lock that keeps a second
 * dispatcher out. STORE.md beside this file specifies the layout and every byte of its files. The
 * filesystem is the database (I11): there is no catalogue.
 *
 *     store.h     the data directory and its agents
 *     segment.h   a file of frames with an index
 *     index.h     which frame holds which block
 *     agent_writer.h    receiving: append, sync, seal
 *     manifest.h  a checkpoint's file: read, write, list, resolve
 *     restore.h   a checkpoint back into an image
 *     info.h      what a checkpoint takes
 *     retention.h which checkpoints to keep; prune.h removes the others, pin.h keeps one
 *     rewrite.h   what is left of segments, put together anew
 *
 * Threads: a struct blx_store is immutable once it is open.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/name.h"

enum { BLX_STORE_FORMAT = 1 };

struct blx_store {
    char data_dir[PATH_MAX / 2];
    int lock_fd; /* -1 in a reader */
};

enum blx_store_mode {
    BLX_STORE_READ,   /* show, restore: DIR must be a store already; no lock */
    BLX_STORE_ENROLL, /* makes DIR a store where it is empty or missing; no lock */
    BLX_STORE_WRITE,  /* the dispatcher: makes it, and holds the lock; -EBUSY where another
                         dispatcher does */
};

/*
 * Opens DIR. Errors, each named: not there, not writable, not a directory, not empty and no store,
 * a newer format than this program knows, another dispatcher running on it.
 */
int blx_store_open(const char *data_dir, enum blx_store_mode mode, struct blx_store *store,
                   struct blx_error *err);

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

/* Whether the store knows the agent. */
bool blx_agent_store_exists(struct blx_agent_store agent);

/* The IDs of all agents, sorted; free each and the array with blx_store_free_agents(). */
int blx_store_list_agents(const struct blx_store *store, char ***agent_ids, size_t *count,
                          struct blx_error *err);
void blx_store_free_agents(char **agent_ids, size_t count);
