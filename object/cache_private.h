/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the cache and its server share. Private to object/.
 *
 * Threads: as cache.h says.
 */
#pragma once

#include "object/cache.h"

struct object_cache_piece {
    char key[BLX_COPIED_KEY_BYTES];
    char path[BLX_COPIED_KEY_BYTES]; /* below the data directory, of a part; "": it is whole */
    struct blx_copied_object object;
    bool is_done; /* its tail was looked for */
};

/* Makes `path` the whole object. */
int object_cache_place(struct object_cache *cache, const char *key,
                       const struct blx_copied_object *object, const char *path,
                       struct blx_error *err);
