/* SPDX-License-Identifier: Apache-2.0 */
#include "store/verify/verify_agent_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "store/checkpoint/manifest_file.h"
#include "store/damage_private.h"
#include "store/digest_key.h"
#include "store/directory_private.h"
#include "store/receive/volume_file_private.h"
#include "store/segment/segment.h"
#include "store/verify/verify_report_private.h"

void blx_verify_agent_done(struct blx_verify_agent *agent)
{
    for (size_t i = 0; i < agent->checkpoint_count; i++)
        blx_manifest_done(&agent->checkpoints[i].manifest);
    for (size_t i = 0; i < agent->volume_count; i++) {
        for (size_t j = 0; j < agent->volumes[i].segment_count; j++)
            blx_segment_findings_done(&agent->volumes[i].segments[j].findings);
        free(agent->volumes[i].segments);
        free(agent->volumes[i].links);
        blx_volume_key_wipe(&agent->volumes[i].digest_key);
    }
    free(agent->checkpoints);
    free(agent->volumes);
    *agent = (struct blx_verify_agent){0};
}

static int no_memory(const char *id, struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot verify the agent '%s'", id);
}

static int add_damage(struct blx_verify_report *report, const struct blx_verify_agent *agent,
                      const char *volume, const char *path, const char *cause,
                      struct blx_error *err)
{
    struct stat st;
    struct blx_damage *damage = blx_verify_report_add(report, agent->store, volume, path);
    if (damage == NULL)
        return no_memory(agent->store.id, err);
    damage->bytes = lstat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
    damage->scope = volume[0] == '\0' ? BLX_DAMAGE_COMMITTED : BLX_DAMAGE_STATE;
    blx_text_set(damage->cause, cause);
    return 0;
}

static void count_file(struct blx_verify_report *report, const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0)
        report->checked_bytes += (uint64_t)st.st_size;
}

/* The message without the path and all before it: the report has the path already. */
static const char *after_path(const char *message, const char *path)
{
    const char *at = strstr(message, path);
    if (at == NULL)
        return message;
    at += strlen(path);
    return strncmp(at, "': ", 3) == 0 ? at + 3 : message;
}

static int read_checkpoint(struct blx_verify_agent *agent, blx_timestamp timestamp,
                           struct blx_verify_report *report, struct blx_error *err)
{
    struct blx_verify_checkpoint *checkpoint = &agent->checkpoints[agent->checkpoint_count];
    struct blx_error cause = {0};
    char dir[PATH_MAX], path[PATH_MAX], text[BLX_TIMESTAMP_TEXT_BYTES];
    blx_timestamp_format(timestamp, text);
    int rc = blx_manifest_dir(agent->store, dir, err);
    if (rc == 0)
        rc = blx_path_format(path, sizeof(path), err, "%s/%s", dir, text);
    if (rc < 0)
        return rc;
    *checkpoint = (struct blx_verify_checkpoint){.timestamp = timestamp};
    rc = blx_manifest_read(agent->store, timestamp, &checkpoint->manifest, &cause);
    if (rc == -ENOENT) /* it was deleted after it was listed */
        return 0;
    agent->checkpoint_count++;
    report->checkpoints++;
    count_file(report, path);
    if (rc == 0)
        return 0;
    if (!blx_is_damage(rc))
        return blx_error_copy(err, rc, &cause);
    checkpoint->damaged = true;
    checkpoint->damage = report->damage_count;
    return add_damage(report, agent, "", path, after_path(cause.message, path), err);
}

static void note_parents(struct blx_verify_agent *agent)
{
    blx_timestamp least = UINT64_MAX;
    for (size_t i = agent->checkpoint_count; i-- > 0;) {
        struct blx_verify_checkpoint *checkpoint = &agent->checkpoints[i];
        checkpoint->least_parent_after = least;
        if (!checkpoint->damaged && checkpoint->manifest.parent < least)
            least = checkpoint->manifest.parent;
    }
}

