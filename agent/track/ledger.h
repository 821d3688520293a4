/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent owes the dispatcher, beyond the kernel's dirty bits: two bitmaps in a file on
 * tmpfs under the run directory, mapped into memory, so that the death of the agent loses none of
 * it (I3). A reboot loses it together with the tracker's pins.
 *
 *     pending     taken over from the dirty bitmap (or set by a pass), not yet being sent
 *     in flight   read, or about to be read, and not yet durable at the dispatcher
 *
 * A marked block is in dirty, pending or in flight at every instant; it moves by "set there, then
 * clear here". What moves them is in volume.h.
 *
 * The file says which generation it belongs to. Another generation, or a file that is missing,
 * means that nobody knows what was in flight: the tracker must then be born anew. Never fsynced: it
 * need not survive more than the process.
 *
 * Threads: bits by atomic operations from any. The head's fields are the control thread's alone, but
 * for the two that the receiver writes under the agent's lock: acked_seq and last_checkpoint. Only
 * the handshake reads these two, before the receiver runs. Workers read `stream` without a lock: it
 * changes only in a handshake, when no job is under way.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/track/witness.h"
#include "base/error.h"
#include "base/timestamp.h"
#include "wire/frame.h"
#include "wire/message.h"

/* The head of the file: of this machine and this boot only, so in native byte order. */
struct agent_ledger_head {
    uint64_t magic;
    struct blx_generation generation;
    uint64_t blocks;
    /*
     * The generation as the dispatcher knows it: what the frames carry. It begins as the tracker's
     * and is born anew with each further full pass from nothing, so that a dispatcher that stored
     * an earlier stream can never take this one for its continuation.
     */
    struct blx_generation stream;
    bool stream_used;              /* a dispatcher was told to begin it */
    uint64_t acked_seq;            /* the stream's last frame that the dispatcher called durable */
    blx_timestamp last_checkpoint; /* the last one it committed with this volume */
    /* The tracker's counters, and the witness's, up to which a rescan has answered. */
    uint64_t missed, passthrough, unmarked, unseen_sectors;
    struct agent_witness witness;
    uint64_t pass_total_blocks; /* of the pass that is being sent; 0: none */
    bool pass_is_rescan;        /* it is what a rescan found, otherwise a full pass */
    char pass_reason[BLX_TEXT_BYTES];
    /* The rescan that is under way: what lies below the cursor has been compared, what lies behind
     * the end need not be. */
    bool rescan_active;
    uint64_t rescan_cursor_block;
    uint64_t rescan_end_block;
    char rescan_reason[BLX_TEXT_BYTES];
    char anew_reason[BLX_TEXT_BYTES]; /* why the next session begins a new stream; empty: unknown */
};

struct agent_ledger {
    struct agent_ledger_head *head;
    uint64_t *pending;
    uint64_t *in_flight;
    void *map;
    uint64_t map_bytes;
};

enum agent_ledger_kind {
    AGENT_LEDGER_EXISTING, /* -ESTALE if there is none, or one of another generation or size */
    AGENT_LEDGER_FRESH,    /* empty; takes the place of one that is there */
};

/* Maps RUN_DIR/NAME.ledger. */
int agent_ledger_open(const char *run_dir, const char *name,
                      const struct blx_generation *generation, uint64_t blocks,
                      enum agent_ledger_kind kind, struct agent_ledger *ledger,
                      struct blx_error *err);

/* Unmaps; the file stays. A zeroed struct is allowed. */
void agent_ledger_close(struct agent_ledger *ledger);
