/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ext2, ext3 and ext4 by libext2fs. The files of a filesystem that is encrypted by its own means
 * (fscrypt) cannot be read.
 *
 * Threads: one.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "files/source.h"

/* The source is borrowed until the tree is closed. -EBADMSG if it is damaged. */
int files_ext_open(struct files_source *source, uint32_t disk, uint64_t size_bytes,
                   struct files_tree **tree, struct blx_error *err);
