/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent that is copied from another dispatcher, checkpoint by checkpoint (PROTOCOL.md 4.15).
 *
 *     open ──► for each checkpoint: begin ──► for each file: expect, write ..., end ──► commit
 *
 * What comes is over what is here: a segment that is sent was sent because it came after the
 * checkpoint that both have, so it gets a number above all that are here, and the new checkpoint is
 * an increment. A volume whose whole chain came is a base. So prunes and rewrites may do here what
 * the rules of this store say, whatever happens to the agent at the other dispatcher.
 *
 * Nothing that comes is believed. A file has the hash that was told after it, every byte of it is
 * checked as by `verify`, and its blocks lie in the volume that the manifest describes. What a
 * source can do that lies well is to send another disk's content; only encryption tells that.
 *
 * A file lies in the volume's folder as NNNNNNNN.pull until it is whole; then it is a segment that
 * no checkpoint names yet. An interrupted copy goes on with both.
 *
 *     a crash after                  leaves
 *     a part of a file               NNNNNNNN.pull, of which the next copy takes the rest
 *     the file is a segment          a segment that no manifest names; the next copy finds it whole
 *     `source` names the checkpoint  a name of one that is not there, which is harmless
 *     the manifest is written        the checkpoint, which the next copy shows to the source
 *
 * Threads: one. Waits for the disk. While it is open the agent cannot have a session here.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "store/copy/origin.h"
#include "store/store.h"
#include "wire/message.h"

struct blx_pulled;

/* The agent is known by its ID; a new one gets a folder. -EEXIST: it is an agent of this dispatcher
 * itself; -EBUSY: it is being copied, removed, or connected. */
int blx_pulled_open(const struct blx_store *store, const char *agent_id, const char *address,
                    struct blx_pulled **pulled, struct blx_error *err);
void blx_pulled_close(struct blx_pulled *pulled);

/*
 * For a checkpoint that is damaged here, of any agent, whoever it belongs to: its segments come
 * again, over the checkpoint before it, or from the base on, and take the places of those that are
 * here. What is here and good is not sent again. The files lie in VOLUME/heal until all of them are
 * there and checked. -EBUSY while somebody reads, verifies or prunes the agent; -ENOENT.
 */
int blx_pulled_open_heal(const struct blx_store *store, const char *agent_id,
                         blx_timestamp checkpoint, struct blx_pulled **pulled,
                         struct blx_error *err);

/* What is here: the newest checkpoint and its identity (offer.h); 0: none. When it
 * heals: the checkpoint before. */
blx_timestamp blx_pulled_have(const struct blx_pulled *pulled, const uint8_t **hash);

/* Begins the checkpoint `wanted`, whose manifest came as `content`, which is changed for a moment.
 * -EBADMSG: it is not that checkpoint, or goes with nothing that is here. */
int blx_pulled_begin(struct blx_pulled *pulled, blx_timestamp wanted, void *content, size_t bytes,
                     struct blx_error *err);

/* A file is next; `offset_bytes` becomes how much of it is here already. */
int blx_pulled_expect(struct blx_pulled *pulled, const struct blx_copy_file *told,
                      uint64_t *offset_bytes, struct blx_error *err);

/* What follows of it. -EBADMSG if that is more than was told; -ENOSPC if the store is full. */
int blx_pulled_write(struct blx_pulled *pulled, const void *data, size_t bytes,
                     struct blx_error *err);

/* That was all, and this is its hash. -EBADMSG if it is not, or if the segment is damaged: nothing
 * of the file stays. -EAGAIN: the part that was here already did not belong to it, and is gone;
 * copying the checkpoint again gets all of it. */
int blx_pulled_end(struct blx_pulled *pulled, const uint8_t hash[BLX_COPY_HASH_BYTES],
                   struct blx_error *err);

/* All files are here: the checkpoint is. `hash` is its identity, as the source says. */
int blx_pulled_commit(struct blx_pulled *pulled, const uint8_t hash[BLX_COPY_HASH_BYTES],
                      struct blx_error *err);

/* Nothing more is to be had now. Notes when that was. */
int blx_pulled_settle(struct blx_pulled *pulled, struct blx_error *err);

/* The copy becomes an agent of this dispatcher. */
int blx_pulled_adopt(struct blx_pulled *pulled, struct blx_error *err);
