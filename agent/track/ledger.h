/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blocks that the agent owes the dispatcher, beyond the kernel's dirty bits: two bitmaps in a
 * file on tmpfs under the run directory. The file is mapped into memory, so that the death of the
 * agent loses no mark (I3). A reboot loses the file together with the tracker's pins.
 *
 *     pending     taken over from the dirty bitmap (or set by a pass), not yet being sent
 *     in flight   read, or about to be read, and not yet durable at the dispatcher
 *
 * A marked block is in dirty, pending or in flight at every instant; it moves by "set there, then
 * clear here". volume.h has the functions that move it.
 *
 * The file names the generation that it belongs to. If that is another generation, or the file is
 * missing, nobody knows which blocks were in flight: a new tracker must be made. The file is never
 * fsynced: it need not survive more than the process.
 *
 * Threads: any thread changes bits, by atomic operations. The head's fields are the control
 * thread's alone, with two exceptions. acked_seq and last_checkpoint are guarded by the agent's
 * lock: the receiver writes them, and the handshake reads them before the receiver runs. Workers
 * read `stream` without a lock: it changes only in a handshake, when no job is under way.
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
     * The generation that the frames carry and the dispatcher knows. It begins as the tracker's.
     * Each further full pass from nothing gets a new one, so that a dispatcher that stored an
     * earlier stream can never take this one for its continuation.
     */
    struct blx_generation stream;
    bool stream_used;              /* a dispatcher may have got a BEGIN for it */
    uint64_t acked_seq;            /* the stream's last frame that the dispatcher called durable */
    blx_timestamp last_checkpoint; /* the last one it committed with this volume */
    /* The tracker's counters, and the witness's, up to which a rescan has answered. */
    uint64_t missed, passthrough, unmarked, unseen_sectors;
    struct agent_witness witness;
    uint64_t pass_total_blocks; /* of the pass that is being sent; 0: none */
    bool pass_is_rescan;        /* its blocks were found by a rescan; otherwise it is a full pass */
    char pass_reason[BLX_TEXT_BYTES];
    /* The rescan that is under way: blocks below the cursor have been compared, blocks from the end
     * on need not be. */
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
