/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mark of a suspicious checkpoint: DIR/agents/ID/checkpoints/TIMESTAMP.suspicious beside the
 * manifest. It says what was seen, in figures and in words. It is a signal, no verdict: nothing was
 * unpacked, and compressed data looks as encrypted data does.
 *
 * A mark is written once, goes with its checkpoint, and is no reason for any prune or refusal.
 * Durable first, visible second.
 *
 * Threads: no shared state. Waits for the disk.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "base/timestamp.h"
#include "store/signal/judge.h"
#include "store/store.h"

struct blx_suspicion {
    blx_timestamp checkpoint;
    blx_timestamp since; /* where the signal began that nobody has answered yet; often itself */
    blx_timestamp calm;  /* the last calm checkpoint, which is pinned; 0: there was none */
    uint64_t judged_realtime_ns; /* by this host's clock */
    enum blx_signal_kind kind;
    enum blx_sensitivity sensitivity;
    struct blx_change change;
    char reason[BLX_SIGNAL_REASON_BYTES]; /* one line */
};

/* The text is cleaned on the way. -ENOENT if there is no such checkpoint. */
int blx_suspicion_write(struct blx_agent_store agent, const struct blx_suspicion *suspicion,
                        struct blx_error *err);

/* -ENOENT if it has none; -EBADMSG if the mark is damaged or another checkpoint's; -ENOTSUP if it
 * is of a newer version. */
int blx_suspicion_read(struct blx_agent_store agent, blx_timestamp checkpoint,
                       struct blx_suspicion *suspicion, struct blx_error *err);

/* All that are marked, ascending; the caller frees the array. */
int blx_suspicion_list(struct blx_agent_store agent, blx_timestamp **timestamps, size_t *count,
                       struct blx_error *err);

/* The newest one. Damaged marks are passed over. -ENOENT if there is none. */
int blx_suspicion_find_newest(struct blx_agent_store agent, struct blx_suspicion *suspicion,
                              struct blx_error *err);

/* Removes the mark, which may be missing, for a caller that has BLX_LOCK_CHAINS and makes the
 * folder durable. */
int blx_suspicion_remove_locked(struct blx_agent_store agent, blx_timestamp checkpoint,
                                struct blx_error *err);

/* A JSON object: the mark, whole; as the member `key`, or NULL. */
void blx_suspicion_print_json(struct blx_json *json, const char *key,
                              const struct blx_suspicion *suspicion);
