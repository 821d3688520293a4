/* SPDX-License-Identifier: Apache-2.0 */
#include "store/copy/adoption.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "store/checkpoint/manifest_file.h"
#include "store/copy/copy_source.h"
#include "store/copy/segment_number_private.h"
#include "store/directory_private.h"
#include "store/own_id.h"
#include "store/receive/volume_file_private.h"
#include "store/segment/segment.h"

static const char shifted_name[] = "adopt.tmp";

/* An object and its two numbers. */
struct adopted {
    const struct blx_copied_object *object; /* of a checkpoint of the adoption */
    uint32_t number;                        /* in the copy */
    uint32_t given;                         /* here */
};

struct adopted_volume {
    char name[BLX_NAME_BYTES];
    struct adopted *objects; /* owned; in the order of the numbers, each once after number_all() */
    size_t count;
    uint32_t next; /* the newest next_segment so far */
};

struct adopted_checkpoint {
    struct blx_copied copied; /* owned */
    uint8_t hash[BLX_COPIED_HASH_BYTES];
};

struct blx_adoption {
    enum blx_adoption_how how;
    const struct blx_store *into;
    struct blx_store store; /* where it is built */
    char id[BLX_NAME_BYTES];
    struct adopted_checkpoint *checkpoints; /* owned; ascending */
    size_t count;
    struct adopted_volume *volumes; /* owned */
    size_t volume_count;
    bool is_numbered;
};

static struct blx_agent_store built(const struct blx_adoption *adoption)
{
    return blx_store_agent(&adoption->store, adoption->id);
}

void blx_adoption_close(struct blx_adoption *adoption)
{
    if (adoption == NULL)
        return;
    for (size_t i = 0; i < adoption->count; i++)
        blx_copied_done(&adoption->checkpoints[i].copied);
    for (size_t i = 0; i < adoption->volume_count; i++)
        free(adoption->volumes[i].objects);
    free(adoption->checkpoints);
    free(adoption->volumes);
    blx_store_close(&adoption->store);
    free(adoption);
}

static int no_memory(const struct blx_adoption *adoption, struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot adopt the agent '%s'", adoption->id);
}

/* Under whatever name: copies go by the ID, and two agents with one would be one for their server
 * and for the next copy. One that was enrolled has an empty folder. */
static int check_absent(const struct blx_adoption *adoption, struct blx_error *err)
{
    char name[BLX_NAME_BYTES];
    int rc = blx_own_id_find(adoption->into, adoption->id, name, err);
    if (rc < 0)
        return rc;
    struct blx_agent_store agent = blx_store_agent(adoption->into, name);
    bool renamed = strcmp(name, adoption->id) != 0;
    if (!renamed && (!blx_agent_store_exists(agent) || blx_agent_store_look_enrolled(agent) != 0))
        return 0;
    return blx_error_set(err, -EEXIST,
                         "the store '%s' has the agent '%s' already%s%s: adopt it into another "
                         "one, or remove it first: blxrep dispatcher remove --agent=%s",
                         adoption->into->data_dir, adoption->id, renamed ? ", as " : "",
                         renamed ? name : "", name);
}

static int open_built(struct blx_adoption *adoption, struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_path_format(dir, sizeof(dir), err, "%s/adopting", adoption->into->data_dir);
    if (rc == 0)
        rc = blx_store_open(dir, BLX_STORE_INIT, &adoption->store, err);
    if (rc == 0)
        rc = blx_manifest_dir(built(adoption), dir, err);
    struct stat st; /* an earlier adoption may have been of other checkpoints */
    if (rc == 0 && stat(dir, &st) == 0)
        rc = blx_directory_remove(dir, err);
    return rc == 0 ? blx_mkdir_parents(dir, 0700, err) : rc;
}

int blx_adoption_open(const struct blx_store *store, const char *agent_id,
                      enum blx_adoption_how how, struct blx_adoption **adoption,
                      struct blx_error *err)
{
    int rc = blx_name_check("agent ID", agent_id, err);
    struct blx_adoption *made = rc == 0 ? calloc(1, sizeof(*made)) : NULL;
    if (made == NULL)
        return rc < 0 ? rc : blx_error_errno(err, -ENOMEM, "cannot adopt an agent");
    made->how = how;
    made->into = store;
    made->store.lock_fd = made->store.folder_fd = -1;
    memcpy(made->id, agent_id, strlen(agent_id) + 1);
    rc = check_absent(made, err);
    if (rc == 0)
        rc = open_built(made, err);
    if (rc < 0) {
        blx_adoption_close(made);
        return rc;
    }
    *adoption = made;
    return 0;
}

