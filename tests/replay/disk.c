/* SPDX-License-Identifier: Apache-2.0 */
#include "disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "fixture.h"

enum { SECTOR_BYTES = 512, PAGE_BYTES = 4096 };

struct content {
    uint8_t *bytes; /* owned */
    uint64_t size;
};

enum change_kind { CHANGE_WRITE, CHANGE_SIZE, CHANGE_HOLE };

/* A pending change of a file. */
struct change {
    enum change_kind kind;
    uint64_t offset, length; /* CHANGE_SIZE: the offset is the size */
    uint8_t *bytes;          /* owned; CHANGE_WRITE */
};

struct entry {
    char name[NAME_MAX + 1];
    struct node *node;
};

struct names {
    struct entry *entries; /* owned */
    size_t count;
};

/* A pending change of a folder: `from` (if any) is no name of the node any more, and `to` (if any)
 * is. */
struct naming {
    char from[NAME_MAX + 1], to[NAME_MAX + 1];
    struct node *node;
};

/* A file, or a folder. */
struct node {
    ino_t inode; /* 0: another file has the number by now */
    bool is_folder;
    struct content durable;
    struct change *changes; /* owned */
    size_t change_count;
    struct names durable_names;
    struct names live_names;
    struct naming *namings; /* owned */
    size_t naming_count;
};

struct disk {
    char root[PATH_MAX];
    struct node **nodes; /* owned; the root is the first */
    size_t count;
};

static struct node *add_node(struct disk *disk, ino_t inode, bool is_folder)
{
    struct node *node = calloc(1, sizeof(*node));
    assert_non_null(node);
    for (size_t i = 0; i < disk->count; i++)
        if (disk->nodes[i]->inode == inode)
            disk->nodes[i]->inode = 0;
    node->inode = inode;
    node->is_folder = is_folder;
    assert_int_equal(blx_array_make_room(disk->nodes, disk->count), 0);
    disk->nodes[disk->count++] = node;
    return node;
}

static struct node *node_of(const struct disk *disk, int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    for (size_t i = disk->count; i > 0; i--)
        if (disk->nodes[i - 1]->inode == st.st_ino)
            return disk->nodes[i - 1];
    return NULL;
}

static struct entry *find_name(const struct names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->entries[i].name, name) == 0)
            return &names->entries[i];
    return NULL;
}

static void remove_name(struct names *names, const char *name, const struct node *node)
{
    struct entry *entry = find_name(names, name);
    if (entry != NULL && entry->node == node)
        *entry = names->entries[--names->count];
}

static void put_name(struct names *names, const char *name, struct node *node)
{
    struct entry *entry = find_name(names, name);
    if (entry == NULL) {
        names->entries = reallocarray(names->entries, names->count + 1, sizeof(names->entries[0]));
        assert_non_null(names->entries);
        entry = &names->entries[names->count++];
        snprintf(entry->name, sizeof(entry->name), "%s", name);
    }
    entry->node = node;
}

static void apply_naming(struct names *names, const struct naming *naming)
{
    if (naming->from[0] != '\0')
        remove_name(names, naming->from, naming->node);
    if (naming->to[0] != '\0')
        put_name(names, naming->to, naming->node);
}

static void set_size(struct content *content, uint64_t size)
{
    if (size > content->size) {
        content->bytes = realloc(content->bytes, size);
        assert_non_null(content->bytes);
        memset(content->bytes + content->size, 0, size - content->size);
    }
    content->size = size;
}

static void apply_part(struct content *content, const struct change *change, uint64_t start,
                       uint64_t end)
{
    if (change->kind == CHANGE_WRITE) {
        if (end > content->size)
            set_size(content, end);
        memcpy(content->bytes + start, change->bytes + (start - change->offset), end - start);
        return;
    }
    if (end > content->size)
        end = content->size;
    if (start < end)
        memset(content->bytes + start, 0, end - start);
}

