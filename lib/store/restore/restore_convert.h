/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint as an image that is not raw: qemu-img writes it, and reads the disk from nbdkit with
 * our plugin, over a pair of connected sockets that nobody else can reach.
 *
 *     store ──► nbdkit with nbd/plugin.c ──pair of sockets──► qemu-img ──► PATH.partial ──► PATH
 *                  ▲ keys, by descriptors                        │ progress, errors
 *                  └──────────────── this process ◄──────────────┘
 *
 * qemu-img asks in the order of the disk. The plugin reads a stretch at a time in the plan's order
 * (view/sweep.h), so a chain of many scattered increments is unpacked several times on the way, but
 * not for each block. Raw images are written in the plan's order as a whole, restore.h.
 *
 * Whoever dies takes the others along: qemu-img is killed with this process, and nbdkit ends with
 * its connection.
 *
 * Threads: one. Blocks until done.
 */
#pragma once

#include "base/error.h"
#include "store/restore/image_format.h"
#include "store/restore/restore.h"

struct blx_restore_conversion {
    enum blx_image_format format; /* not BLX_IMAGE_RAW */
    const char *plugin;           /* nbdkit's: a path */
    uint64_t total_bytes;         /* that are to be read, for the progress */
};

/*
 * Writes the volume to target->path, as blx_restore() does with a fresh file: under the name
 * PATH.partial, which a failure removes and another run replaces, durable, and named at the end. Of
 * the flags only BLX_RESTORE_FORCE is allowed, and replaces a file: -EINVAL for the others and for
 * a device. `losses` must be NULL: damage fails the conversion.
 *
 * -ENOENT if nbdkit, the plugin or qemu-img is missing, with the package's name; -EFBIG as
 * blx_image_format_check_size() says; -EIO if one of them fails, with the first that was said.
 */
int blx_restore_convert(struct blx_agent_store agent, blx_timestamp checkpoint, const char *volume,
                        const struct blx_restore_target *target,
                        const struct blx_restore_conversion *conversion,
                        const struct blx_restore_progress *progress, struct blx_error *err);
