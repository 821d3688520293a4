/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What distributions pack of a kernel, unpacked by libarchive. The files are this host's own.
 *
 * Threads: no shared state. Blocks on the disk.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"

/* A module, by whatever it is packed. The caller frees the content. -EIO, -ENOMEM. */
int files_unpack_module(const char *path, void **content, size_t *bytes, struct blx_error *err);

/*
 * The kernel in a bzImage, which QEMU can start as it is (PVH): an emulated processor would unpack
 * it many times more slowly than this one. The caller frees the content. -ENOEXEC if it is packed
 * in another way or cannot be started so; then the bzImage itself can.
 */
int files_unpack_kernel(const void *image, size_t image_bytes, void **content, size_t *bytes);