int blx_adoption_add(struct blx_adoption *adoption, struct blx_copied *copied,
                     const uint8_t hash[BLX_COPIED_HASH_BYTES], struct blx_error *err)
{
    if (adoption->count > 0 &&
        adoption->checkpoints[adoption->count - 1].copied.manifest.timestamp >=
            copied->manifest.timestamp)
        return blx_error_set(err, -EINVAL, "the checkpoints to adopt are not in order");
    if (blx_array_make_room(adoption->checkpoints, adoption->count) < 0)
        return no_memory(adoption, err);
    struct adopted_checkpoint *added = &adoption->checkpoints[adoption->count++];
    added->copied = *copied;
    memcpy(added->hash, hash, sizeof(added->hash));
    *copied = (struct blx_copied){0};
    return 0;
}

static struct adopted_volume *find_volume(struct blx_adoption *adoption, const char *name)
{
    for (size_t i = 0; i < adoption->volume_count; i++) {
        if (strcmp(adoption->volumes[i].name, name) == 0)
            return &adoption->volumes[i];
    }
    if (blx_array_make_room(adoption->volumes, adoption->volume_count) < 0)
        return NULL;
    struct adopted_volume *volume = &adoption->volumes[adoption->volume_count++];
    *volume = (struct adopted_volume){0};
    memcpy(volume->name, name, strlen(name) + 1);
    return volume;
}

static int compare_adopted(const void *a, const void *b)
{
    const struct adopted *x = a, *y = b;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return memcmp(x->object->hash, y->object->hash, BLX_COPIED_HASH_BYTES);
}

static int note_objects(struct blx_adoption *adoption, const struct blx_copied *copied)
{
    for (uint32_t i = 0; i < blx_manifest_count_entries(&copied->manifest); i++) {
        const struct blx_manifest_volume *entry = &copied->manifest.volumes[i];
        const struct blx_copied_object *objects = blx_copied_of(copied, entry);
        struct adopted_volume *volume = find_volume(adoption, entry->name);
        if (volume == NULL)
            return -ENOMEM;
        for (uint32_t s = 0; s < entry->segment_count; s++) {
            if (blx_array_make_room(volume->objects, volume->count) < 0)
                return -ENOMEM;
            volume->objects[volume->count++] =
                (struct adopted){.object = &objects[s], .number = entry->segments[s]};
        }
    }
    return 0;
}

/* Each object once, with ascending numbers. */
static int number_volume(struct adopted_volume *volume, struct blx_error *err)
{
    size_t kept = 0;
    uint32_t last = 0;
    if (volume->count > 0)
        qsort(volume->objects, volume->count, sizeof(volume->objects[0]), compare_adopted);
    for (size_t i = 0; i < volume->count; i++) {
        if (kept > 0 && compare_adopted(&volume->objects[kept - 1], &volume->objects[i]) == 0)
            continue;
        struct adopted *object = &volume->objects[kept];
        *object = volume->objects[i];
        if (last >= UINT32_MAX - 1)
            return blx_error_set(err, -EBADMSG, "the volume '%s' has too many segments",
                                 volume->name);
        object->given = object->number > last ? object->number : last + 1;
        last = object->given;
        kept++;
    }
    volume->count = kept;
    return 0;
}

/* After the last checkpoint was added: the objects point into them. */
static int number_all(struct blx_adoption *adoption, struct blx_error *err)
{
    if (adoption->is_numbered)
        return 0;
    for (size_t i = 0; i < adoption->count; i++) {
        if (note_objects(adoption, &adoption->checkpoints[i].copied) < 0)
            return no_memory(adoption, err);
    }
    for (size_t i = 0; i < adoption->volume_count; i++) {
        int rc = number_volume(&adoption->volumes[i], err);
        if (rc < 0)
            return rc;
    }
    adoption->is_numbered = true;
    return 0;
}

void blx_adoption_count(const struct blx_adoption *adoption, uint64_t *objects, uint64_t *bytes)
{
    *objects = *bytes = 0;
    for (size_t i = 0; i < adoption->volume_count; i++) {
        *objects += adoption->volumes[i].count;
        for (size_t k = 0; k < adoption->volumes[i].count; k++)
            *bytes += adoption->volumes[i].objects[k].object->bytes;
    }
}

static int rename_shifted(const char *from, const char *to, struct blx_error *err)
{
    return blx_sys->rename(from, to) != 0
               ? blx_error_errno(err, -errno, "cannot rename '%s' to '%s'", from, to)
               : 0;
}

/* An object that keeps its number comes into its place by itself; another one gets its number
 * first. */
