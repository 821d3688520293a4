/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint's manifest in memory (manifest_file.h reads and writes it). It names, per volume,
 * the segments that this checkpoint added. The content of a volume is the newest block of the
 * chain: these segments, then its parent's, and so on until a manifest whose volume has `base` set.
 *
 * Threads: a manifest belongs to one thread, or does not change.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/timestamp.h"
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
    bool clearing;            /* dead frames are being taken out of its segments (prune.h) */
    uint64_t changed_bytes;   /* distinct blocks that this checkpoint's segments hold */
    uint64_t stored_bytes;    /* their frames' bytes, without dead frames */
    uint32_t next_segment;    /* segments from this number on belong to later checkpoints */
    uint32_t segment_count;
    uint32_t *segments; /* owned; ascending = oldest first; all below next_segment */
    /* Blocks that the agent could not read, so that the checkpoint lacks them: the image has older
     * content there, or zero. Ascending, disjoint, inside the volume. Not 0: it is damaged. */
    uint32_t unreadable_count;     /* at most BLX_UNREADABLE_MAX_EXTENTS */
    struct blx_extent *unreadable; /* owned */
};

struct blx_manifest {
    blx_timestamp timestamp;
    blx_timestamp parent;           /* 0: none */
    uint64_t agent_realtime_ns;     /* of the cut, by the agent's clock: information only */
    uint64_t committed_realtime_ns; /* by the dispatcher's clock */
    enum blx_consistency consistency;
    uint64_t freeze_ns;
    char note[BLX_TEXT_BYTES];
    uint32_t cut_flags; /* of enum blx_cut_flags */
    uint32_t volume_count;
    /* Volumes that the checkpoint does not have, whose chains it carries on: they were left out of
     * it, or are away. They have no content of its instant; the entry says where the chain goes on,
     * and has what a prune has handed down. */
    uint32_t carried_count;
    struct blx_manifest_volume *volumes; /* owned; the volumes, then the carried ones */
};

/* Of the volumes and the carried ones: whoever looks after segments looks at all of them. */
static inline uint32_t blx_manifest_count_entries(const struct blx_manifest *manifest)
{
    return manifest->volume_count + manifest->carried_count;
}

void blx_manifest_done(struct blx_manifest *manifest);
#define BLX_CLEANUP_MANIFEST BLX_CLEANUP(blx_manifest_done)

/* -ENOMEM. */
int blx_manifest_copy(const struct blx_manifest *from, struct blx_manifest *to,
                      struct blx_error *err);

/*
 * When the checkpoint was cut, for everything that is decided by time: retention, age, what is due.
 * The name says it, unless it contradicts the commit: a name of more than a minute after the
 * commit, or of more than a day before it. Such names come from stores of before (the agent's clock
 * chose them) and follow a checkpoint that is named in the future, since names ascend. Then it is
 * the commit's second. Both are the dispatcher's clock.
 */
blx_timestamp blx_manifest_time(const struct blx_manifest *manifest);

/* The entry of that name, carried or not; NULL if the manifest has none. For the way down a chain:
 * what the checkpoint holds of the volume is blx_manifest_is_carried()'s question. */
const struct blx_manifest_volume *blx_manifest_find(const struct blx_manifest *manifest,
                                                    const char *volume);

/* `entry` is one of the manifest's. */
static inline bool blx_manifest_is_carried(const struct blx_manifest *manifest,
                                           const struct blx_manifest_volume *entry)
{
    return entry >= manifest->volumes + manifest->volume_count;
}

/* Whether the checkpoint has the volume itself. */
static inline bool blx_manifest_has(const struct blx_manifest *manifest, const char *volume)
{
    const struct blx_manifest_volume *entry = blx_manifest_find(manifest, volume);
    return entry != NULL && !blx_manifest_is_carried(manifest, entry);
}

/* Whether --device=DEVICE means the volume: its name, the device as the agent named it, or
 * /dev/NAME. */
bool blx_manifest_volume_is_named(const struct blx_manifest_volume *volume, const char *device);

/* Bytes that the checkpoint lacks, of one volume and of all. Not 0: it is damaged. */
uint64_t blx_manifest_volume_unreadable_bytes(const struct blx_manifest_volume *volume);
uint64_t blx_manifest_unreadable_bytes(const struct blx_manifest *manifest);

/* The bytes that compression saved: changed ones that are not stored ones. */
uint64_t blx_manifest_volume_saved_bytes(const struct blx_manifest_volume *volume);

/* Fills in this checkpoint as the agent's last one, for `status`. */
void blx_manifest_tell(const struct blx_manifest *manifest, struct blx_control_agent *agent);

/* True if every volume is a base: `kind` is then "full", otherwise "incremental". */
bool blx_manifest_is_full(const struct blx_manifest *manifest);
