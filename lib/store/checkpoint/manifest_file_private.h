/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folder with an agent's manifests, for a reader of many. Private to lib/store.
 *
 * Threads: an open folder may be read from several. Waits for the disk.
 */
#pragma once

#include "store/checkpoint/manifest_file.h"

/* Where an agent's manifests lie. */
struct blx_manifest_folder {
    int fd; /* of O_PATH; the caller of _open() closes it */
    char path[PATH_MAX];
};

int blx_manifest_folder_open(struct blx_agent_store agent, struct blx_manifest_folder *folder,
                             struct blx_error *err);

/* blx_manifest_read() for a reader of many. Most manifests are small: each takes three system calls
 * and no search for the folder, which with ten thousand of them is half of all work. */
int blx_manifest_read_in(const struct blx_manifest_folder *folder, blx_timestamp timestamp,
                         struct blx_manifest *manifest, struct blx_error *err);
