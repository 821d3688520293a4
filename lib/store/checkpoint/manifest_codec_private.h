/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A manifest's bytes. Private to lib/store.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "store/checkpoint/manifest.h"

enum { BLX_MANIFEST_MAX_BYTES = 256 * 1024 * 1024 };

/* A new buffer that the caller frees. -EINVAL if the manifest is not sound, -ENOMEM. */
int blx_manifest_encode(const struct blx_manifest *manifest, void **content, size_t *bytes,
                        struct blx_error *err);

/* -EBADMSG if the bytes are no sound manifest; `content` is changed for a moment while its
 * checksum is taken. */
int blx_manifest_decode(void *content, size_t bytes, struct blx_manifest *manifest,
                        struct blx_error *err);