static void apply_change(struct content *content, const struct change *change)
{
    if (change->kind == CHANGE_SIZE)
        set_size(content, change->offset);
    else
        apply_part(content, change, change->offset, change->offset + change->length);
}

static void load_folder(struct disk *disk, struct node *folder, const char *path)
{
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char below[PATH_MAX];
        struct stat st;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        assert_true(snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) < PATH_MAX);
        assert_int_equal(lstat(below, &st), 0);
        struct node *node = add_node(disk, st.st_ino, S_ISDIR(st.st_mode));
        put_name(&folder->durable_names, entry->d_name, node);
        put_name(&folder->live_names, entry->d_name, node);
        if (node->is_folder) {
            load_folder(disk, node, below);
            continue;
        }
        set_size(&node->durable, (uint64_t)st.st_size);
        int fd = open(below, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(pread(fd, node->durable.bytes, (size_t)st.st_size, 0), st.st_size);
        close(fd);
    }
    closedir(dir);
}

struct disk *disk_load(const char *root)
{
    struct disk *disk = calloc(1, sizeof(*disk));
    struct stat st;
    assert_non_null(disk);
    snprintf(disk->root, sizeof(disk->root), "%s", root);
    assert_int_equal(stat(root, &st), 0);
    load_folder(disk, add_node(disk, st.st_ino, true), root);
    return disk;
}

static void forget_changes(struct node *node)
{
    for (size_t i = 0; i < node->change_count; i++)
        free(node->changes[i].bytes);
    free(node->changes);
    free(node->namings);
    node->changes = NULL;
    node->namings = NULL;
    node->change_count = node->naming_count = 0;
}

void disk_free(struct disk *disk)
{
    for (size_t i = 0; i < disk->count; i++) {
        struct node *node = disk->nodes[i];
        forget_changes(node);
        free(node->durable.bytes);
        free(node->durable_names.entries);
        free(node->live_names.entries);
        free(node);
    }
    free(disk->nodes);
    free(disk);
}

int disk_has(const struct disk *disk, const char *path)
{
    size_t length = strlen(disk->root);
    return strncmp(path, disk->root, length) == 0 && path[length] == '/';
}

/* The folder that the path lies in, and the last name of it. */
static struct node *find_folder(const struct disk *disk, const char *path, const char **name)
{
    struct node *folder = disk->nodes[0];
    const char *at = path + strlen(disk->root) + 1;
    for (const char *slash; (slash = strchr(at, '/')) != NULL; at = slash + 1) {
        char part[NAME_MAX + 1];
        snprintf(part, sizeof(part), "%.*s", (int)(slash - at), at);
        const struct entry *entry = find_name(&folder->live_names, part);
        assert_non_null(entry);
        folder = entry->node;
    }
    *name = at;
    return folder;
}

static void add_naming(struct node *folder, const char *from, const char *to, struct node *node)
{
    struct naming naming = {.node = node};
    snprintf(naming.from, sizeof(naming.from), "%s", from);
    snprintf(naming.to, sizeof(naming.to), "%s", to);
    assert_int_equal(blx_array_make_room(folder->namings, folder->naming_count), 0);
    folder->namings[folder->naming_count++] = naming;
    apply_naming(&folder->live_names, &naming);
}

void disk_note_created(struct disk *disk, const char *path)
{
    const char *name;
    struct stat st;
    if (!disk_has(disk, path))
        return;
    assert_int_equal(lstat(path, &st), 0);
    struct node *node = add_node(disk, st.st_ino, S_ISDIR(st.st_mode));
    struct node *folder = find_folder(disk, path, &name);
    add_naming(folder, "", name, node);
}

static void add_change(struct node *node, const struct change *change)
{
    assert_int_equal(blx_array_make_room(node->changes, node->change_count), 0);
    node->changes[node->change_count++] = *change;
}

void disk_note_write(struct disk *disk, int fd, const void *bytes, size_t length, uint64_t offset)
{
    struct node *node = node_of(disk, fd);
    if (node == NULL || length == 0)
        return;
    struct change change = {CHANGE_WRITE, offset, length, malloc(length)};
    assert_non_null(change.bytes);
    memcpy(change.bytes, bytes, length);
    add_change(node, &change);
}

