/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk as a power cut sees it: what a folder's files and names are for sure, and what has been
 * done to them since and was not flushed. From these a state is made that a cut may leave.
 *
 * A file's writes, cuts and holes are pending until fsync or fdatasync of the file; a folder's new,
 * renamed and removed names until fsync of the folder. That is what POSIX promises, and less than
 * most filesystems keep: a file's fsync makes no name durable here, and names that one folder got
 * without an fsync in between may be kept or lost each by itself. A rename is kept or lost as one.
 *
 * Threads: one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct disk;

/* What of the pending changes a cut keeps. */
enum disk_kept {
    DISK_NOTHING,
    DISK_ALL,
    DISK_NAMES, /* and no file's bytes */
    DISK_BYTES, /* and no folder's names */
    DISK_ANY,   /* any names; any bytes, torn where a sector of 512 bytes ends */
    DISK_KEPT_COUNT
};

/* The folder as it is, all of it durable. Freed by disk_free(). */
struct disk *disk_load(const char *root);
void disk_free(struct disk *disk);

/* Notes of calls that succeeded. Paths that do not lie below the root, and descriptors of files
 * that do not, are ignored. */
void disk_note_created(struct disk *disk, const char *path);
void disk_note_write(struct disk *disk, int fd, const void *bytes, size_t length, uint64_t offset);
void disk_note_size(struct disk *disk, int fd, uint64_t size);
void disk_note_hole(struct disk *disk, int fd, uint64_t offset, uint64_t length);
void disk_note_rename(struct disk *disk, const char *from, const char *to);
void disk_note_unlink(struct disk *disk, const char *path);
void disk_note_flush(struct disk *disk, int fd);

/* Whether the path lies below the root. */
int disk_has(const struct disk *disk, const char *path);

/* Changes that a cut may lose now. */
size_t disk_count_pending(const struct disk *disk);

/* Makes the empty folder `into` what a cut may leave now. `random` is used for DISK_ANY. */
void disk_cut(const struct disk *disk, enum disk_kept kept, uint64_t *random, const char *into);

/* The pending changes, one a line, for a report. */
void disk_print_pending(const struct disk *disk, FILE *out);
