/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint as it lies in a copy elsewhere (a folder, an object store). It stands by itself: its
 * manifest names for each volume, carried ones too, all segments down to the base, and beside each
 * segment stands the object that holds it. So no other checkpoint of the copy is needed to read it,
 * and nothing that happens here later changes it. STORE.md ("Copies elsewhere") has the bytes.
 *
 * A key says where an object lies, and has its content's hash: whoever reads it compares them.
 *
 *     agents/ID/volumes/VOLUME/NNNNNNNN-HASH.seg     a segment
 *     agents/ID/checkpoints/TIMESTAMP-HASH           a checkpoint, written last
 *
 * Threads: a checkpoint belongs to one. Nothing here blocks.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/timestamp.h"
#include "store/checkpoint/manifest.h"

enum {
    BLX_COPIED_HASH_BYTES = 32,                           /* SHA-256 */
    BLX_COPIED_HASH_TEXT = 2 * BLX_COPIED_HASH_BYTES + 1, /* in hex, with the NUL */
    BLX_COPIED_KEY_BYTES = 2 * BLX_NAME_BYTES + 128,      /* the longest key, with the NUL */
    BLX_COPIED_MAX_BYTES = 64 << 20,                      /* of a checkpoint */
};

/* What keeps an object from being deleted. The weaker one is the smaller. */
enum blx_copied_lock {
    BLX_COPIED_NOT_LOCKED = 0,
    BLX_COPIED_GOVERNANCE, /* who has a special right may lift it */
    BLX_COPIED_COMPLIANCE, /* nobody may */
};
enum { BLX_COPIED_LOCKS = BLX_COPIED_COMPLIANCE + 1 };

struct blx_copied_object {
    uint8_t hash[BLX_COPIED_HASH_BYTES];
    uint64_t bytes;
    int64_t locked_until_s; /* since 1970, when the checkpoint was copied; 0: not locked */
    uint64_t tail_bytes;    /* the index and the footer, which are enough to plan; 0: not known */
    uint8_t tail_hash[BLX_COPIED_HASH_BYTES]; /* of these bytes */
};

struct blx_copied {
    struct blx_manifest manifest; /* owned; each entry is a base, and has no parent */
    uint64_t copied_realtime_ns;
    enum blx_copied_lock lock; /* the weakest that one of the objects has; not known of an older
                                  program's copy, which counts as none */
    struct blx_copied_object *objects; /* owned; of the entries' segments, in their order */
    size_t object_count;
};

void blx_copied_done(struct blx_copied *copied);
#define BLX_CLEANUP_COPIED BLX_CLEANUP(blx_copied_done)

/* The objects of one of the manifest's entries: as many as it has segments. */
struct blx_copied_object *blx_copied_of(const struct blx_copied *copied,
                                        const struct blx_manifest_volume *entry);

/* A new buffer that the caller frees. -EINVAL if it is not sound, -EFBIG, -ENOMEM. */
int blx_copied_encode(const struct blx_copied *copied, void **content, size_t *bytes,
                      struct blx_error *err);

/* -EBADMSG if the bytes are no sound checkpoint, -ENOTSUP for a newer format; `content` is changed
 * for a moment while its checksums are taken. */
int blx_copied_decode(void *content, size_t bytes, struct blx_copied *copied,
                      struct blx_error *err);

/* A segment's key. -ENAMETOOLONG never happens with names that blx_name_check() takes. */
void blx_copied_segment_key(char key[BLX_COPIED_KEY_BYTES], const char *agent_id,
                            const char *volume, uint32_t number,
                            const struct blx_copied_object *object);

/* A checkpoint's key. */
void blx_copied_checkpoint_key(char key[BLX_COPIED_KEY_BYTES], const char *agent_id,
                               blx_timestamp timestamp, const uint8_t hash[BLX_COPIED_HASH_BYTES]);

/* What the last part of a checkpoint's key says. -EINVAL: it is no such key. */
int blx_copied_parse_name(const char *name, blx_timestamp *timestamp,
                          uint8_t hash[BLX_COPIED_HASH_BYTES]);

/* The hash in the last part of a segment's key. -EINVAL: it is no such key. */
int blx_copied_parse_segment(const char *name, uint8_t hash[BLX_COPIED_HASH_BYTES]);

/* The hash in hex. */
void blx_copied_hash_text(const uint8_t hash[BLX_COPIED_HASH_BYTES],
                          char text[BLX_COPIED_HASH_TEXT]);
