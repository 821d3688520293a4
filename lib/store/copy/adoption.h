/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent of a store made from the checkpoints of a copy elsewhere.
 *
 *     open ──► add each checkpoint, the oldest first ──► fill: each object once ──► finish
 *
 * In a copy two objects may have one number, since a rewrite made another segment of it between two
 * copies. Here each gets a number of its own, in the same order and none lower than the one it had.
 * A checkpoint whose list begins with the whole list of the one before becomes an increment.
 *
 * The agent is built in DIR/adopting and comes into its place with one rename. So an adoption that
 * was interrupted leaves no half agent, and the next one goes on with the files that are there.
 *
 * Threads: one. Waits for the disk. Memory: the checkpoints' lists.
 */
#pragma once

#include "base/error.h"
#include "store/copy/copied.h"
#include "store/store.h"

struct blx_adoption;

enum blx_adoption_how {
    BLX_ADOPTION_KEPT,   /* durable, and it goes on with what an earlier one left */
    BLX_ADOPTION_PASSING /* for a reader alone: nothing is flushed */
};

/* -EEXIST if the store has the agent already, under whatever name. The store must stay. */
int blx_adoption_open(const struct blx_store *store, const char *agent_id,
                      enum blx_adoption_how how, struct blx_adoption **adoption,
                      struct blx_error *err);
void blx_adoption_close(struct blx_adoption *adoption);

/* Takes the checkpoint over, and zeroes it. -EINVAL if it is not newer than the one before. */
int blx_adoption_add(struct blx_adoption *adoption, struct blx_copied *copied,
                     const uint8_t hash[BLX_COPIED_HASH_BYTES], struct blx_error *err);

/* Makes `path` the object that had `number` in the copy, with the hash that it must have. A whole
 * file may be there already. */
typedef int blx_adoption_fetch(void *arg, const char *volume, uint32_t number,
                               const struct blx_copied_object *object, const char *path,
                               struct blx_error *err);

/* Has each object fetched, those of a volume in the order of their numbers. */
int blx_adoption_fill(struct blx_adoption *adoption, blx_adoption_fetch *fetch, void *arg,
                      struct blx_error *err);

/* How many objects and bytes that is. */
void blx_adoption_count(const struct blx_adoption *adoption, uint64_t *objects, uint64_t *bytes);

/* Writes the manifests, and marks that the copy named `place` has them (NULL: no marks); then the
 * agent is there. Without blx_adoption_fill() it has no segments, which is enough to list them. */
int blx_adoption_finish(struct blx_adoption *adoption, const char *place, struct blx_error *err);
