/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which filesystem a disk holds, by libblkid. The disk's begin is laid into a file in memory,
 * because libblkid wants a descriptor and the reader's jail has none of a disk. A mark at the end,
 * such as that of an old mirror of md, is not seen: what it mirrors is found.
 *
 * Threads: one.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "files/source.h"

struct files_signature {
    char filesystem[32]; /* "ext4", "LVM2_member"; "": nothing that is known */
    char uuid[64], label[128];
};

struct files_probe;

/* Called before the jail, in which the file in memory has the descriptor `fd`. */
int files_probe_new(int fd, struct files_probe **probe, struct blx_error *err);
void files_probe_free(struct files_probe *probe);

int files_probe_look(struct files_probe *probe, struct files_source *source, uint32_t disk,
                     uint64_t size_bytes, struct files_signature *signature, struct blx_error *err);
