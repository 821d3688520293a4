/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame: a batch of extents of one volume with their data, compressed and checksummed once, by
 * the agent. The same bytes cross the wire, lie in the segment and are checked at restore and by
 * verify; they are never encoded again.
 *
 *     +-----------------+--------------------------------+------------------------------------+
 *     | header          | extent_count extents           | payload: the extents' data in      |
 *     | 64 bytes        | 16 bytes each                  | order, packed by `codec`           |
 *     +-----------------+--------------------------------+------------------------------------+
 *
 * In an encrypted frame the payload is encrypted after packing (crypt/xaes.h), and these lie
 * between extents and payload:
 *
 *     +---------------------------+-----------------------------------------------------------+
 *     | key id, nonce, tag        | a keyed digest of each block that has data                |
 *     | 48 bytes                  | 16 bytes each                                             |
 *     +---------------------------+-----------------------------------------------------------+
 *
 * So the frame can be checked, indexed and compared with a disk without the key. The tag also
 * covers extents, key id, digests and the header, except seq and checksum, which are set later.
 *
 * Zero extents have no data. Everything is little-endian. The checksum (XXH3, 64 bits) covers the
 * whole frame with the checksum field as zero. A frame's name is (volume generation, seq): seq
 * counts from 1 within a generation, in the order of sending, and a later frame's block replaces an
 * earlier frame's.
 *
 * Threads: no shared state. Nothing here blocks or prints.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bitmap.h"
#include "base/error.h"
#include "base/le.h"
#include "crypt/block_digest.h"
#include "crypt/volume_key.h"

enum {
    BLX_FRAME_MAGIC = 0x46584c42, /* "BLXF" */
    BLX_FRAME_VERSION = 1,
    BLX_FRAME_TARGET_BYTES = 256 * 1024,    /* data that a frame is filled with */
    BLX_FRAME_MAX_DATA_BYTES = 1024 * 1024, /* data that a frame may have */
    BLX_FRAME_MAX_EXTENTS = 4096,
    BLX_BLOCK_SHIFT_MIN = 12,        /* 4 KiB */
    BLX_BLOCK_SHIFT_MAX = 18,        /* 256 KiB */
    BLX_VOLUME_MAX_BLOCKS = 1 << 30, /* whole ones; an agent tracks no more */
    BLX_GENERATION_BYTES = 16,
};

enum blx_codec {
    BLX_CODEC_NONE = 0,
    BLX_CODEC_ZLIB = 1,
    BLX_CODEC_ZSTD = 2,
};

enum {
    BLX_EXTENT_ZERO = 1, /* every byte of the extent is zero; it has no data */
};

enum {
    BLX_FRAME_ENCRYPTED = 1, /* flag of a frame */
};

struct blx_frame_header_disk {
    blx_le32 magic;
    uint8_t version;
    uint8_t codec;
    uint8_t block_shift;
    uint8_t flags;
    blx_le32 frame_bytes;
    blx_le32 extent_count;
    blx_le64 seq;
    blx_le32 data_bytes;
    blx_le32 payload_bytes;
    uint8_t generation[BLX_GENERATION_BYTES];
    blx_le64 reserved; /* 0 */
    blx_le64 checksum;
} __attribute__((packed));

struct blx_extent_disk {
    blx_le64 start_block;
    blx_le32 block_count; /* at least 1 */
    blx_le32 flags;
} __attribute__((packed));

/* Follows the extents of an encrypted frame; the digests follow it. */
struct blx_frame_encryption_disk {
    uint8_t key_id[BLX_KEY_ID_BYTES];
    uint8_t nonce[BLX_XAES_NONCE_BYTES];
    uint8_t tag[BLX_XAES_TAG_BYTES];
} __attribute__((packed));

_Static_assert(sizeof(struct blx_frame_header_disk) == 64, "frame header");
_Static_assert(offsetof(struct blx_frame_header_disk, checksum) == 56, "frame header");
_Static_assert(sizeof(struct blx_extent_disk) == 16, "extent");
_Static_assert(sizeof(struct blx_frame_encryption_disk) == 48, "frame encryption");
_Static_assert(offsetof(struct blx_frame_encryption_disk, tag) == 32, "frame encryption");

enum {
    BLX_FRAME_MAX_BYTES =
        (int)sizeof(struct blx_frame_header_disk) +
        BLX_FRAME_MAX_EXTENTS * (int)sizeof(struct blx_extent_disk) +
        (int)sizeof(struct blx_frame_encryption_disk) +
        (BLX_FRAME_MAX_DATA_BYTES >> BLX_BLOCK_SHIFT_MIN) * (int)BLX_BLOCK_DIGEST_BYTES +
        BLX_FRAME_MAX_DATA_BYTES,
};

struct blx_generation {
    uint8_t bytes[BLX_GENERATION_BYTES]; /* all zero: none */
};

/* An extent of a frame. */
struct blx_frame_extent {
    struct blx_extent extent;
    bool zero;
};