static int fill_one(const struct adopted *object, const char *volume, const char *dir,
                    blx_adoption_fetch *fetch, void *arg, struct blx_error *err)
{
    char path[PATH_MAX], shifted[PATH_MAX];
    int rc = blx_segment_path(dir, object->given, path, err);
    if (rc == 0 && object->given == object->number)
        return fetch(arg, volume, object->number, object->object, path, err);
    if (rc == 0)
        rc = blx_path_format(shifted, sizeof(shifted), err, "%s/%s", dir, shifted_name);
    if (rc == 0)
        rc = fetch(arg, volume, object->number, object->object, shifted, err);
    if (rc == 0)
        rc = blx_segment_set_number(shifted, object->number, object->given, err);
    return rc == 0 ? rename_shifted(shifted, path, err) : rc;
}

int blx_adoption_fill(struct blx_adoption *adoption, blx_adoption_fetch *fetch, void *arg,
                      struct blx_error *err)
{
    int rc = number_all(adoption, err);
    for (size_t i = 0; rc == 0 && i < adoption->volume_count; i++) {
        const struct adopted_volume *volume = &adoption->volumes[i];
        char dir[PATH_MAX];
        rc = blx_agent_store_volume_path(built(adoption), volume->name, dir, err);
        if (rc == 0)
            rc = blx_mkdir_parents(dir, 0700, err);
        for (size_t k = 0; rc == 0 && k < volume->count; k++)
            rc = fill_one(&volume->objects[k], volume->name, dir, fetch, arg, err);
        if (rc == 0 && adoption->how == BLX_ADOPTION_KEPT)
            rc = blx_fsync_dir(dir, err);
    }
    return rc;
}

static uint32_t number_given(const struct adopted_volume *volume, uint32_t number,
                             const struct blx_copied_object *object)
{
    const struct adopted wanted = {.object = object, .number = number};
    const struct adopted *found = bsearch(&wanted, volume->objects, volume->count,
                                          sizeof(volume->objects[0]), compare_adopted);
    return found->given;
}

/* Whether the entry goes on with the other one's list, and nothing forbids an increment. */
static bool extends(const struct blx_manifest_volume *entry,
                    const struct blx_manifest_volume *before)
{
    return before != NULL && before->segment_count <= entry->segment_count &&
           before->size_bytes <= entry->size_bytes && before->block_shift == entry->block_shift &&
           memcmp(&before->key_id, &entry->key_id, sizeof(entry->key_id)) == 0 &&
           memcmp(before->segments, entry->segments,
                  before->segment_count * sizeof(entry->segments[0])) == 0;
}

/* The numbers of this store in place of the copy's. */
static int renumber(struct blx_adoption *adoption, size_t at, struct blx_error *err)
{
    struct blx_copied *copied = &adoption->checkpoints[at].copied;
    for (uint32_t i = 0; i < blx_manifest_count_entries(&copied->manifest); i++) {
        struct blx_manifest_volume *entry = &copied->manifest.volumes[i];
        const struct blx_copied_object *objects = blx_copied_of(copied, entry);
        struct adopted_volume *volume = find_volume(adoption, entry->name);
        if (volume == NULL)
            return no_memory(adoption, err);
        entry->stored_bytes = 0;
        for (uint32_t s = 0; s < entry->segment_count; s++)
            entry->segments[s] = number_given(volume, entry->segments[s], &objects[s]);
        if (volume->next < entry->next_segment)
            volume->next = entry->next_segment;
        if (entry->segment_count > 0 && volume->next <= entry->segments[entry->segment_count - 1])
            volume->next = entry->segments[entry->segment_count - 1] + 1;
        entry->next_segment = volume->next;
    }
    return 0;
}

/* Writes one manifest: `copy` has the entries, which lose what the checkpoint before has. */
static int write_manifest(const struct blx_adoption *adoption, size_t at, struct blx_error *err)
{
    const struct blx_copied *copied = &adoption->checkpoints[at].copied;
    const struct blx_manifest *before =
        at > 0 ? &adoption->checkpoints[at - 1].copied.manifest : NULL;
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    int rc = blx_manifest_copy(&copied->manifest, &manifest, err);
    if (rc < 0)
        return rc;
    manifest.parent = before != NULL ? before->timestamp : 0;
    for (uint32_t i = 0; i < blx_manifest_count_entries(&manifest); i++) {
        struct blx_manifest_volume *entry = &manifest.volumes[i];
        const struct blx_manifest_volume *last =
            before != NULL ? blx_manifest_find(before, entry->name) : NULL;
        bool is_base = !extends(entry, last);
        uint32_t first = is_base ? 0 : last->segment_count;
        const struct blx_copied_object *objects =
            blx_copied_of(copied, &copied->manifest.volumes[i]);
        for (uint32_t s = first; s < entry->segment_count; s++)
            entry->stored_bytes += objects[s].bytes;
        entry->base = is_base;
        entry->clearing = false;
        memmove(entry->segments, entry->segments + first,
                (entry->segment_count - first) * sizeof(entry->segments[0]));
        entry->segment_count -= first;
    }
    return blx_manifest_replace(built(adoption), &manifest, err);
}

