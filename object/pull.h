/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies agents' checkpoints from another dispatcher (PROTOCOL.md 4.15) into the store. What comes
 * is checked by store/copy/pulled.h, and how much may come at once, by the time that passes, here.
 *
 *     list the agents ──► for each: list what is newer ──► for each that is due: fetch, commit
 *
 * A copy that is interrupted anywhere goes on where it was.
 *
 * Threads: one. Waits for the disk and the network.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "object/pace.h"
#include "store/store.h"
#include "tls/tls.h"

struct object_pull_request {
    const struct blx_store *store;
    struct blx_tls_context *tls; /* a copier's */
    const char *address;         /* HOST:PORT */
    uint64_t every_ms; /* the least time between two copied checkpoints; 0: all are copied */
    struct object_pace *pace;
};

struct object_pull_report {
    uint64_t checkpoints;  /* that were copied */
    uint64_t files, bytes; /* that came */
    uint64_t spared_bytes; /* that were here already */
    uint64_t whole;        /* volumes that were copied from their base on */
    blx_timestamp newest;  /* that is here now; 0: none */
};

struct object_pull_agent {
    char id[BLX_NAME_BYTES];
    blx_timestamp newest; /* 0: it has no checkpoint yet */
};

/* Whether that text is a dispatcher's address: HOST:PORT without a slash. */
bool object_pull_is_address(const char *where);

/* The agents that the source has, sorted by nothing; the caller frees the array. -EACCES if the
 * copier is refused; -EBADMSG if what comes is no list. */
int object_pull_list(const struct object_pull_request *request, struct object_pull_agent **agents,
                     size_t *count, struct blx_error *err);

enum object_pull_end {
    OBJECT_PULL_COPY, /* it stays a copy */
    OBJECT_PULL_ADOPT /* it becomes an agent of this dispatcher */
};

/* Adds to the report. A connection that fails is tried again once, and so is a part that did not
 * belong to what the source has now. */
int object_pull_agent(const struct object_pull_request *request, const char *agent_id,
                      enum object_pull_end end, struct object_pull_report *report,
                      struct blx_error *err);

/* Takes the segments of a checkpoint that is damaged here from the source: pulled.h's
 * blx_pulled_open_heal(). Adds to the report. */
int object_pull_heal(const struct object_pull_request *request, const char *agent_id,
                     blx_timestamp checkpoint, struct object_pull_report *report,
                     struct blx_error *err);
