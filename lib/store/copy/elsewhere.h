/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an agent's copy elsewhere stands: DIR/agents/ID/elsewhere, written by blxrep-copy after each
 * try, and read by the dispatcher for status, metrics and events. It says what was seen then, and
 * who reads it compares that with the clock. STORE.md ("Copies elsewhere") has the bytes.
 *
 * Threads: no shared state. Waits for the disk.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "store/copy/copied.h"
#include "store/store.h"
#include "wire/message.h"

struct blx_elsewhere {
    char place[BLX_TEXT_BYTES];      /* the copy's name: a URL, or a folder */
    blx_timestamp newest;            /* the newest checkpoint of this store that it has; 0: none */
    int64_t copied_s;                /* when that was copied, since 1970 */
    int64_t locked_until_s;          /* the least of all that it needs; 0: it is not locked */
    enum blx_copied_lock lock;       /* the weakest of all that it needs */
    char not_locked[BLX_TEXT_BYTES]; /* why nobody may count on the lock; "": it was tried, and
                                        holds */
    int64_t tried_s;                 /* when the last try ended */
    char failure[BLX_TEXT_BYTES];    /* what it failed with; "": it did not */
    /* Checkpoints of the agent there that this store did not copy, and are newer. */
    uint64_t strange_count;
    blx_timestamp strange_newest;
    int64_t retained_s; /* when the copy's own retention ended last; 0: never */
};

/* Texts are cut to fit and made harmless. Durable when it returns 0. */
int blx_elsewhere_write(struct blx_agent_store agent, const struct blx_elsewhere *elsewhere,
                        struct blx_error *err);

/* 1, or 0 if the agent was never copied. -EBADMSG: the file is damaged; the next copy replaces
 * it. */
int blx_elsewhere_read(struct blx_agent_store agent, struct blx_elsewhere *elsewhere,
                       struct blx_error *err);

/* The path of the file. */
int blx_elsewhere_path(struct blx_agent_store agent, char path[PATH_MAX], struct blx_error *err);
