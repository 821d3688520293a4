/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The check of a sealed segment's digests: the table's checksum, and each digest against its block.
 * A part of segment_check_private.h, which alone uses it, with segment_walk.c.
 *
 * Damage in the table hurts no restore, since only a rescan reads it. If a digest is not that of
 * its block, though both have their checksums, one of the two is not what the agent read: its
 * blocks count as damaged.
 *
 * Threads: as segment_walk_private.h says.
 */
#pragma once

#include "store/segment/segment_walk_private.h"

/* Reads the table and notes whether it has its checksum. -ENOMEM. */
int blx_digest_check_table(struct blx_segment_walk *walk);

/*
 * Compares the digests of a good frame at `offset`, whose data are in the walk. Those of an
 * encrypted frame with the ones inside it; those of a plain one only if the request has the key
 * that they were made with. -ENOMEM.
 */
int blx_digest_check_frame(struct blx_segment_walk *walk, const struct blx_frame *frame,
                           uint64_t offset);
