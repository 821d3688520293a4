/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments of a checkpoint that follow each other and become one: the space that they take and
 * would take, and the file that replaces them. Private to lib/store; rewrite.c uses it.
 *
 * Threads: a group belongs to one thread. Waits for the disk.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/checkpoint/needed_private.h"
#include "store/segment/segment_writer_private.h"

/* A segment. */
struct blx_rewrite_piece {
    uint32_t number;
    uint64_t file_bytes, used_bytes; /* its length, and the space it takes on the disk */
    uint64_t needed_bytes, entries;  /* of its needed frames */
    uint64_t digests;                /* that they have, or get */
    struct blx_needed_frame *frames; /* owned; these */
    size_t frame_count;
};

struct blx_rewrite_group {
    struct blx_rewrite_piece *pieces; /* owned; newest first */
    size_t count;
    uint64_t used_bytes, needed_bytes, entries, digests; /* of all */
};

/* Leaves an empty group. */
void blx_rewrite_group_clear(struct blx_rewrite_group *group);

/* Whether it could gain by being in a group: much of it is dead, or it is small. */
bool blx_rewrite_piece_is_poor(const struct blx_rewrite_piece *piece);

/* Whether the group and the piece make a segment of the usual size. */
bool blx_rewrite_group_fits(const struct blx_rewrite_group *group,
                            const struct blx_rewrite_piece *piece);

/* Takes the piece over, which is older than those it has; it is zeroed. -ENOMEM. */
int blx_rewrite_group_add(struct blx_rewrite_group *group, struct blx_rewrite_piece *piece);

/* Whether enough would be freed. */
bool blx_rewrite_group_is_worth_it(const struct blx_rewrite_group *group);

/*
 * Writes DIR/NAME, a segment with the number of the group's newest and all its needed
 * frames, each checked and with its digests; durable except for its name. Frames of before get
 * digests made with `digest_key` (NULL: they get none). copied() is called after each frame; if it
 * returns less than 0 the call ends with that. `made` is closed with blx_segment_writer_close().
 * -EBADMSG if a frame is damaged.
 */
int blx_rewrite_group_copy(const struct blx_rewrite_group *group, const char *volume_dir,
                           const char *name, unsigned block_shift,
                           const struct blx_volume_key *digest_key,
                           int (*copied)(void *arg, uint64_t bytes, struct blx_error *err),
                           void *arg, struct blx_segment_writer **made, struct blx_error *err);

/* The file that a rewrite writes. If a crash left one it is overwritten, or removed by the next
 * prune. */
#define BLX_REWRITE_NAME         "rewrite.tmp"
#define BLX_REWRITE_DIGESTS_NAME "rewrite.digests" /* its log; gone when the file is whole */
/* The one that a copy elsewhere writes; a crash leaves it to the next copy. */
#define BLX_COPY_NAME "copy.tmp"
int blx_rewrite_path(const char *volume_dir, char path[PATH_MAX], struct blx_error *err);
