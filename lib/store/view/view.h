/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint's volume, readable at any place: the one reader of what is stored (I14). A mount
 * reads through it, and whatever shows a checkpoint later does; a rescan's image is a view, too.
 *
 *     manifests ──chain──► segments, opened in parallel ──plan──► index of a window ──► block map
 *     read(block): block map ──► frame ──cache──► parsed, decrypted, unpacked, compared with it
 *
 * A window is planned when somebody reads in it. If the volume's index is small, as most are, the
 * first window is all of it. Otherwise windows stay until their maps exceed the view's share of
 * memory; the one that was used longest ago then goes, and is planned again when it is needed.
 *
 * A view holds its checkpoint as a restore does: no prune removes it, and the segments below it are
 * not rewritten. It writes nothing (I17), and a process that dies leaves no lock.
 *
 * Damage: a read that needs a damaged frame, a frame that lacks what the index says, or a block
 * that the checkpoint lacks, fails; every other block is readable. If the chain or an index is
 * damaged the view cannot be opened, because blocks would silently be older ones; only a restore
 * with --force goes that far.
 *
 * Memory: the block maps (BLX_VIEW_MAP_BYTES by default, see block_map_private.h), while a window
 * is planned some 50 MiB more, 300 bytes a segment, and the cache.
 *
 * Threads: all calls but open and close from any number at once. They block on the disk; a plan of
 * 10,000 checkpoints takes about a second if the page cache has the ends of its segments, and two
 * to three seconds if it has not.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "crypt/keyring.h"
#include "store/store.h"
#include "store/view/frame_cache.h"

enum { BLX_VIEW_MAP_BYTES = 32 << 20, BLX_VIEW_MAX_ENTRIES = 1 << 17 };

struct blx_view;

struct blx_view_request {
    struct blx_agent_store agent; /* its store is borrowed until the view is closed */
    blx_timestamp checkpoint;
    const char *volume;
    const struct blx_keyring *keys; /* NULL: none; not used after the call */
    struct blx_frame_cache *cache;  /* borrowed until the view is closed */
    size_t max_entries;             /* of a window's index while it is planned; 0: the default */
    size_t max_map_bytes;           /* 0: the default */
};

/* Plans the first window, so that a chain that cannot be read is found now. -ENOENT for an unknown
 * agent, checkpoint or volume; -ENOKEY without its key, or with keys although it has none; -EBADMSG
 * if the chain is damaged; -ENOMEM. */
int blx_view_open(const struct blx_view_request *request, struct blx_view **view,
                  struct blx_error *err);

/* NULL is allowed. */
void blx_view_close(struct blx_view *view);

uint64_t blx_view_size_bytes(const struct blx_view *view);

/* Fills `buffer`. What lies beyond the volume's end reads as zeros. -EBADMSG if a block of it is
 * damaged or lacking, with the segment's name; -ENOMEM; the disk's errors, if a window has to be
 * planned. */
int blx_view_read(struct blx_view *view, void *buffer, size_t bytes, uint64_t offset_bytes,
                  struct blx_error *err);

enum blx_view_kind {
    BLX_VIEW_HOLE, /* no frame has it: zeros */
    BLX_VIEW_ZERO, /* a frame says that it is zero */
    BLX_VIEW_DATA  /* a frame has it, or it is lacking */
};

struct blx_view_extent {
    uint64_t bytes; /* from the offset that was asked about; not 0 */
    enum blx_view_kind kind;
};

/* What lies at the offset, which must be inside the volume, and how far it reaches at least. Reads
 * no frame. Errors as blx_view_read() when it plans a window. */
int blx_view_find_extent(struct blx_view *view, uint64_t offset_bytes,
                         struct blx_view_extent *extent, struct blx_error *err);

/* Reads the range's frames into the cache, as far as they can be read. For a thread that runs ahead
 * of a reader. */
void blx_view_read_ahead(struct blx_view *view, uint64_t bytes, uint64_t offset_bytes);
