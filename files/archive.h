/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a copy goes: below a folder, or into a tar archive (pax, with everything that was found).
 *
 * Below a folder it is first unpacked in a folder of its own there, which nobody else may enter,
 * and each name at the top is moved to its place when all is complete. So nothing is half there,
 * nothing of others is in the way of it, and no link that somebody has put there is followed.
 * libarchive, which knows what systems can keep of an owner, an ACL or a hole, also refuses to
 * leave that folder.
 *
 * Only root gives files to other users and makes devices; for others the files become their own,
 * and what they may not make is told.
 *
 * Threads: one. Blocks on the disk.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "files/records.h"

enum files_existing { FILES_EXISTING_REFUSE, FILES_EXISTING_REPLACE };

struct files_archive;

/* The folder exists. -errno, named. */
int files_archive_to_folder(const char *folder, enum files_existing existing,
                            struct files_archive **archive, struct blx_error *err);

/* To a descriptor, which is borrowed. */
int files_archive_to_tar(int fd, struct files_archive **archive, struct blx_error *err);

/* A name at the top. -EEXIST if the folder has it and it is to stay. */
int files_archive_expect(struct files_archive *archive, const char *name, struct blx_error *err);

/* The data of the last entry is complete when the next one begins. 1: it was not made as it was;
 * `err` says what is wrong with it. */
int files_archive_add(struct files_archive *archive, const struct files_entry *entry,
                      struct blx_error *err);
int files_archive_write(struct files_archive *archive, uint64_t offset_bytes, const void *data,
                        size_t bytes, struct blx_error *err);

/* Everything came: completes the archive, or puts the names to their places. 1 as above. */
int files_archive_finish(struct files_archive *archive, struct blx_error *err);

uint64_t files_archive_count(const struct files_archive *archive);

/* Removes what was not finished. NULL is allowed. */
void files_archive_free(struct files_archive *archive);
