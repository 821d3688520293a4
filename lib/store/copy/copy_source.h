/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One checkpoint of the store, held so that it can be copied elsewhere. What a copy has already is
 * not copied again: of a volume only the segments that came after it.
 *
 * A prune and a rewrite change which content a segment's number stands for. Two things stay true
 * all the same, and a copy counts on nothing else:
 *
 *     a frame never gets into a segment with a lower number than its own
 *     number N says of each block that nothing above N holds what the copy said when it had all
 *     segments up to N
 *
 * So the segments above N, over the objects of a copy that had all up to N, are the checkpoint. A
 * chain of which nothing lies at N or below began with a full pass after the copy, or has been
 * rewritten from its base on: then it is copied as a whole.
 *
 * Small segments become one object, with their needed frames. So that the list of a copy stays
 * short, the last objects of the list are given up, and what they have is copied again with what is
 * new, as long as that is at least as large: each block is copied again a few times (the logarithm
 * of how much came after it), and a list has a few objects beside the large ones.
 *
 * Threads: a source belongs to one. Waits for the disk, and for a prune that replaces manifests.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "store/copy/copied.h"
#include "store/store.h"

struct blx_copy_source;

/* Holds the checkpoint, as a restore does, and keeps other copies of the agent away. -ENOENT,
 * -EBADMSG if it cannot be read, -EBUSY if a copy of the agent is under way. */
int blx_copy_source_open(struct blx_agent_store agent, blx_timestamp checkpoint,
                         struct blx_copy_source **source, struct blx_error *err);
void blx_copy_source_close(struct blx_copy_source *source);

/* The source's. */
const struct blx_manifest *blx_copy_source_manifest(const struct blx_copy_source *source);

/* What a copy has of a volume: the objects of its newest checkpoint. All segments of this store
 * below `next` are in them. */
struct blx_copy_before {
    const uint32_t *numbers; /* ascending */
    const struct blx_copied_object *objects;
    size_t count;
    uint32_t next;
};

/* How many of these objects, from the first on, go into the new checkpoint's list of this entry of
 * the manifest, and in `from` the number from which on segments are to be copied after them. */
int blx_copy_source_keep(const struct blx_copy_source *source, uint32_t entry,
                         const struct blx_copy_before *before, size_t *keep, uint32_t *from,
                         struct blx_error *err);

/* A file to be copied as a segment of that number. The descriptor is borrowed. */
typedef int blx_copy_visit(void *arg, uint32_t number, int fd, uint64_t bytes,
                           struct blx_error *err);

/*
 * Calls visit() for each file that an entry consists of from segment `from` on, the newest first.
 * It ends at the first that is not 0, which is returned. -EBADMSG if a segment is damaged: the
 * checkpoint cannot be copied. May write VOLUME/copy.tmp, a file of at most 1 GiB that has no name
 * any more when visit() is called.
 */
int blx_copy_source_each(const struct blx_copy_source *source, uint32_t entry, uint32_t from,
                         blx_copy_visit *visit, void *arg, struct blx_error *err);

/*
 * A mark says that a copy has all segments of a volume below `next`, and in which of its
 * checkpoints. It lies in the volume's folder, so that it goes with the volume, and an older
 * state of the data directory has an older mark.
 */
struct blx_copy_mark {
    uint32_t next;
    blx_timestamp timestamp; /* of the copied checkpoint, and its hash */
    uint8_t hash[BLX_COPIED_HASH_BYTES];
};

/* `place` names the copy: any text. 1, or 0 if there is no mark, or a torn one; -errno. */
int blx_copy_mark_read(struct blx_agent_store agent, const char *volume, const char *place,
                       struct blx_copy_mark *mark, struct blx_error *err);
int blx_copy_mark_write(struct blx_agent_store agent, const char *volume, const char *place,
                        const struct blx_copy_mark *mark, struct blx_error *err);