/* The state file of a volume of which nothing is uncommitted, and whose agent has to compare. */
static int write_state(const char *dir, const struct blx_manifest_volume *entry,
                       struct blx_error *err)
{
    struct blx_volume_file file = {.size_bytes = entry->size_bytes,
                                   .block_shift = entry->block_shift};
    memcpy(file.device, entry->device, sizeof(file.device));
    memcpy(file.identity, entry->identity, sizeof(file.identity));
    return blx_volume_file_write(dir, &file, err);
}

/* Its state, and the mark that the copy has all its segments up to its newest checkpoint. */
static int settle_volume(const struct blx_adoption *adoption, const struct adopted_volume *volume,
                         const char *place, struct blx_error *err)
{
    const struct blx_manifest_volume *entry = NULL;
    char dir[PATH_MAX];
    size_t at = adoption->count;
    while (at > 0 && entry == NULL)
        entry = blx_manifest_find(&adoption->checkpoints[--at].copied.manifest, volume->name);
    int rc = blx_agent_store_volume_path(built(adoption), volume->name, dir, err);
    if (rc == 0)
        rc = blx_mkdir_parents(dir, 0700, err);
    if (rc == 0)
        rc = write_state(dir, entry, err);
    if (rc < 0 || place == NULL)
        return rc;
    struct blx_copy_mark mark = {.next = entry->next_segment,
                                 .timestamp = adoption->checkpoints[at].copied.manifest.timestamp};
    memcpy(mark.hash, adoption->checkpoints[at].hash, sizeof(mark.hash));
    return blx_copy_mark_write(built(adoption), volume->name, place, &mark, err);
}

/* Numbers of this store that no later segment may have. */
static void raise_next(struct blx_adoption *adoption)
{
    for (size_t i = 0; i < adoption->volume_count; i++) {
        const struct adopted_volume *volume = &adoption->volumes[i];
        for (size_t k = adoption->count; k > 0 && volume->count > 0; k--) {
            struct blx_manifest *manifest = &adoption->checkpoints[k - 1].copied.manifest;
            const struct blx_manifest_volume *found = blx_manifest_find(manifest, volume->name);
            if (found == NULL)
                continue;
            struct blx_manifest_volume *entry = &manifest->volumes[found - manifest->volumes];
            uint32_t above = volume->objects[volume->count - 1].given + 1;
            if (entry->next_segment < above)
                entry->next_segment = above;
            break;
        }
    }
}

/* The names of its folders. */
static int flush_folders(const struct blx_adoption *adoption, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_agent_store_volume_path(built(adoption), NULL, path, err);
    if (rc == 0)
        rc = blx_mkdir_parents(path, 0700, err);
    if (rc == 0)
        rc = blx_fsync_dir(path, err);
    if (rc == 0)
        rc = blx_fsync_parent(path, err);
    return rc == 0 ? blx_fsync_dir(adoption->into->data_dir, err) : rc;
}

static int put_in_place(const struct blx_adoption *adoption, struct blx_error *err)
{
    char from[PATH_MAX], to[PATH_MAX], agents[PATH_MAX];
    int rc = blx_agent_store_path(built(adoption), from, err);
    if (rc == 0)
        rc = blx_agent_store_path(blx_store_agent(adoption->into, adoption->id), to, err);
    if (rc == 0)
        rc = blx_path_format(agents, sizeof(agents), err, "%s/agents", adoption->into->data_dir);
    if (rc == 0)
        rc = blx_mkdir_parents(agents, 0700, err);
    if (rc == 0 && adoption->how == BLX_ADOPTION_KEPT)
        rc = flush_folders(adoption, err);
    if (rc < 0)
        return rc;
    if (blx_sys->rename(from, to) != 0)
        return blx_error_errno(err, -errno, "cannot rename '%s' to '%s'", from, to);
    return adoption->how == BLX_ADOPTION_KEPT ? blx_fsync_parent(to, err) : 0;
}

int blx_adoption_finish(struct blx_adoption *adoption, const char *place, struct blx_error *err)
{
    int rc = number_all(adoption, err);
    for (size_t i = 0; rc == 0 && i < adoption->count; i++)
        rc = renumber(adoption, i, err);
    if (rc == 0)
        raise_next(adoption);
    for (size_t i = 0; rc == 0 && i < adoption->count; i++)
        rc = write_manifest(adoption, i, err);
    for (size_t i = 0; rc == 0 && i < adoption->volume_count; i++)
        rc = settle_volume(adoption, &adoption->volumes[i], place, err);
    return rc == 0 ? put_in_place(adoption, err) : rc;
}
