/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disks of a checkpoint as the reader of filesystems sees them: each partition, and each disk
 * without any. They are told by the names that the server gave them.
 *
 * Threads: one.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "files/tree.h"
#include "store/view/partitions.h"

enum { FILES_MAX_DISKS = 1024, FILES_DEVICE_BYTES = 256 };

struct files_disk {
    char device[FILES_DEVICE_BYTES]; /* "/dev/vda2" */
    char alias[FILES_DEVICE_BYTES];  /* another name of it; "": none */
    char image[FILES_DEVICE_BYTES];  /* as a mount of the checkpoint calls it; "": not at all */
    char part_id[BLX_PARTITION_ID_BYTES]; /* "": none */
    uint64_t size_bytes;
    bool is_wanted; /* --device names it, or the disk that it lies on; or there is no --device */
};

/* The failure of open() if only a kernel reads it, and of whatever that leads to. */
#define FILES_ONLY_A_KERNEL (-EMEDIUMTYPE)

struct files_source;

struct files_source_kind {
    /* The caller frees the array. */
    int (*list)(struct files_source *source, struct files_disk **disks, size_t *count,
                struct blx_error *err);
    /* Fills `buffer` from the disk with that number. -EBADMSG, with the reason, for damage. */
    int (*read)(struct files_source *source, uint32_t disk, void *buffer, size_t bytes,
                uint64_t offset_bytes, struct blx_error *err);
    /* `filesystem` is as libblkid calls it. FILES_ONLY_A_KERNEL if it is not read this way,
     * -EOPNOTSUPP if it is no filesystem that can be read at all. */
    int (*open)(struct files_source *source, uint32_t disk, uint64_t size_bytes,
                const char *filesystem, struct files_tree **tree, struct blx_error *err);
};

struct files_source {
    const struct files_source_kind *kind;
};
