/* SPDX-License-Identifier: Apache-2.0 */
#include "store/prune/newest_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

void blx_newest_done(struct blx_newest *newest)
{
    free(newest->volumes);
    *newest = (struct blx_newest){0};
}

static struct blx_newest_volume *find(struct blx_newest *newest, const char *name)
{
    for (size_t i = 0; i < newest->count; i++)
        if (strcmp(newest->volumes[i].name, name) == 0)
            return &newest->volumes[i];
    return NULL;
}

int blx_newest_note(struct blx_newest *newest, size_t at, const struct blx_manifest *manifest)
{
    for (uint32_t v = 0; v < manifest->volume_count; v++) {
        struct blx_newest_volume *volume = find(newest, manifest->volumes[v].name);
        if (volume == NULL) {
            if (blx_array_make_room(newest->volumes, newest->count) < 0)
                return -ENOMEM;
            volume = &newest->volumes[newest->count++];
            volume->newest = at;
            memcpy(volume->name, manifest->volumes[v].name, sizeof(volume->name));
        }
        volume->oldest = at;
    }
    return 0;
}

/* Names that came together are in the order of their names: nothing tells which is older. */
static int compare_ages(const void *a, const void *b)
{
    const struct blx_newest_volume *x = a, *y = b;
    if (x->oldest != y->oldest)
        return x->oldest < y->oldest ? -1 : 1;
    return strcmp(x->name, y->name);
}

void blx_newest_each(struct blx_newest *newest, size_t count, void (*visit)(void *arg, size_t at),
                     void *arg)
{
    if (newest->count > 1)
        qsort(newest->volumes, newest->count, sizeof(newest->volumes[0]), compare_ages);
    for (size_t i = 0; i < newest->count && i < BLX_NEWEST_VOLUMES; i++)
        visit(arg, newest->volumes[i].newest);
    if (count > 0)
        visit(arg, count - 1);
}
