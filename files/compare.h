/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was written between two checkpoints: for each disk its bytes, and for ext2, ext3 and ext4
 * the files that have these blocks now, those with most first. The newer checkpoint's filesystem is
 * read, so blocks of files that were removed, of journals and of tables belong to no file.
 *
 * Part of the reader: the filesystem may be hostile. The walk visits each folder and each file with
 * several names once, so it ends for every content.
 *
 * Threads: one.
 */
#pragma once

#include "base/error.h"
#include "files/probe.h"
#include "files/records.h"
#include "files/source.h"

/* `source` is of files_blocks_new(). Ends with END, or with an error that no record tells. A disk
 * that cannot be read is a problem that is told, and the others come all the same. */
int files_compare(struct files_source *source, struct files_probe *probe,
                  struct files_sender *sender, struct blx_error *err);
