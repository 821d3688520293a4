/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's /etc/fstab: which disk was mounted where. It is the server's word, and decides about
 * nothing but where a path leads.
 *
 * Threads: no shared state.
 */
#pragma once

#include <stddef.h>

#include "files/tree.h"

enum files_fstab_by {
    FILES_FSTAB_BY_DEVICE,
    FILES_FSTAB_BY_UUID,
    FILES_FSTAB_BY_LABEL,
    FILES_FSTAB_BY_PARTUUID,
};

struct files_fstab_entry {
    char *path; /* owned, as all texts: absolute, no slash at its end except for "/" */
    char *text; /* as it is written: "UUID=..." */
    char *what; /* "..." */
    enum files_fstab_by by;
};

struct files_fstab {
    struct files_fstab_entry *entries; /* owned; disks only: neither nfs nor tmpfs */
    size_t count;
};

void files_fstab_done(struct files_fstab *fstab);

/* Of a text. Lines that make no sense are passed over. -ENOMEM. */
int files_fstab_parse(const char *text, size_t bytes, struct files_fstab *fstab);

/* Of a file. -EFBIG if it is impossibly large. */
int files_fstab_read(struct files_tree *tree, struct files_node node, const struct files_stat *stat,
                     struct files_fstab *fstab);
