/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disks that are to be protected but cannot be now: one that is named and absent, that was
 * unplugged, or that another agent tracks. The other disks are protected meanwhile. The log, the
 * dispatcher's status and each checkpoint name the refused ones, and each lineup tries them again.
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
    char cause[BLX_TEXT_BYTES]; /* a sentence that names the disk; cut if it is longer */
    uint64_t size_bytes;        /* 0: not known */
    bool was_protected;         /* by this process */
    bool is_logged;             /* with this cause */
};

struct agent_refusals {
    struct agent_refusal list[BLX_MAX_VOLUMES];
    size_t count;
};

/* Notes or changes the cause. If `size_bytes` is 0 the size that was known before stays. */
void agent_refusals_add(struct agent_refusals *refusals, const char *path, uint64_t size_bytes,
                        const char *cause);

/* The path's, or NULL. */
struct agent_refusal *agent_refusals_find(struct agent_refusals *refusals, const char *path);

/* Removes the path's, if there is one. */
void agent_refusals_remove(struct agent_refusals *refusals, const char *path);

/* Logs each cause once. */
void agent_refusals_log(struct agent_refusals *refusals);

/* The bytes that cannot be read because of them: their sizes, and one block for each disk whose
 * size is not known. */
uint64_t agent_refusals_count_bytes(const struct agent_refusals *refusals);

/* Appends to `text`, after "; ": how many there are, and the first one's cause. Appends nothing if
 * there are none. */
void agent_refusals_explain(const struct agent_refusals *refusals, char text[BLX_TEXT_BYTES]);

/* Appends the same way which disks a checkpoint of the others lacks. */
void agent_refusals_note(const struct agent_refusals *refusals, char text[BLX_TEXT_BYTES]);
