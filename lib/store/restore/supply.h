/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a restore on another machine is supplied with: a volume of a checkpoint, window by window,
 * as frames that are read as they are stored. Nothing is decrypted or unpacked, so it needs no key.
 * A frame's checksum is checked, so that damage is found here and named.
 *
 * The checkpoint is held as long as the supply is open: no prune removes it.
 *
 * A target that holds something already compares itself first:
 *
 *     blx_supply_begin_delta ──► blx_supply_digest, as often as it asks
 *                                      │  what differs
 *                                blx_supply_want ──► blx_supply_plan, of that alone
 *
 * The digests are those that lie in the segments' tables; frames without them are unpacked.
 *
 * Memory: the plan of one window, at most 40 MiB while it is made and 30 then, and a frame; while
 * digests are asked for an image in place of the plan (BLX_IMAGE_MEMORY_BYTES).
 *
 * Threads: one at a time. Waits for the disk; a plan of 10,000 checkpoints takes about a second.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "store/store.h"
#include "wire/message.h"

struct blx_supply;

struct blx_supply_request {
    struct blx_agent_store agent; /* borrowed until the supply is closed */
    blx_timestamp checkpoint;
    const char *volume; /* copied */
    size_t max_pieces;  /* of a window, at least 2; 0: BLX_PLAN_MAX_PIECES */
};

/* -ENOENT for an unknown checkpoint or volume, and for one that the checkpoint was taken without;
 * -EBADMSG if its manifest is damaged. */
int blx_supply_open(const struct blx_supply_request *request, struct blx_supply **supply,
                    struct blx_error *err);

/* NULL is allowed. */
void blx_supply_close(struct blx_supply *supply);

struct blx_supply_window {
    uint64_t end_block;   /* at the volume's end it is that */
    uint32_t frame_count; /* numbered from 0 */
    uint32_t piece_count; /* at most BLX_PLAN_MAX_PIECES */
};

/* What makes the digests of the volume's blocks: the volume's index is the caller's to set. A plain
 * volume's key is that of the digests that are stored, or a random one. To be wiped. -EIO, and the
 * disk's errors. */
int blx_supply_begin_delta(struct blx_supply *supply, struct blx_delta_key *key,
                           struct blx_error *err);

/* Answers a question about the volume's blocks, as blx_image_digest() does. -EPROTO if the delta
 * has not begun, or the request reaches beyond the volume's end. */
int blx_supply_digest(struct blx_supply *supply, const struct blx_digest_request *request,
                      struct blx_digests *digests, struct blx_error *damage, struct blx_error *err);

/* Adds to the blocks that the next plan is of. -EPROTO if they do not come after those that are
 * wanted already, lie beyond the volume's end, or are more than BLX_DELTA_MAX_WANTED extents. */
int blx_supply_want(struct blx_supply *supply, const struct blx_delta_wanted *wanted,
                    struct blx_error *err);

/* Plans the window that begins at `start_block`, in place of the one before; if blocks are wanted,
 * of those alone, and then none is wanted any more: the window ends where they end. -EPROTO if it
 * would begin beyond the end; -EBADMSG if the chain is damaged, or the checkpoint lacks blocks that
 * the agent could not read. */
int blx_supply_plan(struct blx_supply *supply, uint64_t start_block,
                    struct blx_supply_window *window, struct blx_error *err);

/* The next pieces of the window, at most `most`, frame by frame; 0: there are no more. */
size_t blx_supply_list_pieces(struct blx_supply *supply, struct blx_plan_piece *pieces,
                              size_t most);

/* The size of a frame of the window; of one that is cut (below), what it has at most. */
uint32_t blx_supply_frame_bytes(const struct blx_supply *supply, uint32_t number);

/* Has the kernel begin to read it. */
void blx_supply_prefetch(const struct blx_supply *supply, uint32_t number);

/*
 * Reads a frame of the window, whose size goes to `frame_bytes`. If only blocks are wanted that
 * take less than the stored frame, and that is not encrypted, a frame of these blocks alone is made
 * of it. `bytes` borrows the supply's buffer until the next call. -EBADMSG with the segment's name
 * if it is damaged; -ENOMEM.
 */
int blx_supply_read(struct blx_supply *supply, uint32_t number, const uint8_t **bytes,
                    uint32_t *frame_bytes, struct blx_error *err);