/* A frame that was read: a view that borrows the bytes it was parsed from. */
struct blx_frame {
    const uint8_t *bytes;
    size_t frame_bytes;
    enum blx_codec codec;
    unsigned block_shift;
    uint64_t seq;
    struct blx_generation generation;
    uint32_t extent_count;
    uint32_t data_bytes;
    const uint8_t *payload;
    uint32_t payload_bytes;
    struct blx_key_id key_id; /* of the key it is encrypted with; none: it is not encrypted */
    const uint8_t *digests;   /* BLX_BLOCK_DIGEST_BYTES for each block with data; NULL: none came */
    bool is_ciphertext;       /* the payload is, until blx_frame_decrypt() */
};

/*
 * Reads only the header at `bytes` (at least 64 bytes) and checks its sizes, so that a scanner
 * learns how much to read. -EBADMSG if it cannot be a frame.
 */
int blx_frame_peek(const void *bytes, size_t *frame_bytes, struct blx_error *err);

/*
 * Validates a whole frame: magic, version, sizes against the limits, checksum, extents (each at
 * least one block, no overflow, ascending and disjoint, data of the non-zero ones = data_bytes).
 * `frame` borrows `bytes`. -EBADMSG with the reason; -ENOMEM.
 */
int blx_frame_parse(const void *bytes, size_t length, struct blx_frame *frame,
                    struct blx_error *err);

/*
 * The same for a frame whose digests follow it in `bytes`, as FRAME carries it in a session with
 * digests: blx_frame_digest_bytes() of them, exactly. frame->digests is theirs.
 */
int blx_frame_parse_with_digests(const void *bytes, size_t length, struct blx_frame *frame,
                                 struct blx_error *err);

/* The extent number `index` < frame->extent_count of a parsed frame. */
struct blx_frame_extent blx_frame_extent_at(const struct blx_frame *frame, uint32_t index);

/* -EBADMSG unless every extent of the frame lies inside a volume of `volume_blocks` blocks. */
int blx_frame_check_bounds(const struct blx_frame *frame, uint64_t volume_blocks,
                           struct blx_error *err);

/*
 * Makes the payload plain, in place: `bytes` are those that `frame` was parsed from. With a key the
 * frame must be encrypted with it, without one (NULL) it must not be encrypted. -EBADMSG otherwise,
 * or if anything that the tag covers was changed. -EIO if the cryptographic library fails.
 */
int blx_frame_decrypt(struct blx_frame *frame, void *bytes, const struct blx_volume_key *key,
                      struct blx_error *err);

/* Unpacks the payload into `data`, which has frame->data_bytes. -EBADMSG if it unpacks to more or
 * less than that, or is ciphertext. */
int blx_frame_unpack(const struct blx_frame *frame, void *data, struct blx_error *err);

/* The bytes of the digests of a frame's blocks that have data. */
size_t blx_frame_digest_bytes(uint32_t data_bytes, unsigned block_shift);

/*
 * Makes these digests with a volume's keys, in the order of the data. `frame` needs bytes (up to
 * its extents), extent_count and block_shift alone; `data` is what it unpacks to. -ENOMEM, -EIO.
 */
int blx_frame_digest(const struct blx_frame *frame, const void *data,
                     const struct blx_volume_key *key, uint8_t *digests, struct blx_error *err);

/* The parts of a frame. `extents` are ascending and disjoint; `data` is that of the non-zero
 * extents in order. */
struct blx_frame_content {
    enum blx_codec codec;
    int level; /* of zstd, from -5 (fastest) to 9; 0: the default, 1 */
    unsigned block_shift;
    struct blx_generation generation;
    const struct blx_frame_extent *extents;
    uint32_t extent_count;
    const void *data;
    uint32_t data_bytes;
    const struct blx_volume_key *key; /* NULL: do not encrypt */
};

/*
 * Packs `content` into `buffer` (of at least blx_frame_bound(content) bytes) and returns the
 * frame's size in `frame_bytes`. Data that the codec does not make smaller is stored as
 * BLX_CODEC_NONE. The frame is not complete until blx_frame_seal(). -EINVAL for content that
 * blx_frame_parse() would refuse; -ENOMEM; -EIO if encryption fails.
 */
size_t blx_frame_bound(const struct blx_frame_content *content);
int blx_frame_pack(const struct blx_frame_content *content, void *buffer, size_t *frame_bytes,
                   struct blx_error *err);

/* Gives the packed frame its number and its checksum; after that it never changes. (This seal is
 * not encryption; a segment is sealed too.) The sender calls it, in the order of sending. */
void blx_frame_seal(void *buffer, uint64_t seq);

/* "none", "zlib", "zstd" and back; -EINVAL for another text. */
const char *blx_codec_name(enum blx_codec codec);
int blx_codec_parse(const char *text, enum blx_codec *codec, struct blx_error *err);

/* A new random generation (a version 4 UUID) and its text, 36 characters. */
int blx_generation_create(struct blx_generation *generation);
enum { BLX_GENERATION_TEXT_BYTES = 37 };
void blx_generation_format(const struct blx_generation *generation,
                           char text[BLX_GENERATION_TEXT_BYTES]);
bool blx_generation_equal(const struct blx_generation *a, const struct blx_generation *b);
bool blx_generation_is_none(const struct blx_generation *generation);
