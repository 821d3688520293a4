/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which checkpoints stay for a volume's sake, whatever the rules of retention say: the newest one
 * of each volume, since it may be all that is left of a disk. That holds for the BLX_NEWEST_VOLUMES
 * names that have been known longest, so that an agent which invents names keeps no checkpoint by
 * that, and takes no real disk's place. The agent's newest checkpoint always stays: the next one
 * builds upon it.
 *
 * A carried volume (STORE.md) does not count: nobody restores it from there.
 *
 * Threads: no shared state. Private to lib/store.
 */
#pragma once

#include <stddef.h>

#include "store/checkpoint/manifest.h"

/* As many as a checkpoint can have. */
enum { BLX_NEWEST_VOLUMES = BLX_MAX_VOLUMES };

struct blx_newest_volume {
    char name[BLX_NAME_BYTES];
    size_t newest; /* places of checkpoints that have it */
    size_t oldest;
};

struct blx_newest {
    struct blx_newest_volume *volumes; /* owned */
    size_t count;
};

void blx_newest_done(struct blx_newest *newest);

/* Looks at the checkpoint at place `at`. They come from the newest, which has the highest place, to
 * the oldest. -ENOMEM. */
int blx_newest_note(struct blx_newest *newest, size_t at, const struct blx_manifest *manifest);

/* Calls visit() with the place of each that stays, some of them several times. `count` is how many
 * checkpoints there are. */
void blx_newest_each(struct blx_newest *newest, size_t count, void (*visit)(void *arg, size_t at),
                     void *arg);
