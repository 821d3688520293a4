/* SPDX-License-Identifier: Apache-2.0 */
#include "files/places.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "files/fstab.h"

enum { MAX_LINKS = 40, MAX_LEVELS = FILES_PATH_BYTES / 2, MAX_MATCHES = FILES_MAX_TOPS };

struct disk {
    struct files_disk disk;
    struct files_signature signature;
    struct files_tree *tree;  /* NULL: not opened, or not possible */
    struct blx_error failure; /* why it cannot be read */
};

/* A folder on the way of a path. */
struct level {
    size_t path_length; /* of the walk's path, up to here */
    size_t tree_length; /* of the path that the filesystem is mounted at */
    size_t disk;
    uint64_t number;
};

struct files_places {
    struct files_source *source;
    struct disk *disks;
    size_t disk_count;
    size_t root;
    struct files_fstab fstab;
    struct level levels[MAX_LEVELS];
};

static void open_disk(struct files_places *places, size_t index)
{
    struct disk *disk = &places->disks[index];
    if (disk->tree != NULL || disk->failure.code != 0)
        return;
    int rc = places->source->kind->open(places->source, (uint32_t)index, disk->disk.size_bytes,
                                        disk->signature.filesystem, &disk->tree, &disk->failure);
    if (rc < 0) {
        disk->tree = NULL;
        disk->failure.code = rc;
    }
}

