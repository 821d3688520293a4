/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libext2fs reads goes through a disk of a source, over a small cache. How much may be read is
 * granted for each call of the tree, so that no structure of a hostile filesystem, such as an
 * extent tree that leads to itself, keeps the reader busy for ever.
 *
 * Threads: one.
 */
#pragma once

#include <ext2fs/ext2fs.h>
#include <stdint.h>

#include "base/error.h"
#include "files/ext_journal_private.h"
#include "files/source.h"

struct ext_io;

/* NULL: no memory. To be freed after the filesystem was closed. */
struct ext_io *ext_io_new(struct files_source *source, uint32_t disk, uint64_t size_bytes);
void ext_io_free(struct ext_io *io);

/* From now on these blocks are read from the places that the table says, which count on the disk
 * here. Takes the table over. */
void ext_io_lay(struct ext_io *io, struct ext_journal_table *table, uint32_t block_bytes);

/* Opens the filesystem through it. */
errcode_t ext_io_open(struct ext_io *io, int flags, ext2_filsys *fs);

/* Grants the reads of one call, and forgets the last failure. */
void ext_io_grant(struct ext_io *io);

/* Takes `bytes` of the disk. Errors are the source's. */
int ext_io_read(struct ext_io *io, void *buffer, size_t bytes, uint64_t offset_bytes);

/* The message for an error of libext2fs: the source's own, if that failed. -EBADMSG, -ENOMEM or
 * the source's number. */
int ext_io_explain(struct ext_io *io, errcode_t code, const char *action, struct blx_error *err);
