/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A restore from a dispatcher: this machine pulls, with a token. PROTOCOL.md 4.13 has the
 * conversation; restore_run_private.h writes what comes, as it does what a restore from the store
 * reads.
 *
 *     blx_pull_open ──► offer ──► blx_pull_volume, for each that is wanted ──► blx_pull_finish
 *
 * Nothing that the dispatcher says is believed: the plan's pieces must be disjoint, inside the
 * volume and whole frames; each frame must have the size that the plan named, a good checksum, hold
 * the blocks that the plan says, and decrypt with the key that was given.
 *
 * If the connection is lost it is made again, with pauses that grow, until nothing was received for
 * BLX_PULL_PATIENCE_MS; the restore then goes on where it was. If this process dies the next one
 * goes on, by a journal.
 *
 * Memory: a window's plan, 25 MiB at most, and about 3 MiB for each worker.
 *
 * Threads: one at a time; a volume's workers are its own. Blocks on the network and the disk.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "store/restore/restore.h"
#include "wire/conn.h"
#include "wire/message.h"

enum { BLX_PULL_PATIENCE_MS = 10 * 60 * 1000 };

struct blx_pull_request {
    /* Connects to the dispatcher; the connection is the callee's gift. Called again after each
     * loss. -EACCES and -EPROTO are final. */
    int (*dial)(void *arg, struct blx_conn **conn, struct blx_error *err);
    void *arg;
    struct blx_restore_message hello; /* copied */
    uint64_t patience_ms;             /* 0: BLX_PULL_PATIENCE_MS */
    uint64_t pause_ms;                /* before the first new try; 0: a quarter of a second */
    void (*note)(void *arg, const char *text); /* a connection was lost, or made again; or NULL */
    uint8_t hardware[BLX_HARDWARE_BYTES];      /* by which this machine is known again; or zero */
};

struct blx_pull;

/* Connects and shows the token. -EACCES: the dispatcher refuses it; -ENODEV: it takes over, and the
 * request has no hardware. */
int blx_pull_open(const struct blx_pull_request *request, struct blx_pull **pull,
                  struct blx_error *err);

/* NULL is allowed. */
void blx_pull_close(struct blx_pull *pull);

/* What the token lets this machine restore; constant, and the pull's. */
const struct blx_restore_offer *blx_pull_get_offer(const struct blx_pull *pull);
const struct blx_restore_volume *blx_pull_get_volume(const struct blx_pull *pull, uint32_t volume);

/* Whether the token makes this machine the agent. */
bool blx_pull_takes_over(const struct blx_pull *pull);

struct blx_pull_target {
    struct blx_restore_target target; /* `losses` is NULL */
    const char *journal;              /* the path of the journal; not used for a delta */
    const struct blx_restore_progress *comparing; /* of a delta, before anything is written */
};

/* Whether a journal of this volume and target is there that knows of something written, so that
 * blx_pull_volume() can go on with what an earlier run left. */
bool blx_pull_can_resume(const struct blx_pull *pull, uint32_t volume, const char *journal,
                         const char *target);

/*
 * Restores a volume. With BLX_RESTORE_DELTA the target is compared first, and only what differs is
 * asked for: a run that goes on compares again.
 *
 * With BLX_RESTORE_CONTINUE it goes on by the journal: -ENOENT if there is none, -ESTALE if it is
 * another restore's or the target is not what it left. Otherwise it begins again.
 *
 * The journal stays, so that a run that goes on passes over a volume that is complete; remove it
 * at the end. Errors as blx_restore() has them; -ETIMEDOUT if the dispatcher
 * could not be reached for too long, -EACCES once it refuses.
 */
int blx_pull_volume(struct blx_pull *pull, uint32_t volume, const struct blx_pull_target *target,
                    const struct blx_restore_progress *progress, struct blx_error *err);

/*
 * Reads back what a volume's restore has written to target->path, past the page cache, and compares
 * each block with the dispatcher's frames, which cross the network once more. Nothing is written.
 * `written_bytes` becomes what was compared. -EUCLEAN with the place if a block differs; other
 * errors as above.
 */
int blx_pull_verify(struct blx_pull *pull, uint32_t volume, const struct blx_restore_target *target,
                    const struct blx_restore_progress *progress, struct blx_error *err);

/* Says that all is written, which spends the token, and hands the agent's name over if it does
 * that. */
int blx_pull_finish(struct blx_pull *pull, uint64_t written_bytes, struct blx_error *err);
