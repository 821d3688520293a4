/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent of a store from what a depot has of it. Everything that comes from there is checked by
 * its hash.
 *
 * Threads: one. Waits for the network and the disk.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "object/depot.h"
#include "store/copy/adoption.h"
#include "store/store.h"

struct object_adopt_report {
    uint64_t checkpoints;
    uint64_t objects, bytes; /* of their segments */
    uint64_t fetched_bytes;  /* the rest was there already */
    uint64_t unusable;       /* checkpoints of the depot that are not what their names say */
    uint64_t doubles;        /* later copies of a checkpoint, which are left out */
    char unusable_why[BLX_ERROR_MESSAGE_BYTES]; /* of the last one */
};

/* `checkpoint` is "latest", 14 digits, or NULL for all. -EINVAL: it is none of them. -ENOENT: the
 * depot has no usable checkpoint of the agent; -EEXIST: the store has the agent. */
int object_adopt_agent(const struct blx_store *store, struct object_depot *depot,
                       const char *agent_id, const char *checkpoint,
                       struct object_adopt_report *report, struct blx_error *err);

/* The same with other ways to get the segments. */
struct object_adopt_ways {
    enum blx_adoption_how how;
    /* Sees each checkpoint before it is added; may be NULL. */
    int (*note)(void *arg, const struct blx_copied *copied, struct blx_error *err);
    /* After the last one; may be NULL. */
    int (*ready)(void *arg, struct blx_error *err);
    blx_adoption_fetch *fetch; /* NULL: the agent has no segments */
    void *arg;
    const char *place; /* for the marks; NULL: none are made */
};
int object_adopt_with(const struct blx_store *store, struct object_depot *depot,
                      const char *agent_id, const char *checkpoint,
                      const struct object_adopt_ways *ways, struct object_adopt_report *report,
                      struct blx_error *err);

/* Makes `path` that object, durable and whole or not at all; a file that is it already stays. 1: it
 * was fetched. */
int object_adopt_file(struct object_depot *depot, const char *key,
                      const struct blx_copied_object *object, const char *path,
                      struct blx_error *err);
