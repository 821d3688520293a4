/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an object store really keeps. Stores differ from what they accept: some take a lock and
 * delete all the same, some let a key be written twice. So each promise is tried on canaries, small
 * objects below "canary/", and what could not be tried is not claimed.
 *
 * A canary with a lock stays until its lock ends; the next examination removes it.
 *
 * Threads: one. Waits for the network.
 */
#pragma once

#include <stdbool.h>

#include "object/bucket.h"

enum object_result { OBJECT_KEPT, OBJECT_DOUBTFUL, OBJECT_NOT_KEPT };

enum { OBJECT_FINDINGS = 16, OBJECT_FINDING_BYTES = 512 };

struct object_finding {
    enum object_result result;
    const char *promise; /* "lock" */
    char text[OBJECT_FINDING_BYTES];
};

struct object_examination {
    struct object_finding findings[OBJECT_FINDINGS];
    size_t count;
    bool usable; /* copies can be made and read */
    bool locked; /* what is copied cannot be deleted before its time, as far as it was tried */
};

/* What was found is told by the findings, also that the store cannot be reached. */
void object_examine(struct object_bucket *bucket, const struct blx_config_object_store *config,
                    struct object_examination *examination);