static int read_checkpoints(struct blx_verify_agent *agent, struct blx_verify_report *report,
                            struct blx_error *err)
{
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    size_t count;
    int rc = blx_manifest_list(agent->store, 0, UINT64_MAX, &all, &count, err);
    if (rc < 0)
        return rc;
    agent->checkpoints = calloc(count + 1, sizeof(agent->checkpoints[0]));
    if (agent->checkpoints == NULL)
        return no_memory(agent->store.id, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = read_checkpoint(agent, all[i], report, err);
    note_parents(agent);
    return rc;
}

static int add_volume(struct blx_verify_agent *agent, const char *name, struct blx_error *err)
{
    if (blx_array_make_room(agent->volumes, agent->volume_count) < 0)
        return no_memory(agent->store.id, err);
    struct blx_verify_volume *volume = &agent->volumes[agent->volume_count++];
    *volume = (struct blx_verify_volume){0};
    memcpy(volume->name, name, strlen(name) + 1);
    return blx_agent_store_volume_path(agent->store, name, volume->dir, err);
}

static int visit_volume(void *arg, const char *name, struct blx_error *err)
{
    const struct blx_verify_agent *agent = arg;
    char path[PATH_MAX];
    struct stat st;
    if (blx_agent_store_volume_path(agent->store, name, path, NULL) < 0 || stat(path, &st) != 0 ||
        !S_ISDIR(st.st_mode))
        return 0;
    return add_volume(arg, name, err);
}

static int compare_volumes(const void *a, const void *b)
{
    const struct blx_verify_volume *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static int compare_name(const void *key, const void *element)
{
    const struct blx_verify_volume *volume = element;
    return strcmp(key, volume->name);
}

static struct blx_verify_volume *find_volume(const struct blx_verify_agent *agent, size_t count,
                                             const char *name)
{
    return count == 0
               ? NULL
               : bsearch(name, agent->volumes, count, sizeof(agent->volumes[0]), compare_name);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names of all entries of all manifests, sorted; to be freed. */
static int list_names(const struct blx_verify_agent *agent, const char ***names, size_t *count,
                      struct blx_error *err)
{
    size_t total = 0;
    for (size_t i = 0; i < agent->checkpoint_count; i++)
        total += blx_manifest_count_entries(&agent->checkpoints[i].manifest);
    const char **list = calloc(total + 1, sizeof(list[0]));
    if (list == NULL)
        return no_memory(agent->store.id, err);
    *count = 0;
    for (size_t i = 0; i < agent->checkpoint_count; i++) {
        const struct blx_manifest *manifest = &agent->checkpoints[i].manifest;
        for (uint32_t v = 0; v < blx_manifest_count_entries(manifest); v++)
            list[(*count)++] = manifest->volumes[v].name;
    }
    qsort(list, total, sizeof(list[0]), compare_names);
    *names = list;
    return 0;
}

static void sort_volumes(struct blx_verify_agent *agent)
{
    if (agent->volume_count > 0)
        qsort(agent->volumes, agent->volume_count, sizeof(agent->volumes[0]), compare_volumes);
}

/* Those that have a folder, and those that only a manifest knows. */
static int find_volumes(struct blx_verify_agent *agent, struct blx_error *err)
{
    BLX_CLEANUP_FREE const char **names = NULL;
    size_t name_count = 0;
    char dir[PATH_MAX];
    int rc = blx_agent_store_volume_path(agent->store, NULL, dir, err);
    if (rc == 0)
        rc = blx_directory_each(dir, visit_volume, agent, err);
    if (rc == 0)
        rc = list_names(agent, &names, &name_count, err);
    sort_volumes(agent);
    size_t with_folder = agent->volume_count;
    for (size_t i = 0; rc == 0 && i < name_count; i++) {
        bool is_new = i == 0 || strcmp(names[i - 1], names[i]) != 0;
        if (is_new && find_volume(agent, with_folder, names[i]) == NULL)
            rc = add_volume(agent, names[i], err);
    }
    sort_volumes(agent);
    return rc;
}

static int add_link(struct blx_verify_volume *volume, struct blx_verify_link link)
{
    if (blx_array_make_room(volume->links, volume->link_count) < 0)
        return -ENOMEM;
    volume->links[volume->link_count++] = link;
    volume->named_count += link.entry->segment_count;
    return 0;
}

/* Where each volume is: nobody then looks it up in every manifest. */
static int link_volumes(struct blx_verify_agent *agent, struct blx_error *err)
{
    for (size_t i = 0; i < agent->checkpoint_count; i++) {
        const struct blx_verify_checkpoint *checkpoint = &agent->checkpoints[i];
        const struct blx_manifest *manifest = &checkpoint->manifest;
        for (uint32_t v = 0; v < blx_manifest_count_entries(manifest); v++) {
            const struct blx_manifest_volume *entry = &manifest->volumes[v];
            struct blx_verify_volume *volume = find_volume(agent, agent->volume_count, entry->name);
            if (add_link(volume, (struct blx_verify_link){checkpoint, entry}) < 0)
                return no_memory(agent->store.id, err);
        }
    }
    return 0;
}

const struct blx_verify_link *blx_verify_volume_link(const struct blx_verify_volume *volume,
                                                     blx_timestamp timestamp)
{
    size_t low = 0, high = volume->link_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (volume->links[middle].checkpoint->timestamp < timestamp)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == volume->link_count || volume->links[low].checkpoint->timestamp != timestamp)
        return NULL;
    return &volume->links[low];
}

static int add_segment(struct blx_verify_volume *volume, struct blx_verify_segment segment)
{
    if (blx_array_make_room(volume->segments, volume->segment_count) < 0)
        return -ENOMEM;
    volume->segments[volume->segment_count++] = segment;
    return 0;
}

static int visit_file(void *arg, const char *name, struct blx_error *err)
{
    struct blx_verify_volume *volume = arg;
    if (strcmp(name, "open.seg") == 0)
        return add_segment(volume, (struct blx_verify_segment){0}) < 0
                   ? no_memory(volume->name, err)
                   : 0;
    uint32_t number = blx_segment_number(name);
    if (number == 0)
        return 0;
    int rc = add_segment(volume, (struct blx_verify_segment){.number = number});
    return rc < 0 ? no_memory(volume->name, err) : 0;
}

/* What the manifests say of the volume's segments; those of a list that is in no folder come to
 * light here. */
static int name_segments(struct blx_verify_volume *volume)
{
    for (size_t i = 0; i < volume->link_count; i++) {
        const struct blx_manifest_volume *entry = volume->links[i].entry;
        for (uint32_t s = 0; s < entry->segment_count; s++) {
            struct blx_verify_segment segment = {
                .number = entry->segments[s],
                .named = true,
                .block_shift = entry->block_shift,
                .blocks = blx_blocks_of_bytes(entry->size_bytes, entry->block_shift),
            };
            if (add_segment(volume, segment) < 0)
                return -ENOMEM;
        }
    }
    return 0;
}

static int compare_segments(const void *a, const void *b)
{
    const struct blx_verify_segment *x = a, *y = b;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return (int)y->named - (int)x->named;
}

static int find_segments(struct blx_verify_volume *volume, struct blx_error *err)
{
    int rc = blx_directory_each(volume->dir, visit_file, volume, err);
    if (rc < 0)
        return rc;
    if (name_segments(volume) < 0)
        return no_memory(volume->name, err);
    size_t kept = 0;
    if (volume->segment_count > 0)
        qsort(volume->segments, volume->segment_count, sizeof(volume->segments[0]),
              compare_segments);
    for (size_t i = 0; i < volume->segment_count; i++)
        if (kept == 0 || volume->segments[kept - 1].number != volume->segments[i].number)
            volume->segments[kept++] = volume->segments[i];
    volume->segment_count = kept;
    return 0;
}

struct blx_verify_segment *blx_verify_volume_segment(const struct blx_verify_volume *volume,
                                                     uint32_t number)
{
    size_t low = 0, high = volume->segment_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (volume->segments[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < volume->segment_count ? &volume->segments[low] : NULL;
}

static int read_state(const struct blx_verify_agent *agent, const struct blx_verify_volume *volume,
                      struct blx_verify_report *report, struct blx_error *err)
{
    char path[PATH_MAX];
    struct blx_volume_file file;
    struct blx_error cause = {0};
    int rc = blx_path_format(path, sizeof(path), err, "%s/volume", volume->dir);
    if (rc < 0)
        return rc;
    rc = blx_volume_file_read(volume->dir, &file, &cause);
    if (rc == 0)
        count_file(report, path);
    if (rc == 0 || (rc == -ENOENT && volume->segment_count == 0))
        return 0;
    if (rc != -ENOENT && !blx_is_damage(rc))
        return blx_error_copy(err, rc, &cause);
    count_file(report, path);
    return add_damage(report, agent, volume->name, path,
                      rc == -ENOENT ? "it is missing" : "it is not a valid state file", err);
}

/* A damaged secret is told once. Its digests are not compared with their blocks. */
static int read_digest_key(const struct blx_verify_agent *agent, struct blx_verify_volume *volume,
                           struct blx_verify_report *report, struct blx_error *err)
{
    char path[PATH_MAX];
    struct blx_error cause = {0};
    int rc = blx_digest_key_path(agent->store, path, err);
    if (rc < 0)
        return rc;
    rc = blx_digest_key_find(agent->store, volume->name, &volume->digest_key, &cause);
    volume->has_digest_key = rc == 1;
    if (rc >= 0)
        return 0;
    if (rc != -EBADMSG)
        return blx_error_copy(err, rc, &cause);
    return volume != agent->volumes
               ? 0
               : add_damage(report, agent, volume->name, path,
                            "it is not a valid secret: the agent's next session replaces it", err);
}

int blx_verify_agent_open(struct blx_agent_store agent_store, struct blx_verify_agent *agent,
                          struct blx_verify_report *report, struct blx_error *err)
{
    *agent = (struct blx_verify_agent){.store = agent_store};
    int rc = read_checkpoints(agent, report, err);
    if (rc == 0)
        rc = find_volumes(agent, err);
    if (rc == 0)
        rc = link_volumes(agent, err);
    for (size_t i = 0; rc == 0 && i < agent->volume_count; i++) {
        rc = find_segments(&agent->volumes[i], err);
        if (rc == 0)
            rc = read_state(agent, &agent->volumes[i], report, err);
        if (rc == 0)
            rc = read_digest_key(agent, &agent->volumes[i], report, err);
    }
    return rc;
}
