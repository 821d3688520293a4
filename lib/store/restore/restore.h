/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint back into an image. The chain is walked from newest to oldest into one index. Then
 * every frame with a needed block is read once, in the order of the frames' first blocks, and every
 * block is written once. Blocks that no frame holds, and zero extents, stay holes. Every checksum
 * is checked on the way (I12). Memory: 256 MiB for a volume of any size: if the index is larger
 * than its share the volume is restored window by window.
 *
 * Threads: the calling thread plans and reports; workers of the call's own (two a CPU, 4 to 16)
 * read, decompress and write. Blocks until done. Works while the dispatcher runs: it reads
 * committed, immutable files only.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "store/checkpoint/manifest.h"
#include "store/restore/image_format.h"
#include "store/restore/restore_target.h"
#include "store/store.h"

/* Called a few times a second from the thread that restores. */
struct blx_restore_progress {
    void (*report)(void *arg, uint64_t done_bytes, uint64_t total_bytes);
    void *arg;
};

/*
 * Writes the volume `volume` (a name in the manifest) of the checkpoint to the target. A file comes
 * into being as PATH.partial, is fsynced, and gets its name at the end by a rename that never
 * replaces (-EEXIST) unless it is forced; on failure the partial file is removed, and one that a
 * killed restore left is replaced (-EBUSY if its writer lives). A block device is opened O_EXCL
 * (-EBUSY if it is mounted or otherwise in use, unless it is forced), and must be at least as large
 * as the volume (-ENOSPC, even if forced). Holes are zeroed on it (BLKZEROOUT). `progress` may be
 * NULL.
 *
 * With BLX_RESTORE_RESUME the partial file of a run that did not end is kept and compared, block by
 * block, with the checkpoint; blocks that differ are written. So nothing needs to be known about
 * that run, not even which checkpoint it wrote. After a failure the file stays, for the next
 * --resume. A device is -EINVAL.
 *
 * With BLX_RESTORE_DELTA the target's own content is compared likewise: a device's, or an image's,
 * which need not be of any known checkpoint. An image bears the name PATH.partial meanwhile, also
 * after a failure or a crash in the middle; another run with DELTA finds it there and goes on. If
 * there is none the file is made.
 *
 * -ENOKEY, before anything is written, with the key's ID, if target->keys lacks the volume's key,
 * or has keys though the volume is not encrypted. Frames that do not decrypt are damage.
 *
 * Damage in the store is -EBADMSG and names the file and the place, unless target->losses is there
 * to take it: then the return is 0, and the image is right except where the list says otherwise. A
 * segment whose index is damaged is read by its frames; if some may be missing, the image may have
 * older content and a remark says so. A chain that ends in a damaged manifest gives the checkpoints
 * above it. The checkpoint's own manifest must be good in any case.
 */
int blx_restore(struct blx_agent_store agent, blx_timestamp checkpoint, const char *volume,
                const struct blx_restore_target *target,
                const struct blx_restore_progress *progress, struct blx_error *err);

/*
 * The path of a volume's image in `folder`: ID-TIMESTAMP.img, or ID-TIMESTAMP-VOLUME.img if the
 * manifest has several volumes. The name ends as the format's images do.
 */
int blx_restore_image_path(const char *folder, const char *agent_id,
                           const struct blx_manifest *manifest, const char *volume,
                           enum blx_image_format format, char path[PATH_MAX],
                           struct blx_error *err);

/* The same in DIR/restore, for a restore without --output. Makes that folder. */
int blx_restore_default_path(struct blx_agent_store agent, const struct blx_manifest *manifest,
                             const char *volume, enum blx_image_format format, char path[PATH_MAX],
                             struct blx_error *err);
