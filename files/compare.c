/* SPDX-License-Identifier: Apache-2.0 */
#include "files/compare.h"

#include <errno.h>
#include <search.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "files/blocks.h"
#include "files/places.h"

enum { MAX_DEPTH = FILES_PATH_BYTES / 2 };

/* A file with written blocks. */
struct written {
    char *path; /* owned */
    uint64_t bytes, size_bytes;
};

struct compare {
    struct files_source *source;
    struct files_sender *sender;
    uint32_t disk;
    struct files_tree *tree;
    char path[FILES_PATH_BYTES];
    size_t depth;
    void *met; /* numbers of inodes that may come again */
    struct files_changes changes;
    uint64_t unreadable;                  /* files and folders */
    struct written top[FILES_MOST_FILES]; /* those with most first */
    size_t top_count;
};

static int compare_numbers(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* 1: it was there already. */
static int meet(struct compare *compare, uint64_t number)
{
    uint64_t *key = malloc(sizeof(*key));
    if (key == NULL)
        return -ENOMEM;
    *key = number;
    uint64_t **found = (uint64_t **)tsearch(key, &compare->met, compare_numbers);
    int rc = found == NULL ? -ENOMEM : *found != key;
    if (rc != 0)
        free(key);
    return rc;
}

/* What was written of the file that is located. */
struct tally {
    struct compare *compare;
    uint64_t bytes;
    int rc; /* the keeper is gone */
    struct blx_error *err;
};

static int visit_run(void *arg, uint64_t offset_bytes, uint64_t bytes)
{
    struct tally *tally = arg;
    uint64_t written = 0;
    tally->rc = files_blocks_count(tally->compare->source, tally->compare->disk, bytes,
                                   offset_bytes, &written, tally->err);
    tally->bytes += written;
    return tally->rc;
}

static void drop_last(struct compare *compare)
{
    free(compare->top[--compare->top_count].path);
}

/* Keeps it if it is among those with most. */
static int keep(struct compare *compare, uint64_t bytes, uint64_t size_bytes)
{
    size_t at = compare->top_count;
    while (at > 0 && compare->top[at - 1].bytes < bytes)
        at--;
    if (at == FILES_MOST_FILES)
        return 0;
    char *path = strdup(compare->path);
    if (path == NULL)
        return -ENOMEM;
    if (compare->top_count == FILES_MOST_FILES)
        drop_last(compare);
    memmove(&compare->top[at + 1], &compare->top[at],
            (compare->top_count - at) * sizeof(compare->top[0]));
    compare->top[at] = (struct written){.path = path, .bytes = bytes, .size_bytes = size_bytes};
    compare->top_count++;
    return 0;
}

static int take_file(struct compare *compare, struct files_node node, const struct files_stat *stat,
                     struct blx_error *err)
{
    struct blx_error cause = {0};
    struct tally tally = {.compare = compare, .err = err};
    int rc = compare->tree->kind->locate(compare->tree, node, visit_run, &tally, &cause);
    if (tally.rc < 0)
        return tally.rc;
    if (rc < 0) {
        compare->unreadable++;
        return 0;
    }
    if (tally.bytes == 0)
        return 0;
    compare->changes.files_bytes += tally.bytes;
    compare->changes.file_count++;
    return keep(compare, tally.bytes, stat->size_bytes);
}

static int walk_folder(struct compare *compare, struct files_node folder, struct blx_error *err);

static int take_node(struct compare *compare, uint64_t number, struct blx_error *err)
{
    struct blx_error cause = {0};
    struct files_stat stat;
    struct files_node node = {.number = number, .path = compare->path};
    if (compare->tree->kind->look(compare->tree, node, &stat, &cause) < 0) {
        compare->unreadable++;
        return 0;
    }
    if (!S_ISDIR(stat.mode) && !S_ISREG(stat.mode))
        return 0;
    int rc = S_ISDIR(stat.mode) || stat.links > 1 ? meet(compare, number) : 0;
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = take_file(compare, node, &stat, err);
    return rc == 0 && S_ISDIR(stat.mode) ? walk_folder(compare, node, err) : rc;
}

/* Names that do not fit are counted as not read. */
static int walk_folder(struct compare *compare, struct files_node folder, struct blx_error *err)
{
    struct blx_error cause = {0};
    BLX_CLEANUP(files_names_done) struct files_names names = {0};
    size_t length = strlen(compare->path);
    if (compare->depth == MAX_DEPTH ||
        files_names_read(compare->tree, folder, &names, &cause) < 0) {
        compare->unreadable++;
        return 0;
    }
    compare->depth++;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < names.count; i++) {
        int wrote = snprintf(compare->path + length, sizeof(compare->path) - length, "%s%s",
                             length > 0 ? "/" : "", names.names[i].text);
        if (wrote < 0 || (size_t)wrote >= sizeof(compare->path) - length)
            compare->unreadable++;
        else
            rc = take_node(compare, names.names[i].number, err);
        compare->path[length] = '\0';
    }
    compare->depth--;
    return rc;
}

