/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disks that are to be protected and cannot be now: one that is named and not there, that was
 * unplugged, that another agent tracks. The others are protected meanwhile; these are told of in
 * the log, in the dispatcher's status and with each checkpoint, and tried again with each lineup.
 *
 * Threads: the main thread's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/message.h"

struct agent_refusal {
    char path[BLX_TEXT_BYTES];
    char cause[BLX_TEXT_BYTES]; /* a sentence that names the disk; cut where it is longer */
    uint64_t size_bytes;        /* 0: not known */
    bool was_protected;         /* by this process */
    bool told;                  /* in the log, with this cause */
};

struct agent_refusals {
    struct agent_refusal list[BLX_MAX_VOLUMES];
    size_t count;
};

/* Notes or changes the cause. What was known of the size stays where `size_bytes` is 0. */
void agent_refusals_add(struct agent_refusals *refusals, const char *path, uint64_t size_bytes,
                        const char *cause);

/* The path's, or NULL. */
struct agent_refusal *agent_refusals_find(struct agent_refusals *refusals, const char *path);

/* Takes the path's out, where there is one. */
void agent_refusals_remove(struct agent_refusals *refusals, const char *path);

/* Logs each cause once. */
void agent_refusals_tell(struct agent_refusals *refusals);

/* What cannot be read for them: their sizes, and a block of one whose size is not known. */
uint64_t agent_refusals_count_bytes(const struct agent_refusals *refusals);

/* Appends to what is there, behind "; ": how many there are, and the first one's cause. Nothing
 * where there are none. */
void agent_refusals_explain(const struct agent_refusals *refusals, char text[BLX_TEXT_BYTES]);

/* Appends the same way which disks a checkpoint of the others lacks. */
void agent_refusals_note(const struct agent_refusals *refusals, char text[BLX_TEXT_BYTES]);
