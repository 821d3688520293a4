/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a restore on another machine is supplied with: a volume of a checkpoint, window by window,
 * as frames that are read as they are stored. Nothing is decrypted or unpacked, so it needs no key.
 * A frame's checksum is checked, so that damage is found here and named.
 *
 * The checkpoint is held as long as the supply is open: no prune removes it.
 *
 * Memory: the plan of one window, at most 40 MiB while it is made and 30 then, and a frame.
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

/* Plans the window that begins at `start_block`, in place of the one before. -EPROTO if that lies
 * beyond the volume's end; -EBADMSG if the chain is damaged, or the checkpoint lacks blocks that
 * the agent could not read. */
int blx_supply_plan(struct blx_supply *supply, uint64_t start_block,
                    struct blx_supply_window *window, struct blx_error *err);

/* The next pieces of the window, at most `most`, frame by frame; 0: there are no more. */
size_t blx_supply_list_pieces(struct blx_supply *supply, struct blx_plan_piece *pieces,
                              size_t most);

/* The size of a frame of the window. */
uint32_t blx_supply_frame_bytes(const struct blx_supply *supply, uint32_t number);

/* Has the kernel begin to read it. */
void blx_supply_prefetch(const struct blx_supply *supply, uint32_t number);

/* Reads a frame of the window. `bytes` borrows the supply's buffer until the next call. -EBADMSG
 * with the segment's name if it is damaged; -ENOMEM. */
int blx_supply_read(struct blx_supply *supply, uint32_t number, const uint8_t **bytes,
                    struct blx_error *err);
