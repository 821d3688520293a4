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
 * The file names its version and the generation that it belongs to. If one of them is another one,
 * or the file is missing, nobody knows which blocks were in flight: a new tracker must be made. The
 * file is never fsynced: it need not survive more than the process.
 *
 * Threads: any thread changes bits, by atomic operations. The head's fields are the control
 * thread's alone, with few exceptions. sent_seq, acked_seq, last_checkpoint and
 * checkpoint_unconfirmed are guarded by the agent's lock: sender, receiver and control thread write
 * them, and the handshake reads them before the other two run. Workers read `stream` without a
 * lock: it changes only in a handshake, when no job is under way.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/track/sleep.h"
#include "agent/track/witness.h"
#include "base/error.h"
#include "base/timestamp.h"
#include "wire/frame.h"
#include "wire/message.h"

/* Whether the agent that had it last is done with it, so that it may be kept over a reboot. */
enum agent_left {
    AGENT_NOT_LEFT,            /* it runs, or has died */
    AGENT_LEFT_IN_ORDER,       /* it ended, and what the boot loader may write is marked */
    AGENT_LEFT_UNKNOWN_LOADER, /* it ended, but where the boot loader writes is not known */
};

/* The head of the file: of this machine and this boot only, so in native byte order. */
struct agent_ledger_head {
    uint64_t magic;
    uint64_t version;
    struct blx_generation generation;
    uint64_t blocks;
    char volume[BLX_NAME_BYTES]; /* that the stream was of; another one if a link now leads here */
    /*
     * The generation that the frames carry. Each session has a new one. What these fields say
     * together, and what follows if the dispatcher's state does not fit, is in
     * session/stream_private.h.
     */
    struct blx_generation stream;
    bool stream_used;              /* a dispatcher may have got a BEGIN for it */
    uint64_t acked_seq;            /* the stream's last frame that the dispatcher called durable */
    uint64_t sent_seq;             /* its last frame that was sent, or was about to be */
    struct blx_generation base;    /* the stream that this one goes on from; none: from none */
    uint64_t base_seq;             /* after which frame of it */
    blx_timestamp last_checkpoint; /* the last one that the dispatcher has committed */
    bool checkpoint_unconfirmed;   /* CHECKPOINT was sent, and whether it was committed is open */
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
    /* Zero in a ledger of an earlier release, which had no room for them. */
    struct agent_sleep sleep;
    uint64_t hibernations;            /* up to which a rescan has answered */
    uint32_t left;                    /* enum agent_left: how the last agent has left it */
    char reboot_note[BLX_TEXT_BYTES]; /* what the last reboot meant for the tracking; "": nothing */
};
_Static_assert(offsetof(struct agent_ledger_head, acked_seq) == 128, "tests/e2e/store_disk.py");

struct agent_ledger {
    struct agent_ledger_head *head;
    uint64_t *pending;
    uint64_t *in_flight;
    void *map;
    uint64_t map_bytes;
};

enum agent_ledger_kind {
    AGENT_LEDGER_EXISTING, /* -ESTALE if there is none, or one of another version, generation or
                            * size */
    AGENT_LEDGER_FRESH,    /* empty; takes the place of one that is there */
};

/* Maps RUN_DIR/NAME.ledger. */
int agent_ledger_open(const char *run_dir, const char *name,
                      const struct blx_generation *generation, uint64_t blocks,
                      enum agent_ledger_kind kind, struct agent_ledger *ledger,
                      struct blx_error *err);

/* Unmaps; the file stays. A zeroed struct is allowed. */
void agent_ledger_close(struct agent_ledger *ledger);