static int list_disks(struct files_places *places, struct files_probe *probe, struct blx_error *err)
{
    BLX_CLEANUP_FREE struct files_disk *listed = NULL;
    size_t count = 0;
    int rc = places->source->kind->list(places->source, &listed, &count, err);
    if (rc < 0)
        return rc;
    places->disks = calloc(count + 1, sizeof(places->disks[0]));
    if (places->disks == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot list the disks");
    places->disk_count = count;
    for (size_t i = 0; i < count; i++) {
        struct disk *disk = &places->disks[i];
        disk->disk = listed[i];
        files_probe_look(probe, places->source, (uint32_t)i, disk->disk.size_bytes,
                         &disk->signature, &disk->failure);
    }
    return 0;
}

/* Whether a kernel would find more: it reads that disk, or makes others of it. */
static bool wants_kernel(const struct disk *disk)
{
    return disk->failure.code == FILES_ONLY_A_KERNEL;
}

/* Whether there are disks that others are made of, and that cannot be done here. */
static bool hides_disks(struct files_places *places)
{
    bool hides = false;
    for (size_t i = 0; i < places->disk_count && !hides; i++) {
        open_disk(places, i);
        hides = wants_kernel(&places->disks[i]) &&
                strstr(places->disks[i].signature.filesystem, "_member") != NULL;
    }
    return hides;
}

/* The code for a failure that the disk is the reason of. */
static int code_of(const struct disk *disk)
{
    return wants_kernel(disk) ? FILES_ONLY_A_KERNEL : -ENODEV;
}

const char *files_places_device(const struct files_places *places, size_t disk)
{
    return places->disks[disk].disk.device;
}

const char *files_places_filesystem(const struct files_places *places, size_t disk)
{
    return places->disks[disk].signature.filesystem;
}

static bool is_disk(const struct disk *disk, const struct files_fstab_entry *entry)
{
    switch (entry->by) {
    case FILES_FSTAB_BY_DEVICE:
        return strcmp(disk->disk.device, entry->what) == 0 ||
               (disk->disk.alias[0] != '\0' && strcmp(disk->disk.alias, entry->what) == 0);
    case FILES_FSTAB_BY_UUID:
        return disk->signature.uuid[0] != '\0' &&
               strcasecmp(disk->signature.uuid, entry->what) == 0;
    case FILES_FSTAB_BY_LABEL:
        return disk->signature.label[0] != '\0' && strcmp(disk->signature.label, entry->what) == 0;
    case FILES_FSTAB_BY_PARTUUID:
        return disk->disk.part_id[0] != '\0' && strcasecmp(disk->disk.part_id, entry->what) == 0;
    }
    return false;
}

/* The disk's number; SIZE_MAX: the checkpoint does not have it. */
static size_t find_disk(const struct files_places *places, const struct files_fstab_entry *entry)
{
    for (size_t i = 0; i < places->disk_count; i++)
        if (is_disk(&places->disks[i], entry))
            return i;
    return SIZE_MAX;
}

static const struct files_fstab_entry *find_mount(const struct files_places *places,
                                                  const char *path)
{
    for (size_t i = places->fstab.count; i > 0; i--) /* the last one lies on top */
        if (strcmp(places->fstab.entries[i - 1].path, path) == 0)
            return &places->fstab.entries[i - 1];
    return NULL;
}

const char *files_places_mounted_at(const struct files_places *places, const char *path)
{
    const struct files_fstab_entry *entry = find_mount(places, path);
    if (entry == NULL)
        return NULL;
    size_t disk = find_disk(places, entry);
    return disk == SIZE_MAX ? entry->text : files_places_device(places, disk);
}

/* The path that is walked: what lies before its end is done, `rest` is to come. */
struct walk {
    struct files_places *places;
    struct files_place *place;
    size_t depth; /* of `places->levels`, the last one is where the walk is */
    unsigned links;
    char rest[FILES_PATH_BYTES];
};

static struct level *top(const struct walk *walk)
{
    return &walk->places->levels[walk->depth - 1];
}

static struct files_node node_of(const struct walk *walk, const struct level *level)
{
    const char *path = walk->place->path;
    size_t skip = level->tree_length;
    if (level->path_length > skip)
        skip++; /* the slash */
    return (struct files_node){.number = level->number, .path = path + skip};
}

static int enter_root(struct walk *walk, struct blx_error *err)
{
    struct files_places *places = walk->places;
    struct disk *root = &places->disks[places->root];
    open_disk(places, places->root);
    if (root->tree == NULL)
        return blx_error_set(err, code_of(root), "'%s' cannot be read: %s", root->disk.device,
                             root->failure.message);
    walk->depth = 1;
    walk->place->path[0] = '\0';
    *top(walk) = (struct level){.disk = places->root, .number = root->tree->root};
    return 0;
}

/* A filesystem that fstab mounts at the place where the walk has just come to. */
static int enter_mount(struct walk *walk, struct blx_error *err)
{
    struct files_places *places = walk->places;
    const struct files_fstab_entry *entry = find_mount(places, walk->place->path);
    if (entry == NULL)
        return 0;
    size_t index = find_disk(places, entry);
    if (index == SIZE_MAX && hides_disks(places))
        return blx_error_set(
            err, FILES_ONLY_A_KERNEL,
            "'%s' was on %s, which may lie in LVM or RAID, which only a kernel reads", entry->path,
            entry->text);
    if (index == SIZE_MAX)
        return blx_error_set(err, -ENODEV,
                             "'%s' was on %s, which the checkpoint does not have, or which is "
                             "encrypted",
                             entry->path, entry->text);
    struct disk *disk = &places->disks[index];
    open_disk(places, index);
    if (disk->tree == NULL)
        return blx_error_set(err, code_of(disk), "'%s' was on %s: %s", entry->path,
                             disk->disk.device, disk->failure.message);
    struct level *level = top(walk);
    level->disk = index;
    level->number = disk->tree->root;
    level->tree_length = level->path_length;
    return 0;
}

struct search {
    const char *name;
    size_t length;
    uint64_t number; /* 0: not found */
};

static int compare_name(void *arg, const char *name, size_t length, uint64_t number)
{
    struct search *search = arg;
    if (search->number == 0 && length == search->length && memcmp(name, search->name, length) == 0)
        search->number = number;
    return 0;
}

static int look(struct walk *walk, struct blx_error *err)
{
    const struct level *level = top(walk);
    walk->place->disk = level->disk;
    walk->place->tree = walk->places->disks[level->disk].tree;
    walk->place->node = node_of(walk, level);
    struct files_tree *tree = walk->place->tree;
    return tree->kind->look(tree, walk->place->node, &walk->place->stat, err);
}

/* One name further. */
static int step(struct walk *walk, const char *name, size_t length, struct blx_error *err)
{
    char *path = walk->place->path;
    const struct level from = *top(walk);
    struct files_tree *tree = walk->places->disks[from.disk].tree;
    struct search search = {.name = name, .length = length};
    if (walk->depth == MAX_LEVELS || from.path_length + 1 + length >= FILES_PATH_BYTES)
        return -ENAMETOOLONG;
    int rc = tree->kind->list(tree, node_of(walk, &from), compare_name, &search, err);
    if (rc < 0)
        return rc;
    if (search.number == 0)
        return -ENOENT;
    path[from.path_length] = '/';
    memcpy(path + from.path_length + 1, name, length);
    path[from.path_length + 1 + length] = '\0';
    walk->depth++;
    *top(walk) = (struct level){.path_length = from.path_length + 1 + length,
                                .tree_length = from.tree_length,
                                .disk = from.disk,
                                .number = search.number};
    rc = enter_mount(walk, err);
    return rc == 0 ? look(walk, err) : rc;
}

static int step_up(struct walk *walk, struct blx_error *err)
{
    if (walk->depth > 1)
        walk->depth--;
    walk->place->path[top(walk)->path_length] = '\0';
    return look(walk, err);
}

/* What the link says comes before the rest. */
static int follow(struct walk *walk, struct blx_error *err)
{
    char target[FILES_PATH_BYTES], rest[FILES_PATH_BYTES];
    struct files_tree *tree = walk->place->tree;
    if (++walk->links > MAX_LINKS)
        return -ELOOP;
    int rc = tree->kind->read_link(tree, walk->place->node, target, err);
    if (rc < 0)
        return rc;
    int length = snprintf(rest, sizeof(rest), "%s/%s", target, walk->rest);
    if (length < 0 || (size_t)length >= sizeof(rest))
        return -ENAMETOOLONG;
    memcpy(walk->rest, rest, (size_t)length + 1);
    if (target[0] == '/') {
        rc = enter_root(walk, err);
        return rc == 0 ? look(walk, err) : rc;
    }
    return step_up(walk, err);
}

static int walk_on(struct walk *walk, struct blx_error *err)
{
    char name[256];
    int rc = look(walk, err);
    while (rc == 0) {
        const char *begin = walk->rest + strspn(walk->rest, "/");
        size_t length = strcspn(begin, "/");
        bool slash = begin > walk->rest;
        if (S_ISLNK(walk->place->stat.mode) && slash) {
            rc = follow(walk, err);
            continue;
        }
        if (length == 0)
            return slash && !S_ISDIR(walk->place->stat.mode) ? -ENOTDIR : 0;
        if (!S_ISDIR(walk->place->stat.mode))
            return -ENOTDIR;
        if (length >= sizeof(name))
            return -ENAMETOOLONG;
        memcpy(name, begin, length);
        name[length] = '\0';
        memmove(walk->rest, begin + length, strlen(begin + length) + 1);
        if (strcmp(name, "..") == 0)
            rc = step_up(walk, err);
        else if (strcmp(name, ".") != 0)
            rc = step(walk, name, length, err);
    }
    return rc;
}

int files_places_find(struct files_places *places, const char *path, struct files_place *place,
                      struct blx_error *err)
{
    struct walk walk = {.places = places, .place = place};
    struct blx_error cause = {0};
    if (strlen(path) >= sizeof(walk.rest))
        return blx_error_errno(err, -ENAMETOOLONG, "cannot find '%.80s...'", path);
    blx_text_set(walk.rest, path);
    int rc = enter_root(&walk, &cause);
    if (rc == 0)
        rc = walk_on(&walk, &cause);
    if (rc == -ENOENT && cause.code == 0)
        return blx_error_set(err, rc, "there is no '%s' in the checkpoint", path);
    if (rc < 0 && cause.code == 0)
        return blx_error_errno(err, rc, "cannot find '%s'", path);
    if (rc < 0)
        return blx_error_set(err, rc, "cannot find '%s': %s", path, cause.message);
    if (place->path[0] == '\0') {
        memcpy(place->path, "/", 2);
        place->node.path = "";
    }
    return 0;
}

struct matching {
    struct files_places *places;
    int (*visit)(void *arg, const char *path, struct blx_error *err);
    void *arg;
    size_t count;
};

static bool has_magic(const char *name, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (strchr("*?[", name[i]) != NULL)
            return true;
    return false;
}

/* The first name with a pattern at or after `from`; its end too. NULL: there is none. */
static const char *find_pattern(const char *from, size_t *length)
{
    while (*from != '\0') {
        from += strspn(from, "/");
        *length = strcspn(from, "/");
        if (has_magic(from, *length))
            return from;
        from += *length;
    }
    return NULL;
}

static int match(struct matching *matching, const char *path, size_t done, struct blx_error *err);

/* Replaces the name at `at` by each that fits. */
static int match_name(struct matching *matching, const char *path, const char *at, size_t length,
                      struct blx_error *err)
{
    BLX_CLEANUP_FREE struct files_place *folder = malloc(sizeof(*folder));
    BLX_CLEANUP_FREE char *text = strndup(path, (size_t)(at - path));
    BLX_CLEANUP_FREE char *pattern = strndup(at, length);
    BLX_CLEANUP(files_names_done) struct files_names names = {0};
    if (folder == NULL || text == NULL || pattern == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot match '%s'", path);
    struct blx_error ignored = {0};
    int rc = files_places_find(matching->places, text, folder, &ignored);
    if (rc == -ENOENT || rc == -ENOTDIR || (rc == 0 && !S_ISDIR(folder->stat.mode)))
        return 0; /* nothing matches here */
    if (rc == 0)
        rc = files_names_read(folder->tree, folder->node, &names, &ignored);
    if (rc < 0)
        return blx_error_set(err, rc, "cannot match '%s': %s", path, ignored.message);
    for (size_t i = 0; rc == 0 && i < names.count; i++) {
        char next[FILES_PATH_BYTES];
        if (fnmatch(pattern, names.names[i].text, FNM_PERIOD) != 0)
            continue;
        int used = snprintf(next, sizeof(next), "%s%s%s", text, names.names[i].text, at + length);
        if (used < (int)sizeof(next))
            rc = match(matching, next, strlen(text) + strlen(names.names[i].text), err);
    }
    return rc;
}

/* `done`: up to there the path is no pattern, whatever it looks like; 0: nothing matched yet. */
static int match(struct matching *matching, const char *path, size_t done, struct blx_error *err)
{
    size_t length = 0;
    const char *at = find_pattern(path + done, &length);
    BLX_CLEANUP_FREE struct files_place *place = malloc(sizeof(*place));
    struct blx_error cause = {0};
    if (place == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot match '%s'", path);
    int rc = files_places_find(matching->places, path, place, &cause);
    if (rc == -ENOENT && at != NULL)
        return match_name(matching, path, at, length, err);
    if (done > 0 && (rc == -ENOENT || rc == -ENOTDIR))
        return 0;
    if (rc < 0)
        return blx_error_copy(err, rc, &cause);
    if (matching->count++ == MAX_MATCHES)
        return blx_error_set(err, -E2BIG, "more than %d names match: take a folder, or fewer",
                             MAX_MATCHES);
    return matching->visit(matching->arg, path, err);
}

int files_places_match(struct files_places *places, const char *pattern,
                       int (*visit)(void *arg, const char *path, struct blx_error *err), void *arg,
                       struct blx_error *err)
{
    struct matching matching = {.places = places, .visit = visit, .arg = arg};
    int rc = match(&matching, pattern, 0, err);
    if (rc == 0 && matching.count == 0)
        return blx_error_set(err, -ENOENT, "nothing in the checkpoint matches '%s'", pattern);
    return rc;
}

static int read_fstab(struct files_places *places, size_t disk, struct files_fstab *fstab)
{
    BLX_CLEANUP_FREE struct files_place *place = malloc(sizeof(*place));
    struct blx_error ignored = {0};
    places->root = disk;
    int rc = place == NULL ? -ENOMEM : files_places_find(places, "/etc/fstab", place, &ignored);
    return rc == 0 ? files_fstab_read(place->tree, place->node, &place->stat, fstab) : rc;
}

/* Whether the fstab of that disk says that the disk is its root. */
static bool names_itself(const struct files_places *places, const struct files_fstab *fstab,
                         size_t disk)
{
    for (size_t i = 0; i < fstab->count; i++)
        if (strcmp(fstab->entries[i].path, "/") == 0 &&
            is_disk(&places->disks[disk], &fstab->entries[i]))
            return true;
    return false;
}

/* "/dev/vda1 (vfat), /dev/vda2 (ext4)" */
static void describe(const struct files_places *places, char *text, size_t bytes)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < places->disk_count && used < bytes; i++) {
        const char *filesystem = files_places_filesystem(places, i);
        used += (size_t)snprintf(text + used, bytes - used, "%s%s (%s)", i > 0 ? ", " : "",
                                 files_places_device(places, i),
                                 filesystem[0] != '\0'                          ? filesystem
                                 : places->disks[i].failure.code == -EOPNOTSUPP ? "unknown"
                                                                                : "unreadable");
    }
}

/* What is known of the disks that may be the root. */
struct candidates {
    size_t with_fstab, readable, for_kernel;
    size_t best;
};

/* The disk that is taken for the root, if its fstab cannot say it. */
static int choose_root(struct files_places *places, const struct candidates *candidates,
                       struct blx_error *err)
{
    char list[BLX_ERROR_MESSAGE_BYTES / 2];
    const size_t with_fstab = candidates->with_fstab;
    places->root = candidates->best;
    if (with_fstab == 1)
        return 0;
    describe(places, list, sizeof(list));
    if (candidates->for_kernel > 0)
        return blx_error_set(err, FILES_ONLY_A_KERNEL,
                             "only a kernel reads what may hold the server's root, %s", list);
    if (with_fstab == 0 && candidates->readable == 1)
        return 0;
    const struct disk *best = &places->disks[candidates->best];
    if (candidates->readable == 0 && best->failure.code != 0)
        return blx_error_set(err, -ENODEV, "'%s' cannot be read: %s; the checkpoint has %s",
                             best->disk.device, best->failure.message, list);
    return blx_error_set(err, -ENOENT,
                         "%s, so nobody knows where a path lies: choose a filesystem with "
                         "--device: %s",
                         with_fstab > 1 ? "several filesystems have an /etc/fstab"
                                        : "no filesystem that is read has an /etc/fstab",
                         list);
}

/* True: the disk's own fstab says that it is the root, and is the places' now. */
static bool is_root(struct files_places *places, size_t disk, struct candidates *candidates)
{
    struct files_fstab fstab = {0};
    open_disk(places, disk);
    candidates->for_kernel += wants_kernel(&places->disks[disk]) ? 1 : 0;
    if (places->disks[disk].tree == NULL) {
        if (candidates->readable == 0 && places->disks[disk].signature.filesystem[0] != '\0')
            candidates->best = disk;
        return false;
    }
    candidates->readable++;
    if (read_fstab(places, disk, &fstab) < 0) {
        candidates->best = candidates->with_fstab == 0 ? disk : candidates->best;
        return false;
    }
    candidates->with_fstab++;
    candidates->best = disk;
    if (!names_itself(places, &fstab, disk)) {
        files_fstab_done(&fstab);
        return false;
    }
    places->root = disk;
    places->fstab = fstab;
    return true;
}

static int find_root(struct files_places *places, struct blx_error *err)
{
    struct candidates candidates = {0};
    for (size_t i = 0; i < places->disk_count; i++)
        if (places->disks[i].disk.is_wanted && is_root(places, i, &candidates))
            return 0;
    int rc = choose_root(places, &candidates, err);
    if (rc == 0 && candidates.with_fstab == 1)
        read_fstab(places, candidates.best, &places->fstab);
    places->root = candidates.best;
    return rc;
}

static int unknown_device(struct files_places *places, const char *device, struct blx_error *err)
{
    char list[BLX_ERROR_MESSAGE_BYTES / 2];
    if (hides_disks(places))
        return blx_error_set(err, FILES_ONLY_A_KERNEL,
                             "'%.200s' may lie in LVM or RAID, which only a kernel reads", device);
    describe(places, list, sizeof(list));
    return blx_error_set(err, -ENOENT,
                         "the checkpoint has no device '%.200s': give --device with one of %s",
                         device, list);
}

static int take_device(struct files_places *places, const char *device, struct blx_error *err)
{
    size_t wanted = 0;
    for (size_t i = 0; i < places->disk_count; i++) {
        if (!places->disks[i].disk.is_wanted)
            continue;
        wanted++;
        places->root = i;
    }
    if (wanted == 0)
        return unknown_device(places, device, err);
    if (wanted > 1)
        return find_root(places, err);
    struct disk *root = &places->disks[places->root];
    open_disk(places, places->root);
    return root->tree != NULL ? 0
                              : blx_error_set(err, code_of(root), "'%s' cannot be read: %s",
                                              root->disk.device, root->failure.message);
}

int files_places_open(struct files_source *source, struct files_probe *probe, const char *device,
                      struct files_places **places, struct blx_error *err)
{
    struct files_places *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot look at the disks");
    made->source = source;
    int rc = list_disks(made, probe, err);
    if (rc == 0 && made->disk_count == 0)
        rc = blx_error_set(err, -ENOENT, "the checkpoint has no disk");
    if (rc == 0)
        rc = device != NULL ? take_device(made, device, err) : find_root(made, err);
    if (rc < 0)
        files_places_close(made);
    else
        *places = made;
    return rc;
}

void files_places_close(struct files_places *places)
{
    if (places == NULL)
        return;
    for (size_t i = 0; i < places->disk_count; i++)
        if (places->disks[i].tree != NULL)
            places->disks[i].tree->kind->close(places->disks[i].tree);
    files_fstab_done(&places->fstab);
    free(places->disks);
    free(places);
}
