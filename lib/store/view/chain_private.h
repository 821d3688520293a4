/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chain of a volume's checkpoint: its segments and its ancestors' down to the base, as the
 * manifests name them. Reads manifests only; plan_private.h opens the segments.
 *
 * Private to lib/store. Threads: a chain belongs to one. The caller shares BLX_LOCK_CHAINS.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/checkpoint/manifest.h"
#include "store/store.h"
#include "store/view/opening_private.h"

enum blx_chain_rule {
    BLX_CHAIN_WHOLE,  /* a manifest that cannot be read is an error */
    BLX_CHAIN_PARTIAL /* the chain is used as far as it goes */
};

/* Begins as zero, except for size_bytes and block_shift, which then bound all checkpoints: none may
 * be larger or have other blocks. Otherwise they are the first checkpoint's. */
struct blx_chain {
    uint64_t size_bytes;
    unsigned block_shift;
    struct blx_chain_segment *segments; /* owned; the newest first */
    size_t segment_count;
    struct blx_extent *unreadable; /* owned; blocks that the first checkpoint lacks */
    uint32_t unreadable_count;
    char cut[256]; /* why it ends before its base; empty: it does not */
};

/* -ENOENT for an unknown checkpoint or volume; -EBADMSG if the chain is damaged; -ENOMEM. Free with
 * _done(), also after an error. */
int blx_chain_walk(struct blx_agent_store agent, blx_timestamp checkpoint, const char *volume,
                   enum blx_chain_rule rule, struct blx_chain *chain, struct blx_error *err);
void blx_chain_done(struct blx_chain *chain);
