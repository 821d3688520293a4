/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The space that a volume of a checkpoint takes: how much a restore would read and write, and how
 * much would come free if the checkpoint were removed. Reads the indexes of its chain, no frame.
 *
 * Threads: no shared state. Waits for the disk. Memory: that of a restore's plan.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/checkpoint/manifest.h"
#include "store/store.h"

struct blx_info {
    uint64_t used_bytes;  /* of the volume: data, not zeros; without unreadable blocks */
    size_t chain_length;  /* checkpoints that a restore of the volume reads, this one included */
    uint64_t disk_bytes;  /* that the checkpoint's own segments take */
    bool removable;       /* it is not the newest one of the volume */
    uint64_t frees_bytes; /* of frames, if it were removed now and nothing else; 0: not removable */
};

/*
 * `manifest` is the checkpoint's, `volume` one of its volumes. -EBADMSG if the chain or the
 * successor is damaged; -ENOENT if it was removed meanwhile.
 */
int blx_info_read(struct blx_agent_store agent, const struct blx_manifest *manifest,
                  const struct blx_manifest_volume *volume, struct blx_info *info,
                  struct blx_error *err);
