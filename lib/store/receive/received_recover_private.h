/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds what is stored of a volume, after a crash and at the start of any session. Private to
 * lib/store.
 *
 * Threads: one thread (the session). Waits for the disk.
 */
#pragma once

#include <stdbool.h>

#include "store/checkpoint/manifest.h"
#include "store/receive/agent_tail.h"
#include "store/receive/received_volume_private.h"
#include "store/store.h"

/* What is known of the agent whose volumes are received. */
struct blx_received_agent {
    struct blx_agent_store store;
    struct blx_agent_tail *tail;  /* owned; what the writer before left, or NULL */
    blx_timestamp last_timestamp; /* of the newest checkpoint, 0: none */
    struct blx_manifest last;     /* the newest checkpoint; without volumes if there is none or it
                                     is damaged */
    char last_damage[BLX_REASON_BYTES]; /* empty: the newest checkpoint is good */
    struct blx_key_id key_id;           /* of the session's frames; none: they are not encrypted */
    struct blx_key digest_key;          /* of plain frames' digests; its id none: they have none */
    bool takes_any_disk;                /* another disk was restored from this chain */
};

/*
 * Fills file, next_number, open, pending, seq, state and reason from what lies in the folder.
 * `volume->info` and `dir` are set, the rest is zero. The worst row that applies counts:
 *
 *     state file          checkpoint          segments after it    state
 *     good                newest has it       follow each other    GOES_ON
 *     good, pass begun    any                 follow each other    GOES_ON, with the pass's frames
 *     good                newest has it       missing, damaged     NEEDS_RESCAN, after the file has
 *                                                                  durably lost its generation
 *     no generation       newest has it       any                  NEEDS_RESCAN
 *     missing, damaged    newest has it       any                  NEEDS_RESCAN, on top of chain
 *     missing, damaged    none                some                 NEEDS_RESCAN, as a begun pass
 *     missing, damaged    none                none                 NEEDS_FULL
 *     good, no pass       none                any                  NEEDS_FULL
 *     distrusted          any                 any                  NEEDS_FULL
 *     any, no pass since  damaged             any                  NEEDS_FULL; no segment goes
 *
 *     the disk has grown                                           NEEDS_RESCAN
 *     the disk is another one, and was restored from this chain    NEEDS_RESCAN
 *     the disk is another one, smaller, or has another block size  NEEDS_FULL
 *     frames are stored with another key than the session's        NEEDS_FULL
 */
int blx_received_volume_recover(const struct blx_received_agent *agent,
                                struct blx_received_volume *volume, struct blx_error *err);
