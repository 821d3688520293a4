/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second copy of a GPT belongs into a disk's last sectors. An image that was restored to a
 * larger disk has it where the old disk ended: programs complain, some boot loaders and firmwares
 * do not find it, and no partition can grow into the new room. This moves it.
 *
 * The first copy decides. It is checked as UEFI wants it (both checksums, its own place, partitions
 * within bounds), so that a table which is not understood is left alone. The disk comes from a
 * server that may have been broken into: what the table says is bounded before it is used.
 *
 * Durability: the new second copy is durable before the first copy names it, and the old one is
 * cleared after that. So a crash at any step leaves a disk whose first copy is whole and names a
 * second copy that is whole, and another run goes on.
 *
 * Threads: no shared state. Blocks on the disk.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"

enum blx_gpt_outcome {
    BLX_GPT_NONE = 0, /* the disk has no GPT, and was not written */
    BLX_GPT_IN_PLACE, /* the second copy is where it belongs; not written */
    BLX_GPT_MOVED,
};

struct blx_gpt_move {
    enum blx_gpt_outcome outcome;
    uint64_t gained_bytes; /* the room that partitions may use now and could not before */
};

/*
 * Moves the second copy of the GPT on `path`, a block device that nobody uses or an image, to its
 * end. `move` is written on success.
 *
 * -EBUSY if the device is in use. -EBADMSG if there is a table that is damaged or whose partitions
 * contradict it, and -ENOSPC if it describes a disk larger than this one, or if the second copy
 * would lie on a partition: nothing is written then. Otherwise an error of the disk.
 */
int blx_gpt_move(const char *path, struct blx_gpt_move *move, struct blx_error *err);
