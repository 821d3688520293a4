/* SPDX-License-Identifier: Apache-2.0 */
#include "files/fstab.h"

#include <errno.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/cleanup.h"

enum { MAX_BYTES = 256 << 10, MAX_ENTRIES = 1024 };

static void entry_done(struct files_fstab_entry *entry)
{
    free(entry->path);
    free(entry->text);
    free(entry->what);
}

void files_fstab_done(struct files_fstab *fstab)
{
    for (size_t i = 0; i < fstab->count; i++)
        entry_done(&fstab->entries[i]);
    free(fstab->entries);
    *fstab = (struct files_fstab){0};
}

/* What follows the prefix, without quotes. NULL: it has another one, or no memory. */
static char *cut_prefix(const char *text, const char *prefix)
{
    size_t length = strlen(prefix);
    if (strncmp(text, prefix, length) != 0)
        return NULL;
    text += length;
    size_t bytes = strlen(text);
    if (bytes >= 2 && (text[0] == '"' || text[0] == '\'') && text[bytes - 1] == text[0]) {
        text++;
        bytes -= 2;
    }
    return strndup(text, bytes);
}

/* False: it names no disk. */
static bool parse_what(const char *text, struct files_fstab_entry *entry)
{
    static const struct {
        const char *prefix;
        enum files_fstab_by by;
    } ways[] = {
        {"UUID=", FILES_FSTAB_BY_UUID},
        {"LABEL=", FILES_FSTAB_BY_LABEL},
        {"PARTUUID=", FILES_FSTAB_BY_PARTUUID},
        {"/dev/disk/by-uuid/", FILES_FSTAB_BY_UUID},
        {"/dev/disk/by-label/", FILES_FSTAB_BY_LABEL},
        {"/dev/disk/by-partuuid/", FILES_FSTAB_BY_PARTUUID},
    };
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]) && entry->what == NULL; i++) {
        entry->what = cut_prefix(text, ways[i].prefix);
        entry->by = ways[i].by;
    }
    if (entry->what == NULL && strncmp(text, "/dev/", 5) == 0) {
        entry->what = strdup(text);
        entry->by = FILES_FSTAB_BY_DEVICE;
    }
    return entry->what != NULL;
}

/* Each slash once, and none at the end. NULL: no memory. */
static char *copy_path(const char *path)
{
    char *copy = strdup(path), *to = copy;
    for (const char *from = path; copy != NULL && *from != '\0'; from++)
        if (*from != '/' || (from[1] != '/' && from[1] != '\0'))
            *to++ = *from;
    if (to == copy && copy != NULL)
        *to++ = '/';
    if (copy != NULL)
        *to = '\0';
    return copy;
}

static int add(struct files_fstab *fstab, const struct mntent *line)
{
    struct files_fstab_entry entry = {0};
    if (line->mnt_dir[0] != '/' || strlen(line->mnt_dir) >= FILES_PATH_BYTES ||
        hasmntopt(line, "bind") != NULL || hasmntopt(line, "rbind") != NULL ||
        !parse_what(line->mnt_fsname, &entry)) {
        entry_done(&entry);
        return 0;
    }
    entry.path = copy_path(line->mnt_dir);
    entry.text = strdup(line->mnt_fsname);
    if (entry.path == NULL || entry.text == NULL ||
        blx_array_make_room(fstab->entries, fstab->count) < 0) {
        entry_done(&entry);
        return -ENOMEM;
    }
    fstab->entries[fstab->count++] = entry;
    return 0;
}

int files_fstab_parse(const char *text, size_t bytes, struct files_fstab *fstab)
{
    char buffer[4 * FILES_PATH_BYTES];
    struct mntent line;
    *fstab = (struct files_fstab){0};
    if (bytes == 0)
        return 0;
    BLX_CLEANUP_FILE FILE *file = fmemopen((void *)(uintptr_t)text, bytes, "r");
    if (file == NULL)
        return -ENOMEM;
    int rc = 0;
    while (rc == 0 && fstab->count < MAX_ENTRIES &&
           getmntent_r(file, &line, buffer, sizeof(buffer)) != NULL)
        rc = add(fstab, &line);
    if (rc < 0)
        files_fstab_done(fstab);
    return rc;
}

static int pass_over(void *arg, uint64_t offset_bytes, uint64_t bytes)
{
    (void)arg, (void)offset_bytes, (void)bytes;
    return 0;
}

int files_fstab_read(struct files_tree *tree, struct files_node node, const struct files_stat *stat,
                     struct files_fstab *fstab)
{
    if (!S_ISREG(stat->mode))
        return -ENOENT;
    if (stat->size_bytes > MAX_BYTES)
        return -EFBIG;
    size_t bytes = (size_t)stat->size_bytes;
    BLX_CLEANUP_FREE char *text = calloc(1, bytes + 1);
    int rc = text == NULL ? -ENOMEM : tree->kind->map(tree, node, pass_over, NULL, NULL);
    if (rc == 0)
        rc = tree->kind->read(tree, node, text, bytes, 0, NULL);
    return rc == 0 ? files_fstab_parse(text, bytes, fstab) : rc;
}
