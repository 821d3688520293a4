/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A manifest's bytes and file. Private to lib/store.
 */
#pragma once

#include <limits.h>

#include "store/checkpoint/manifest.h"

enum { BLX_MANIFEST_MAX_BYTES = 256 * 1024 * 1024 };

/* A new buffer that the caller frees. -EINVAL where the manifest is not sound, -ENOMEM. */
int blx_manifest_encode(const struct blx_manifest *manifest, void **content, size_t *bytes,
                        struct blx_error *err);

/* Where an agent's manifests lie. */
struct blx_manifest_folder {
    int fd; /* of O_PATH; whoever opened the folder closes it */
    char path[PATH_MAX];
};

int blx_manifest_folder_open(const struct blx_store *store, const char *agent_id,
                             struct blx_manifest_folder *folder, struct blx_error *err);

/* blx_manifest_read() for who reads many. Most manifests are small: those take three system calls
 * and no search for the folder, which with ten thousand of them is half of all work. */
int blx_manifest_read_in(const struct blx_manifest_folder *folder, blx_timestamp timestamp,
                         struct blx_manifest *manifest, struct blx_error *err);

/* -EBADMSG where the bytes are no sound manifest; `content` is changed for a moment while its
 * checksum is taken. */
int blx_manifest_decode(void *content, size_t bytes, struct blx_manifest *manifest,
                        struct blx_error *err);
