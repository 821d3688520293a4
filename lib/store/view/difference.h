/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which blocks of a volume were written between two of its checkpoints. Their chains tell it: a
 * segment that both have holds the same blocks for both, so what differs lies in those that only
 * one of them has. No frame is read, so no key is needed. A block that was written again with the
 * same content counts.
 *
 * If a full pass lies between, the chains share nothing, and all that it sent counts.
 *
 * Memory: that of a coverage (segment/coverage_private.h), and one segment's index.
 *
 * Threads: a difference belongs to one. Opening it waits for the disk.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "store/store.h"

struct blx_difference;

struct blx_difference_request {
    struct blx_agent_store agent;
    blx_timestamp checkpoint, other; /* in any order */
    const char *volume;
};

/* -ENOENT for an unknown checkpoint or volume; -EBADMSG if a chain or an index is damaged; -ENOMEM.
 * Nothing is held afterwards: the difference is a copy. */
int blx_difference_open(const struct blx_difference_request *request,
                        struct blx_difference **difference, struct blx_error *err);

/* NULL is allowed. */
void blx_difference_close(struct blx_difference *difference);

/* Whether a full pass lies between. */
bool blx_difference_is_whole(const struct blx_difference *difference);

/* How many of these bytes lie in such blocks. What lies beyond the volume's end does not. */
uint64_t blx_difference_count(const struct blx_difference *difference, uint64_t offset_bytes,
                              uint64_t bytes);
