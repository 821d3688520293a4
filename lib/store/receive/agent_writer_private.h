/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of receiving share (agent_writer.h is the public side): agent_writer.c opens, appends
 * and syncs; volume_recover.c finds what a volume has; commit.c makes a checkpoint. Private to
 * lib/store.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "store/segment/segment.h"
#include "store/receive/agent_writer.h"
#include "store/receive/volume_file_private.h"

enum { BLX_REASON_BYTES = 512 };

/* A sealed segment that no manifest names yet. */
struct blx_pending_segment {
    uint32_t number;
    struct blx_key_id key_id;
    uint64_t changed_blocks;
    uint64_t stored_bytes;
};

struct blx_volume {
    struct blx_volume_info info;   /* as the session announced it */
    struct blx_volume_file file;   /* as it is on the disk */
    char *dir;                     /* owned */
    char reason[BLX_REASON_BYTES]; /* why the stored frames cannot go on; empty: they can */
    char cut[BLX_REASON_BYTES]; /* what was cut off the open segment, though it was no torn end */
    bool comparable;            /* they are an image that a rescan can begin with */
    bool begun;                 /* the session began a pass */
    uint32_t next_number;       /* of the open segment, or of the next one that is opened */
    struct blx_segment_writer *open;     /* NULL: no open.seg */
    struct blx_pending_segment *pending; /* owned; ascending */
    size_t pending_count;
    uint64_t seq;                  /* the last frame that was appended */
    uint64_t acked_seq;            /* the last one that was reported durable */
    uint64_t unsynced_bytes;       /* appended to `open` since its last sync */
    uint32_t unreadable_count;     /* what the next checkpoint lacks */
    struct blx_extent *unreadable; /* owned */
};

struct blx_agent_writer {
    char agent_id[BLX_NAME_BYTES];
    struct blx_agent_store agent; /* with this ID */
    struct blx_agent_tail *tail;  /* owned; what the writer before left, or NULL */
    blx_timestamp last_timestamp; /* of the newest checkpoint, 0: none */
    struct blx_manifest
        last; /* the newest checkpoint; no volumes where there is none or it is damaged */
    char last_damage[BLX_REASON_BYTES]; /* empty: the newest checkpoint is good */
    struct blx_key_id key_id;           /* of the session's frames; none: they are not encrypted */
    struct blx_volume *volumes[BLX_MAX_VOLUMES];
    uint32_t volume_count;
    int broken; /* the disk's first error; nothing may be written any more */
};

/* Remembers the first disk error; returns rc. */
int blx_agent_writer_fail(struct blx_agent_writer *writer, int rc);

/* -EIO after a disk error. */
int blx_agent_writer_check(const struct blx_agent_writer *writer, struct blx_error *err);

/* The open segment becomes a pending one. It must have a frame. */
int blx_volume_seal(struct blx_volume *volume, struct blx_error *err);

/* Appends to the pending segments. */
int blx_volume_add_pending(struct blx_volume *volume, const struct blx_segment_summary *summary,
                           struct blx_error *err);

/* Seals the open segment where it has a frame. */
int blx_volume_seal_frames(struct blx_volume *volume, struct blx_error *err);

/* Removes every uncommitted frame: a full pass makes them useless. The volume file must already say
 * so. */
int blx_volume_discard(struct blx_volume *volume, struct blx_error *err);

/* Fills file, next_number, open, pending, seq and reason from what lies in the folder.
 * `volume->info` and `dir` are set. */
int blx_volume_recover(const struct blx_agent_writer *writer, struct blx_volume *volume,
                       struct blx_error *err);

/* NULL is allowed. */
void blx_volume_free(struct blx_volume *volume);
