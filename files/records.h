/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the reader of a server's filesystem tells the process that writes it out: a stream of
 * records through a pipe. The reader works on hostile input and may have been taken over, so
 * whoever takes records believes nothing of them: each is bounded and checked, and a stream that
 * breaks a rule ends the copy.
 *
 *     TOP path ...                      every name that will come at the top, before the rest
 *     HEADING path, device, filesystem  a listing: what follows lies there
 *     ENTRY                             a file, folder, link, ...
 *     DATA offset, bytes                of the last entry, ascending, all of its segments
 *     CHANGES disk                      of a comparison: what was written of a disk
 *     CHANGED path, bytes               of that disk, those with most bytes first
 *     NOTE text, PROBLEM text           a remark; something that is not as it was
 *     END                               nothing is missing
 *     FAILED text                       in place of END
 *     KERNEL text                       in place of everything: only a kernel reads it
 *
 * Paths have no leading slash and no component "." or "..". The first entry is the first top, and
 * each entry is the next top or lies in a folder that is being told: the last folder, or one that
 * this lies in. So nothing can lie below a symbolic link. A hard link leads to an entry that came
 * before.
 *
 * Threads: a sender and a receiver belong to one thread each. They block on the pipe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    FILES_PATH_BYTES = 4096, /* with the NUL */
    FILES_TEXT_BYTES = 1024,
    FILES_DATA_MAX_BYTES = 256 << 10,
    FILES_MAX_ATTRIBUTES = 256,
    FILES_ATTRIBUTE_MAX_BYTES = 64 << 10,
    FILES_ATTRIBUTES_MAX_BYTES = 512 << 10, /* of one entry, names included */
    FILES_MAX_SEGMENTS = 32768,
    FILES_MAX_TOPS = 65536,
    FILES_RECORD_MAX_BYTES = 2 << 20,
};

/* No filesystem that is read has larger files. */
#define FILES_MAX_SIZE_BYTES (UINT64_C(1) << 60)

enum files_record_kind {
    FILES_RECORD_TOP = 1,
    FILES_RECORD_HEADING,
    FILES_RECORD_ENTRY,
    FILES_RECORD_DATA,
    FILES_RECORD_NOTE,
    FILES_RECORD_PROBLEM,
    FILES_RECORD_END,
    FILES_RECORD_FAILED,
    FILES_RECORD_KERNEL,
    FILES_RECORD_CHANGES,
    FILES_RECORD_CHANGED,
};

enum { FILES_MOST_FILES = 100 }; /* CHANGED of a disk */

/* What was written of a disk. As the reader says, bounded by its size. */
struct files_changes {
    char device[256], filesystem[32];
    uint64_t size_bytes, written_bytes;
    uint64_t files_bytes, file_count; /* of these, in files and folders that are there now */
    uint32_t tells_files;             /* 0: no file of it is told */
    uint32_t reserved;
};

struct files_changed {
    const char *path; /* from the filesystem's root */
    uint64_t written_bytes, size_bytes;
};

struct files_stat {
    uint32_t mode; /* as in stat(2) */
    uint32_t uid, gid, links;
    uint32_t major, minor; /* of a device */
    uint32_t mtime_ns, atime_ns;
    int64_t mtime_s, atime_s;
    uint64_t size_bytes;
};

/* Whether it is a file, folder, link, ... */
bool files_mode_is_known(uint32_t mode);

/* Whether a copy can keep an attribute of that name, which is a text. */
bool files_attribute_is_known(const char *name);

/* A part of a file that is no hole. */
struct files_segment {
    uint64_t offset_bytes, bytes;
};

struct files_attribute {
    const char *name; /* "user.x"; "system.posix_acl_access" as the kernel gives it */
    const void *value;
    size_t bytes;
};

enum files_link { FILES_LINK_NONE, FILES_LINK_SYMBOLIC, FILES_LINK_HARD };

struct files_entry {
    struct files_stat stat;
    enum files_link link;
    const char *path, *target; /* the target: "" without a link */
    const struct files_attribute *attributes;
    size_t attribute_count;
    const struct files_segment *segments; /* ascending, disjoint, within the size */
    size_t segment_count;
};

struct files_sender {
    int fd;
    uint8_t *buffer; /* owned: FILES_RECORD_MAX_BYTES */
    size_t used;
};

/* -ENOMEM. */
int files_sender_init(struct files_sender *sender, int fd);
void files_sender_done(struct files_sender *sender);

/* Each returns 0, or -errno of the pipe; -EPIPE if nobody reads. */
int files_send_text(struct files_sender *sender, enum files_record_kind kind, const char *text);
int files_send_heading(struct files_sender *sender, const char *path, const char *device,
                       const char *filesystem);
/* -E2BIG if it exceeds the bounds above. */
int files_send_entry(struct files_sender *sender, const struct files_entry *entry);
int files_send_data(struct files_sender *sender, uint64_t offset_bytes, const void *data,
                    size_t bytes);
int files_send_changes(struct files_sender *sender, const struct files_changes *changes);
int files_send_changed(struct files_sender *sender, const char *path, uint64_t written_bytes,
                       uint64_t size_bytes);
int files_send_end(struct files_sender *sender);

/* A record's content, in the receiver's memory until the next one is taken. */
struct files_record {
    enum files_record_kind kind;
    const char *text;                /* of all but ENTRY, DATA, END: TOP's and HEADING's path */
    const char *device, *filesystem; /* HEADING */
    struct files_entry entry;        /* ENTRY */
    const void *data;                /* DATA */
    size_t bytes;
    uint64_t offset_bytes;
    struct files_changes changes; /* CHANGES */
    struct files_changed changed; /* CHANGED */
};

struct files_receiver;

/* NULL: no memory. The descriptor is borrowed. */
struct files_receiver *files_receiver_new(int fd);
void files_receiver_free(struct files_receiver *receiver);

/* -EBADMSG if the stream breaks a rule; -ENODATA if it ends before END or FAILED; -EINTR if a
 * signal came; -ENOMEM. */
int files_receive(struct files_receiver *receiver, struct files_record *record,
                  struct blx_error *err);
