/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target of a restore, and how it is written (restore.h).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "crypt/keyring.h"
#include "store/view/losses.h"
#include "store/view/overlay.h"

enum blx_restore_flag {
    BLX_RESTORE_DELTA = 1,  /* the target has an image, of any state, which is brought up to date */
    BLX_RESTORE_RESUME = 2, /* go on with the file that another run left */
    BLX_RESTORE_FORCE = 4,  /* replace an existing file; write a device that is in use */
    BLX_RESTORE_KEEP = 8,   /* a file that is not complete stays */
    BLX_RESTORE_CONTINUE = 16, /* the target is what another run left, and a journal knows how far
                                  that came */
    BLX_RESTORE_CHECK = 32,    /* the target was restored: it is read and compared, and nothing is
                                  written; -EUCLEAN if it differs */
};

struct blx_restore_target {
    const char *path; /* an image file to be made, or a block device */
    unsigned flags;   /* of enum blx_restore_flag */
    struct blx_losses
        *losses; /* NULL: damage in the store fails the restore. Otherwise the good blocks are
                    written, the rest stays zero and is listed here; begins as an empty list */
    const struct blx_keyring *keys; /* borrowed; for encrypted checkpoints; may be NULL */
    /* What was written over the checkpoint, laid over it (view/overlay.h); borrowed; NULL: nothing.
     * The volume begins at the place in it. */
    struct blx_overlay *overlay;
    uint64_t overlay_place;
    uint64_t *written_bytes; /* NULL, or filled on success: data that went to the target, or with
                                CHECK was found there */
    size_t max_entries;      /* of an index in memory, 150 bytes each; 0: a million */
};
