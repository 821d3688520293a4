/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A volume as a session receives it: its state file, the open segment, and the sealed segments that
 * no checkpoint has yet ("pending"). agent_writer.c holds one for each volume of its session;
 * received_recover.c finds one on the disk. Private to lib/store.
 *
 * Threads: one thread (the session). Waits for the disk.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "store/receive/volume_file_private.h"
#include "store/segment/segment.h"

enum { BLX_REASON_BYTES = 512 };

/* A sealed segment that no manifest names yet. */
struct blx_pending_segment {
    uint32_t number;
    struct blx_key_id key_id;
    uint64_t changed_blocks;
    uint64_t stored_bytes;
};

/*
 * Whether frames can go on from what is stored. It only gets worse while a volume is recovered; a
 * pass that begins makes it good.
 *
 *     GOES_ON -----+-- frames lost, no state file, the disk grew --------> NEEDS_RESCAN
 *        ^         |                                                         |   |
 *        |         +-- another disk or key, no image, a checkpoint           |   |
 *        |             that cannot be read --------> NEEDS_FULL <------------+   |
 *        |                                               |                       |
 *        +------------- a full pass begins --------------+                       |
 *        +------------- a rescan or a full pass begins --------------------------+
 */
enum blx_received_state {
    BLX_RECEIVED_GOES_ON,
    BLX_RECEIVED_NEEDS_RESCAN, /* it is an image, which must be compared with the disk first */
    BLX_RECEIVED_NEEDS_FULL    /* it is not, or not surely, an image of the volume */
};

struct blx_received_volume {
    struct blx_volume_info info; /* as the session announced it */
    struct blx_volume_file file; /* as it is on the disk */
    char *dir;                   /* owned */
    enum blx_received_state state;
    char reason[BLX_REASON_BYTES];   /* why the stored frames cannot go on; empty: they can */
    char cut[BLX_REASON_BYTES];      /* how the open segment was cut off, if not at a torn end */
    bool begun;                      /* the session began a pass */
    uint32_t next_number;            /* of the open segment, or of the next one that is opened */
    struct blx_segment_writer *open; /* NULL: no open.seg */
    struct blx_pending_segment *pending; /* owned; ascending */
    size_t pending_count;
    uint64_t seq;                  /* the last frame that was appended */
    uint64_t acked_seq;            /* the last one that was reported durable */
    uint64_t unsynced_bytes;       /* appended to `open` since its last sync */
    bool is_made;                  /* its folder is there, and its state file says `file` */
    uint32_t unreadable_count;     /* what the next checkpoint lacks */
    struct blx_extent *unreadable; /* owned */
};

/* More volumes than any agent of ours has names for: a further one is refused. */
enum { BLX_RECEIVED_MOST_VOLUMES = 1024 };

/*
 * Makes the folder, and the state file, unless they are there. A volume that is new gets them with
 * its first frame or its first checkpoint, so that names alone leave nothing behind. -EDQUOT at
 * BLX_RECEIVED_MOST_VOLUMES.
 */
int blx_received_volume_make(struct blx_received_volume *volume, struct blx_error *err);

/* The open segment becomes a pending one. It must have a frame. */
int blx_received_volume_seal(struct blx_received_volume *volume, struct blx_error *err);

/* Appends to the pending segments. */
int blx_received_volume_add_pending(struct blx_received_volume *volume,
                                    const struct blx_segment_summary *summary,
                                    struct blx_error *err);

/* Seals the open segment if it has a frame. */
int blx_received_volume_seal_frames(struct blx_received_volume *volume, struct blx_error *err);

/* Removes every uncommitted frame: a full pass makes them useless. The state file must already say
 * so. */
int blx_received_volume_discard(struct blx_received_volume *volume, struct blx_error *err);

/* Whether it has more pending segments than an agent of ours makes: several passes over all of it,
 * and some thousands of sessions that each began another generation. */
bool blx_received_volume_is_crowded(const struct blx_received_volume *volume);

/* NULL is allowed. */
void blx_received_volume_free(struct blx_received_volume *volume);

/* Worsens the state, with the reason; a state that is as bad already keeps its own. */
__attribute__((format(printf, 3, 4))) void blx_received_volume_demand(
    struct blx_received_volume *volume, enum blx_received_state state, const char *format, ...);

/* A pass began: frames go on. */
void blx_received_volume_go_on(struct blx_received_volume *volume);