static int tell_problem(struct compare *compare, const char *text)
{
    char whole[FILES_TEXT_BYTES];
    snprintf(whole, sizeof(whole), "%.200s: %.700s", compare->changes.device, text);
    return files_send_text(compare->sender, FILES_RECORD_PROBLEM, whole);
}

/* The files of a filesystem that is not read this way are not told, and the summary says so. */
static int walk_disk(struct compare *compare, const struct files_disk *disk, struct blx_error *err)
{
    struct blx_error cause = {0};
    if (strncmp(compare->changes.filesystem, "ext", 3) != 0)
        return 0;
    int rc = compare->source->kind->open(compare->source, compare->disk, disk->size_bytes,
                                         compare->changes.filesystem, &compare->tree, &cause);
    if (rc < 0)
        return tell_problem(compare, cause.message);
    compare->changes.tells_files = 1;
    if (compare->tree->caveat != NULL)
        rc = files_send_text(compare->sender, FILES_RECORD_NOTE, compare->tree->caveat);
    struct files_node root = {.number = compare->tree->root, .path = compare->path};
    if (rc == 0)
        rc = meet(compare, root.number);
    if (rc >= 0)
        rc = walk_folder(compare, root, err);
    compare->tree->kind->close(compare->tree);
    return rc;
}

static int send_disk(struct compare *compare)
{
    char text[128];
    int rc = files_send_changes(compare->sender, &compare->changes);
    for (size_t i = 0; rc == 0 && i < compare->top_count; i++) {
        const struct written *file = &compare->top[i];
        rc = files_send_changed(compare->sender, file->path, file->bytes, file->size_bytes);
    }
    if (rc == 0 && compare->unreadable > 0) {
        snprintf(text, sizeof(text), "%llu files or folders could not be read",
                 (unsigned long long)compare->unreadable);
        rc = tell_problem(compare, text);
    }
    return rc;
}

static void compare_done(struct compare *compare)
{
    tdestroy(compare->met, free);
    while (compare->top_count > 0)
        drop_last(compare);
    free(compare);
}

static int compare_disk(struct files_source *source, uint32_t number, const struct files_disk *disk,
                        struct files_probe *probe, struct files_sender *sender,
                        struct blx_error *err)
{
    struct blx_error cause = {0};
    struct files_signature signature = {.filesystem = ""};
    struct compare *compare = calloc(1, sizeof(*compare));
    if (compare == NULL)
        return -ENOMEM;
    compare->source = source;
    compare->sender = sender;
    compare->disk = number;
    blx_text_set(compare->changes.device, disk->device);
    compare->changes.size_bytes = disk->size_bytes;
    int rc = files_blocks_count(source, number, disk->size_bytes, 0,
                                &compare->changes.written_bytes, &cause);
    if (rc < 0 && rc != -EPIPE) {
        rc = tell_problem(compare, cause.message);
    } else if (rc == 0) {
        if (files_probe_look(probe, source, number, disk->size_bytes, &signature, &cause) == 0)
            blx_text_set(compare->changes.filesystem, signature.filesystem);
        if (compare->changes.written_bytes > 0)
            rc = walk_disk(compare, disk, err);
        if (rc == 0)
            rc = send_disk(compare);
    }
    compare_done(compare);
    return rc;
}

int files_compare(struct files_source *source, struct files_probe *probe,
                  struct files_sender *sender, struct blx_error *err)
{
    BLX_CLEANUP_FREE struct files_disk *disks = NULL;
    size_t count = 0;
    int rc = source->kind->list(source, &disks, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = compare_disk(source, (uint32_t)i, &disks[i], probe, sender, err);
    if (rc == 0)
        rc = files_send_end(sender);
    return rc < 0 ? blx_error_errno(err, rc, "cannot compare the checkpoints") : 0;
}
