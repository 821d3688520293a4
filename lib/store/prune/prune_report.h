/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outcome of a prune (prune.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blx_prune_report {
    size_t removed;
    size_t in_use; /* stay, because a restore reads them */
    size_t pinned; /* stay, because they were pinned meanwhile */
    uint64_t freed_bytes;
    bool no_holes; /* the filesystem cannot make them: dead frames go with their segments only */
};
