/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists or packs what was asked for, as records. Everything is looked up before the first record,
 * so a name that does not exist leaves nothing half done. A file that cannot be read further down
 * is a problem that is told, and the others come all the same.
 *
 * A copy stays on the filesystem that it began on, and notes what was mounted below.
 *
 * Threads: one.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "files/places.h"
#include "files/records.h"

enum files_task {
    FILES_LIST,       /* a folder's content, others themselves */
    FILES_COPY,       /* each by its own name alone, as cp does */
    FILES_COPY_PATHS, /* each by its path, as tar does */
    FILES_COMPARE,    /* compare.h does that, and no walk */
};

/* Ends with END, or with an error that no record tells. */
int files_walk(struct files_places *places, enum files_task task, char *const *paths,
               size_t path_count, struct files_sender *sender, struct blx_error *err);
