/* SPDX-License-Identifier: Apache-2.0 */
#include "object/history.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

void object_history_done(struct object_history *history)
{
    free(history->entries);
    *history = (struct object_history){0};
}

/* Names that are none of ours are passed over. */
static int take_name(void *arg, const char *name, time_t written)
{
    struct object_history *history = arg;
    struct object_history_entry entry = {.written = written};
    if (blx_copied_parse_name(name, &entry.timestamp, entry.hash) < 0)
        return 0;
    if (blx_array_make_room(history->entries, history->count) < 0)
        return -ENOMEM;
    history->entries[history->count++] = entry;
    return 0;
}

/* Whoever has the credentials can write a second object for a checkpoint, and choose its hash, but
 * not when: the depot's clock says that. */
static int compare(const void *a, const void *b)
{
    const struct object_history_entry *x = a, *y = b;
    if (x->timestamp != y->timestamp)
        return x->timestamp < y->timestamp ? -1 : 1;
    if (x->written != y->written)
        return y->written == 0 || (x->written != 0 && x->written < y->written) ? -1 : 1;
    return memcmp(x->hash, y->hash, sizeof(x->hash));
}

int object_history_list(struct object_depot *depot, const char *agent_id,
                        struct object_history *history, struct blx_error *err)
{
    char folder[BLX_COPIED_KEY_BYTES];
    *history = (struct object_history){0};
    snprintf(folder, sizeof(folder), "agents/%.64s/checkpoints/", agent_id);
    int rc = object_depot_list(depot, folder, take_name, history, err);
    if (rc == 0 && history->count > 0)
        qsort(history->entries, history->count, sizeof(history->entries[0]), compare);
    if (rc < 0)
        object_history_done(history);
    return rc;
}

int object_history_read(struct object_depot *depot, const char *agent_id,
                        const struct object_history_entry *entry, struct blx_copied *copied,
                        struct blx_error *err)
{
    char key[BLX_COPIED_KEY_BYTES];
    void *content = NULL;
    size_t bytes = 0;
    struct blx_error cause = {0};
    blx_copied_checkpoint_key(key, agent_id, entry->timestamp, entry->hash);
    int rc =
        object_depot_read(depot, key, entry->hash, BLX_COPIED_MAX_BYTES, &content, &bytes, err);
    if (rc < 0)
        return rc;
    rc = blx_copied_decode(content, bytes, copied, &cause);
    free(content);
    if (rc < 0)
        return blx_error_set(err, rc, "the checkpoint '%s' cannot be used: %s", key, cause.message);
    if (copied->manifest.timestamp != entry->timestamp) {
        blx_copied_done(copied);
        return blx_error_set(err, -EBADMSG, "'%s' holds another checkpoint", key);
    }
    return 0;
}