void disk_note_size(struct disk *disk, int fd, uint64_t size)
{
    struct node *node = node_of(disk, fd);
    if (node != NULL)
        add_change(node, &(struct change){.kind = CHANGE_SIZE, .offset = size});
}

void disk_note_hole(struct disk *disk, int fd, uint64_t offset, uint64_t length)
{
    struct node *node = node_of(disk, fd);
    if (node != NULL)
        add_change(node, &(struct change){CHANGE_HOLE, offset, length, NULL});
}

/* The programs rename within a folder only. */
void disk_note_rename(struct disk *disk, const char *from, const char *to)
{
    const char *old_name, *new_name;
    if (!disk_has(disk, from))
        return;
    struct node *folder = find_folder(disk, from, &old_name);
    assert_ptr_equal(find_folder(disk, to, &new_name), folder);
    add_naming(folder, old_name, new_name, find_name(&folder->live_names, old_name)->node);
}

void disk_note_unlink(struct disk *disk, const char *path)
{
    const char *name;
    if (!disk_has(disk, path))
        return;
    struct node *folder = find_folder(disk, path, &name);
    add_naming(folder, name, "", find_name(&folder->live_names, name)->node);
}

void disk_note_flush(struct disk *disk, int fd)
{
    struct node *node = node_of(disk, fd);
    if (node == NULL)
        return;
    for (size_t i = 0; i < node->change_count; i++)
        apply_change(&node->durable, &node->changes[i]);
    for (size_t i = 0; i < node->naming_count; i++)
        apply_naming(&node->durable_names, &node->namings[i]);
    forget_changes(node);
}

size_t disk_count_pending(const struct disk *disk)
{
    size_t count = 0;
    for (size_t i = 0; i < disk->count; i++)
        count += disk->nodes[i]->change_count + disk->nodes[i]->naming_count;
    return count;
}

/* Each sector of the change is kept or lost. */
static void apply_sectors(struct content *content, const struct change *change, uint64_t *random)
{
    uint64_t end = change->offset + change->length;
    for (uint64_t at = change->offset, next; at < end; at = next) {
        next = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
        if (next > end)
            next = end;
        if (test_random(random) % 2 == 0)
            apply_part(content, change, at, next);
    }
}

/* The file's size was kept and its new bytes were not: they are zeros, or whatever was there. The
 * audit log's lines have no checksum of their own, so that no rubbish may look like text. */
static void grow_to_last(struct content *content, const struct node *node, uint64_t *random)
{
    uint64_t before = content->size, end = before;
    for (size_t i = 0; i < node->change_count; i++)
        if (node->changes[i].kind == CHANGE_WRITE &&
            node->changes[i].offset + node->changes[i].length > end)
            end = node->changes[i].offset + node->changes[i].length;
    set_size(content, end);
    if (test_random(random) % 2 == 0)
        for (uint64_t at = before; at < end; at++)
            content->bytes[at] = (uint8_t)(test_random(random) | 0x80);
}

enum torn {
    TORN_NOT,
    TORN_LOST,
    TORN_LATER,   /* the first changes are kept, and a part of the next one */
    TORN_CHANGES, /* each is kept or lost */
    TORN_SECTORS, /* each sector is */
    TORN_GROWN,   /* the same, and the size is the last one */
    TORN_COUNT
};

static void apply_any(struct content *content, const struct node *node, enum torn torn,
                      uint64_t *random)
{
    size_t kept = test_random(random) % (node->change_count + 1);
    if (torn == TORN_GROWN)
        grow_to_last(content, node, random);
    for (size_t i = 0; i < node->change_count; i++) {
        const struct change *change = &node->changes[i];
        bool whole = torn == TORN_NOT || (torn == TORN_LATER && i < kept) ||
                     (torn == TORN_CHANGES && test_random(random) % 2 == 0);
        bool part = (torn == TORN_LATER && i == kept) || torn == TORN_SECTORS || torn == TORN_GROWN;
        if (part && change->kind == CHANGE_SIZE)
            whole = test_random(random) % 2 == 0;
        if (whole)
            apply_change(content, change);
        else if (part && change->kind != CHANGE_SIZE)
            apply_sectors(content, change, random);
    }
}

