/* SPDX-License-Identifier: Apache-2.0 */
#include "files/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "files/acl.h"

enum { ZEROS_BYTES = 1 << 30, HOLD_FDS = 16 };

struct files_archive {
    struct archive *out;
    struct archive_entry *entry;
    uint64_t count;
    char path[FILES_PATH_BYTES]; /* of the last entry */
    /* Below a folder. */
    char folder[PATH_MAX];  /* "": it is a tar archive */
    char partial[PATH_MAX]; /* where it is unpacked; "": it is not there */
    enum files_existing existing;
    char **names; /* owned: at the top */
    size_t name_count;
    /* A tar archive. */
    int fd;                          /* borrowed; -1: nothing more is written */
    int fd_error;                    /* -errno: what failed there */
    uint64_t size_bytes, done_bytes; /* of the last entry */
    const void *zeros;               /* ZEROS_BYTES that take no memory */
};

static int refused(const struct files_archive *archive, int rc, struct blx_error *err)
{
    return blx_error_set(err, rc, "cannot write '%s': %s", archive->path,
                         archive_error_string(archive->out) != NULL
                             ? archive_error_string(archive->out)
                             : strerror(-rc));
}

/* libarchive's answers: a warning is about one entry, FATAL about all. */
static int judge(struct files_archive *archive, int answer, struct blx_error *err)
{
    if (archive->fd_error < 0)
        return blx_error_errno(err, archive->fd_error, "cannot write the archive");
    if (answer >= ARCHIVE_OK)
        return 0;
    int number = archive_errno(archive->out);
    int rc = number > 0 && number < 4096 ? -number : -EIO;
    bool one = answer == ARCHIVE_WARN ||
               (answer == ARCHIVE_FAILED && rc != -ENOSPC && rc != -EDQUOT && rc != -EIO);
    refused(archive, rc, err);
    return one ? 1 : rc;
}

static struct files_archive *make(void)
{
    struct files_archive *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return NULL;
    made->fd = -1;
    made->entry = archive_entry_new();
    if (made->entry != NULL)
        return made;
    free(made);
    return NULL;
}

/* Owners only as root; the umask counts for others, as with tar. */
static int open_disk(struct files_archive *archive)
{
    int flags = ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_XATTR | ARCHIVE_EXTRACT_ACL |
                ARCHIVE_EXTRACT_NO_OVERWRITE | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
                ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS;
    if (geteuid() == 0)
        flags |= ARCHIVE_EXTRACT_OWNER | ARCHIVE_EXTRACT_PERM;
    archive->out = archive_write_disk_new();
    if (archive->out == NULL)
        return -ENOMEM;
    return archive_write_disk_set_options(archive->out, flags) == ARCHIVE_OK ? 0 : -EINVAL;
}

int files_archive_to_folder(const char *folder, enum files_existing existing,
                            struct files_archive **archive, struct blx_error *err)
{
    struct files_archive *made = make();
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot write to '%s'", folder);
    made->existing = existing;
    int rc = 0;
    if (realpath(folder, made->folder) == NULL)
        rc = blx_error_errno(err, -errno, "cannot write to '%s'", folder);
    char path[PATH_MAX];
    if (rc == 0)
        rc = blx_path_format(path, sizeof(path), err, "%s/.blxrep-files-XXXXXX", made->folder);
    if (rc == 0 && mkdtemp(path) == NULL)
        rc = blx_error_errno(err, -errno, "cannot write to '%s'", folder);
    if (rc == 0) {
        blx_text_set(made->partial, path);
        rc = open_disk(made);
    }
    if (rc == 0 && chdir(made->partial) != 0)
        rc = -errno;
    if (rc < 0) {
        files_archive_free(made);
        return blx_error_errno(err, rc, "cannot write to '%s'", folder);
    }
    *archive = made;
    return 0;
}

