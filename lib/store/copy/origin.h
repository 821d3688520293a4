/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether an agent of this store is a copy from another dispatcher, and of which: the file
 * DIR/agents/ID/source. It has one line,
 *
 *     blxrep source 1 TIMESTAMP SECONDS ADDRESS
 *
 * TIMESTAMP is the newest checkpoint that came from there or is coming, SECONDS when the copier
 * looked there last and had everything, since 1970. A checkpoint that is newer than TIMESTAMP did
 * not come from there: the agent itself reports to this dispatcher. Then it is a copy no longer,
 * and nothing more is copied over it.
 *
 * Threads: no shared state. Waits for the disk.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "store/store.h"
#include "wire/message.h"

struct blx_origin {
    char address[BLX_TEXT_BYTES]; /* of the other dispatcher, as it was dialled */
    blx_timestamp newest;         /* 0: nothing came yet */
    uint64_t looked_s;            /* 0: not yet */
};

/* 1: the agent has such a file. 0: it has none. -EBADMSG: it is damaged. */
int blx_origin_read(struct blx_agent_store agent, struct blx_origin *origin, struct blx_error *err);

/* Durable when it returns. The agent's folder must be there. */
int blx_origin_write(struct blx_agent_store agent, const struct blx_origin *origin,
                     struct blx_error *err);

/* From now on it is an agent like any other. */
int blx_origin_remove(struct blx_agent_store agent, struct blx_error *err);

/* 1: it is a copy, and no checkpoint of its own is there. Otherwise as blx_origin_read(). */
int blx_origin_look(struct blx_agent_store agent, struct blx_origin *origin, struct blx_error *err);