static void write_content(const struct content *content, const char *path)
{
    static const uint8_t zeros[PAGE_BYTES];
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)content->size), 0);
    for (uint64_t at = 0; at < content->size; at += PAGE_BYTES) {
        size_t length = content->size - at < PAGE_BYTES ? content->size - at : PAGE_BYTES;
        if (memcmp(content->bytes + at, zeros, length) != 0)
            assert_int_equal(pwrite(fd, content->bytes + at, length, (off_t)at), length);
    }
    close(fd);
}

static void cut_file(const struct node *node, enum disk_kept kept, uint64_t *random,
                     const char *path)
{
    struct content content = {0};
    enum torn torn = TORN_NOT;
    if (kept == DISK_NOTHING || kept == DISK_NAMES)
        torn = TORN_LOST;
    else if (kept == DISK_ANY)
        torn = (enum torn)(test_random(random) % TORN_COUNT);
    set_size(&content, node->durable.size);
    if (node->durable.size > 0)
        memcpy(content.bytes, node->durable.bytes, node->durable.size);
    if (torn != TORN_LOST)
        apply_any(&content, node, torn, random);
    write_content(&content, path);
    free(content.bytes);
}

static void cut_folder(const struct node *folder, enum disk_kept kept, uint64_t *random,
                       const char *path)
{
    struct names names = {0};
    for (size_t i = 0; i < folder->durable_names.count; i++)
        put_name(&names, folder->durable_names.entries[i].name,
                 folder->durable_names.entries[i].node);
    for (size_t i = 0; i < folder->naming_count; i++)
        if (kept == DISK_ALL || kept == DISK_NAMES ||
            (kept == DISK_ANY && test_random(random) % 2 == 0))
            apply_naming(&names, &folder->namings[i]);
    for (size_t i = 0; i < names.count; i++) {
        char below[PATH_MAX];
        assert_true(snprintf(below, sizeof(below), "%s/%s", path, names.entries[i].name) <
                    PATH_MAX);
        if (!names.entries[i].node->is_folder) {
            cut_file(names.entries[i].node, kept, random, below);
            continue;
        }
        assert_int_equal(mkdir(below, 0700), 0);
        cut_folder(names.entries[i].node, kept, random, below);
    }
    free(names.entries);
}

void disk_cut(const struct disk *disk, enum disk_kept kept, uint64_t *random, const char *into)
{
    cut_folder(disk->nodes[0], kept, random, into);
}

static void print_folder(const struct node *folder, const char *path, FILE *out)
{
    static const char *const kinds[] = {"write", "size", "hole"};
    for (size_t i = 0; i < folder->naming_count; i++)
        fprintf(out, "  %s/: '%s' becomes '%s'\n", path, folder->namings[i].from,
                folder->namings[i].to);
    for (size_t i = 0; i < folder->live_names.count; i++) {
        const struct entry *entry = &folder->live_names.entries[i];
        char below[PATH_MAX];
        assert_true(snprintf(below, sizeof(below), "%s/%s", path, entry->name) < PATH_MAX);
        for (size_t k = 0; k < entry->node->change_count; k++)
            fprintf(out, "  %s: %s at %llu, %llu bytes\n", below,
                    kinds[entry->node->changes[k].kind],
                    (unsigned long long)entry->node->changes[k].offset,
                    (unsigned long long)entry->node->changes[k].length);
        if (entry->node->is_folder)
            print_folder(entry->node, below, out);
    }
}

void disk_print_pending(const struct disk *disk, FILE *out)
{
    print_folder(disk->nodes[0], ".", out);
}