/* An error is kept: libarchive would leak its buffers over one. */
static la_ssize_t write_out(struct archive *out, void *arg, const void *data, size_t bytes)
{
    struct files_archive *archive = arg;
    (void)out;
    for (size_t done = 0; archive->fd >= 0 && archive->fd_error == 0 && done < bytes;) {
        ssize_t wrote = write(archive->fd, (const uint8_t *)data + done, bytes - done);
        if (wrote < 0 && errno != EINTR)
            archive->fd_error = -errno;
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    return (la_ssize_t)bytes;
}

int files_archive_to_tar(int fd, struct files_archive **archive, struct blx_error *err)
{
    struct files_archive *made = make();
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot write an archive");
    void *zeros =
        mmap(NULL, ZEROS_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    made->zeros = zeros != MAP_FAILED ? zeros : NULL;
    made->out = archive_write_new();
    made->fd = fd;
    setlocale(LC_CTYPE, "C.UTF-8"); /* without it all names are bytes */
    if (made->zeros == NULL || made->out == NULL ||
        archive_write_set_format_pax(made->out) != ARCHIVE_OK ||
        archive_write_set_options(made->out, "xattrheader=SCHILY") != ARCHIVE_OK ||
        archive_write_set_bytes_in_last_block(made->out, 1) != ARCHIVE_OK ||
        archive_write_open(made->out, made, NULL, write_out, NULL) != ARCHIVE_OK) {
        files_archive_free(made);
        return blx_error_errno(err, -ENOMEM, "cannot write an archive");
    }
    *archive = made;
    return 0;
}

int files_archive_expect(struct files_archive *archive, const char *name, struct blx_error *err)
{
    if (archive->folder[0] == '\0')
        return 0;
    char path[PATH_MAX];
    struct stat there;
    int rc = blx_path_format(path, sizeof(path), err, "%s/%s", archive->folder, name);
    if (rc < 0)
        return rc;
    if (lstat(path, &there) == 0) {
        if (archive->existing == FILES_EXISTING_REFUSE)
            return blx_error_set(err, -EEXIST,
                                 "'%s' already exists: give another --output, or --force to "
                                 "replace it",
                                 path);
        if (S_ISDIR(there.st_mode))
            return blx_error_set(err, -EEXIST,
                                 "'%s' is a folder, which --force does not replace: move it away",
                                 path);
    }
    char *copy = strdup(name);
    if (copy == NULL || blx_array_make_room(archive->names, archive->name_count) < 0) {
        free(copy);
        return blx_error_errno(err, -ENOMEM, "cannot write '%s'", path);
    }
    archive->names[archive->name_count++] = copy;
    return 0;
}

static void set_attributes(struct files_archive *archive, const struct files_entry *entry)
{
    for (size_t i = 0; i < entry->attribute_count; i++) {
        const struct files_attribute *attribute = &entry->attributes[i];
        bool users = strncmp(attribute->name, "user.", strlen("user.")) == 0;
        if (files_acl_add(archive->entry, attribute))
            continue;
        /* Others than root may set no other ones. */
        if (users || archive->folder[0] == '\0' || geteuid() == 0)
            archive_entry_xattr_add_entry(archive->entry, attribute->name, attribute->value,
                                          attribute->bytes);
    }
}

/* A file without holes needs no map. */
static void set_segments(struct archive_entry *out, const struct files_entry *entry)
{
    bool whole = entry->segment_count == 1 && entry->segments[0].offset_bytes == 0 &&
                 entry->segments[0].bytes == entry->stat.size_bytes;
    if (!S_ISREG(entry->stat.mode) || entry->link != FILES_LINK_NONE || whole ||
        entry->stat.size_bytes == 0)
        return;
    for (size_t i = 0; i < entry->segment_count; i++)
        archive_entry_sparse_add_entry(out, (la_int64_t)entry->segments[i].offset_bytes,
                                       (la_int64_t)entry->segments[i].bytes);
    if (entry->segment_count == 0) /* one hole */
        archive_entry_sparse_add_entry(out, (la_int64_t)entry->stat.size_bytes, 0);
}

static void set_entry(struct files_archive *archive, const struct files_entry *entry)
{
    struct archive_entry *out = archive->entry;
    const struct files_stat *stat = &entry->stat;
    archive_entry_clear(out);
    archive_entry_set_pathname(out, entry->path);
    archive_entry_set_mode(out, stat->mode);
    archive_entry_set_uid(out, stat->uid);
    archive_entry_set_gid(out, stat->gid);
    archive_entry_set_mtime(out, stat->mtime_s, (long)stat->mtime_ns);
    archive_entry_set_atime(out, stat->atime_s, (long)stat->atime_ns);
    archive_entry_set_size(out, 0);
    if (entry->link == FILES_LINK_HARD) {
        archive_entry_set_hardlink(out, entry->target);
        return;
    }
    if (entry->link == FILES_LINK_SYMBOLIC)
        archive_entry_set_symlink(out, entry->target);
    if (S_ISREG(stat->mode))
        archive_entry_set_size(out, (la_int64_t)stat->size_bytes);
    if (S_ISCHR(stat->mode) || S_ISBLK(stat->mode))
        archive_entry_set_rdev(out, makedev(stat->major, stat->minor));
    set_attributes(archive, entry);
    set_segments(out, entry);
}

/* What lies up to the offset is a hole. */
static int pad(struct files_archive *archive, uint64_t offset_bytes, struct blx_error *err)
{
    while (archive->done_bytes < offset_bytes) {
        uint64_t left = offset_bytes - archive->done_bytes;
        la_ssize_t wrote = archive_write_data(archive->out, archive->zeros,
                                              left < ZEROS_BYTES ? (size_t)left : ZEROS_BYTES);
        if (wrote <= 0)
            return refused(archive, -EIO, err);
        archive->done_bytes += (uint64_t)wrote;
    }
    return 0;
}

/* A hole at the end of the last entry; its times, owner and attributes. */
static int complete(struct files_archive *archive, struct blx_error *err)
{
    if (archive->path[0] == '\0')
        return 0;
    int rc = archive->folder[0] == '\0' ? pad(archive, archive->size_bytes, err) : 0;
    return rc == 0 ? judge(archive, archive_write_finish_entry(archive->out), err) : rc;
}

/* Sockets cannot be kept in an archive, and only whoever listens makes one. */
static int check_kind(const struct files_entry *entry, struct blx_error *err)
{
    if (!S_ISSOCK(entry->stat.mode))
        return 0;
    blx_error_set(err, -EOPNOTSUPP, "'%s' is a socket, and is left out", entry->path);
    return 1;
}

static bool is_text(const struct files_entry *entry)
{
    return mbstowcs(NULL, entry->path, 0) != (size_t)-1 &&
           mbstowcs(NULL, entry->target, 0) != (size_t)-1;
}

int files_archive_add(struct files_archive *archive, const struct files_entry *entry,
                      struct blx_error *err)
{
    int warned = complete(archive, err);
    archive->path[0] = '\0';
    if (warned < 0)
        return warned;
    int rc = check_kind(entry, err);
    if (rc != 0)
        return rc;
    set_entry(archive, entry);
    blx_text_set(archive->path, entry->path);
    archive->size_bytes = (uint64_t)archive_entry_size(archive->entry);
    archive->done_bytes = 0;
    int answer = archive_write_header(archive->out, archive->entry);
    if (answer == ARCHIVE_WARN && archive->folder[0] == '\0' && !is_text(entry))
        answer = ARCHIVE_OK; /* its header says that it is bytes, which is right */
    rc = judge(archive, answer, err);
    if (answer < ARCHIVE_WARN)
        archive->path[0] = '\0'; /* it was not made: its data goes nowhere */
    else
        archive->count++;
    return rc == 0 ? warned : rc;
}

int files_archive_write(struct files_archive *archive, uint64_t offset_bytes, const void *data,
                        size_t bytes, struct blx_error *err)
{
    if (archive->path[0] == '\0')
        return 0;
    if (archive->folder[0] != '\0') {
        la_ssize_t answer =
            archive_write_data_block(archive->out, data, bytes, (la_int64_t)offset_bytes);
        return answer < 0 ? refused(archive, -EIO, err) : 0;
    }
    int rc = pad(archive, offset_bytes, err);
    if (rc == 0 && archive_write_data(archive->out, data, bytes) != (la_ssize_t)bytes)
        rc = refused(archive, -EIO, err);
    archive->done_bytes += bytes;
    return rc == 0 ? judge(archive, ARCHIVE_OK, err) : rc;
}

/* What is not there was left out, which was told. */
static int move_name(const struct files_archive *archive, const char *name, struct blx_error *err)
{
    char path[PATH_MAX];
    unsigned flags = archive->existing == FILES_EXISTING_REFUSE ? RENAME_NOREPLACE : 0;
    int rc = blx_path_format(path, sizeof(path), err, "%s/%s", archive->folder, name);
    if (rc < 0)
        return rc;
    if (renameat2(AT_FDCWD, name, AT_FDCWD, path, flags) == 0 || errno == ENOENT)
        return 0;
    if (flags != 0 && errno == EINVAL) { /* a filesystem that does not know the flag */
        struct stat there;
        if (lstat(path, &there) == 0)
            errno = EEXIST;
        else if (rename(name, path) == 0)
            return 0;
    }
    return blx_error_errno(err, -errno, "cannot put '%s' to its place", path);
}

int files_archive_finish(struct files_archive *archive, struct blx_error *err)
{
    int warned = complete(archive, err);
    archive->path[0] = '\0';
    if (warned < 0)
        return warned;
    int rc = judge(archive, archive_write_close(archive->out), err);
    for (size_t i = 0; rc >= 0 && i < archive->name_count; i++) {
        int moved = move_name(archive, archive->names[i], err);
        rc = moved < 0 ? moved : rc;
    }
    return rc == 0 ? warned : rc;
}

uint64_t files_archive_count(const struct files_archive *archive)
{
    return archive->count;
}

/* Folders may have come without the right to be emptied. */
static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *where)
{
    (void)stat, (void)where;
    if (kind == FTW_D || kind == FTW_DNR)
        chmod(path, 0700);
    return 0;
}

static int remove_last(const char *path, const struct stat *stat, int kind, struct FTW *where)
{
    (void)stat, (void)kind, (void)where;
    remove(path);
    return 0;
}

void files_archive_free(struct files_archive *archive)
{
    if (archive == NULL)
        return;
    archive->fd = -1; /* libarchive ends an archive properly also if it is not complete */
    archive_write_free(archive->out);
    archive_entry_free(archive->entry);
    if (archive->partial[0] != '\0') {
        if (chdir("/") != 0 || nftw(archive->partial, remove_one, HOLD_FDS, FTW_PHYS) != 0 ||
            nftw(archive->partial, remove_last, HOLD_FDS, FTW_PHYS | FTW_DEPTH) != 0)
            rmdir(archive->partial);
    }
    for (size_t i = 0; i < archive->name_count; i++)
        free(archive->names[i]);
    free(archive->names);
    if (archive->zeros != NULL)
        munmap((void *)(uintptr_t)archive->zeros, ZEROS_BYTES);
    free(archive);
}
