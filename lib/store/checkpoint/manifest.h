/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint's manifest: DIR/agents/ID/checkpoints/TIMESTAMP. Its rename into place is the commit
 * (I10); `show` reads manifests and nothing else (I11). A manifest names, per volume, the segments
 * that this checkpoint added; the content of a volume is the newest block of the chain: these
 * segments, then its parent's, and so on until a manifest whose volume has `base` set.
 *
 * A manifest is replaced only by one that says the same of its checkpoint's content: when an older
 * checkpoint is removed, its successor takes over what it needs of it (prune.h).
 *
 * Threads: readers of one manifest need no lock; whoever follows a chain shares BLX_LOCK_CHAINS
 * (agent_lock.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/timestamp.h"
#include "store/store.h"
#include "wire/message.h"

struct blx_manifest_volume {
    char name[BLX_NAME_BYTES];
    char device[BLX_TEXT_BYTES];
    char identity[BLX_TEXT_BYTES];
    uint64_t size_bytes;
    unsigned block_shift;
    struct blx_generation generation;
    uint64_t last_seq; /* last frame of that generation in it */
    bool base; /* a full pass ended here: the chain needs no older checkpoint for this volume */
    struct blx_key_id key_id; /* of every frame of its chain; none: it is not encrypted */
    bool clearing; /* frames that nobody needs are being taken out of its segments (prune.h) */
    uint64_t changed_bytes; /* distinct blocks that this checkpoint's segments hold */
    uint64_t stored_bytes;  /* their frames' bytes, without those that nobody needs any more */
    uint32_t next_segment;  /* segments from this number on belong to later checkpoints */
    uint32_t segment_count;
    uint32_t *segments; /* owned; ascending = oldest first; all below next_segment */
    /* What the agent could not read, and the checkpoint therefore lacks: the image has older
     * content there, or zero. Ascending, disjoint, inside the volume. Not 0: it is damaged. */
    uint32_t unreadable_count;     /* at most BLX_UNREADABLE_MAX_EXTENTS */
    struct blx_extent *unreadable; /* owned */
};

struct blx_manifest {
    blx_timestamp timestamp;
    blx_timestamp parent; /* 0: none */
    uint64_t cut_realtime_ns;
    uint64_t committed_realtime_ns;
    enum blx_consistency consistency;
    uint64_t freeze_ns;
    char note[BLX_TEXT_BYTES];
    uint32_t volume_count;
    struct blx_manifest_volume *volumes; /* owned */
};

void blx_manifest_done(struct blx_manifest *manifest);
#define BLX_CLEANUP_MANIFEST BLX_CLEANUP(blx_manifest_done)

/* -ENOMEM. */
int blx_manifest_copy(const struct blx_manifest *from, struct blx_manifest *to,
                      struct blx_error *err);

/* The volume of that name, NULL where the manifest has none. */
const struct blx_manifest_volume *blx_manifest_find(const struct blx_manifest *manifest,
                                                    const char *volume);

/* Bytes that the checkpoint lacks, of one volume and of all. Not 0: it is damaged. */
uint64_t blx_manifest_volume_unreadable_bytes(const struct blx_manifest_volume *volume);
uint64_t blx_manifest_unreadable_bytes(const struct blx_manifest *manifest);

/* What compression saved: changed bytes that are not stored bytes. */
uint64_t blx_manifest_volume_saved_bytes(const struct blx_manifest_volume *volume);

/* Fills in what `status` shows of an agent's last checkpoint: this one. */
void blx_manifest_tell(const struct blx_manifest *manifest, struct blx_control_agent *agent);

/* DIR/agents/ID/checkpoints; the ID is checked. */
int blx_manifest_dir(const struct blx_store *store, const char *agent_id, char path[PATH_MAX],
                     struct blx_error *err);

/* DIR/agents/ID/checkpoints/TIMESTAMP */
int blx_manifest_path(const struct blx_store *store, const char *agent_id, blx_timestamp timestamp,
                      char path[PATH_MAX], struct blx_error *err);

/* True where every volume is a base: `kind` is then "full", otherwise "incremental". */
bool blx_manifest_is_full(const struct blx_manifest *manifest);

/*
 * Durable first, visible second. -EEXIST where the timestamp is taken; -EINVAL for a manifest that
 * blx_manifest_read() would refuse. An error in the very last step (the directory's fsync) leaves
 * open whether the checkpoint exists; the next reader sees.
 */
int blx_manifest_write(const struct blx_store *store, const char *agent_id,
                       const struct blx_manifest *manifest, struct blx_error *err);

/* The same in place of the one that is there. After an error it is the old one or the new one. */
int blx_manifest_replace(const struct blx_store *store, const char *agent_id,
                         const struct blx_manifest *manifest, struct blx_error *err);

/* -ENOENT where there is no such checkpoint; -EBADMSG where the file is damaged. Free with
 * blx_manifest_done(). */
int blx_manifest_read(const struct blx_store *store, const char *agent_id, blx_timestamp timestamp,
                      struct blx_manifest *manifest, struct blx_error *err);

/* The timestamps of an agent's checkpoints within [first, last], oldest first; the caller frees the
 * array. Unknown agent: -ENOENT, named. */
int blx_manifest_list(const struct blx_store *store, const char *agent_id, blx_timestamp first,
                      blx_timestamp last, blx_timestamp **timestamps, size_t *count,
                      struct blx_error *err);

/*
 * Reads these checkpoints, many at once, and calls visit() for each in the given order and in the
 * caller's thread: with a manifest that is gone after the call, or with NULL and why it cannot be
 * read. One that was deleted meanwhile is passed over. Ends early with what visit() returns below
 * zero, which then fills `err`. Threads of the call's own read; -ENOMEM.
 */
int blx_manifest_each(const struct blx_store *store, const char *agent_id,
                      const blx_timestamp *timestamps, size_t count,
                      int (*visit)(void *arg, const struct blx_manifest *manifest,
                                   const struct blx_error *damage, struct blx_error *err),
                      void *arg, struct blx_error *err);

/* The newest checkpoint, 0 where there is none yet. */
int blx_manifest_latest(const struct blx_store *store, const char *agent_id,
                        blx_timestamp *timestamp, struct blx_error *err);

/*
 * "latest", 14 digits, or 12 digits where only one checkpoint has that minute. Errors: unknown
 * agent, no checkpoint yet, unknown timestamp (with the nearest ones), ambiguous (lists them).
 */
int blx_manifest_resolve(const struct blx_store *store, const char *agent_id, const char *text,
                         blx_timestamp *timestamp, struct blx_error *err);
