/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of the store's files; STORE.md explains them. Private to lib/store.
 *
 * Each struct carries a magic, a version and an XXH3 checksum over its bytes with the checksum
 * field as zero. Codecs copy with memcpy; no foreign buffer is cast to anything wider than these
 * packed types.
 *
 * Threads: no shared state.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/le.h"
#include "wire/message.h"

enum {
    BLX_SEGMENT_MAGIC = 0x53584c42,   /* "BLXS" */
    BLX_FOOTER_MAGIC = 0x45584c42,    /* "BLXE" */
    BLX_MANIFEST_MAGIC = 0x4d584c42,  /* "BLXM" */
    BLX_VOLUME_MAGIC = 0x56584c42,    /* "BLXV" */
    BLX_DIGEST_MAGIC = 0x44584c42,    /* "BLXD" */
    BLX_TESTED_MAGIC = 0x54584c42,    /* "BLXT" */
    BLX_COPIED_MAGIC = 0x43584c42,    /* "BLXC" */
    BLX_COPIES_MAGIC = 0x4f584c42,    /* "BLXO" */
    BLX_RATIOS_MAGIC = 0x52584c42,    /* "BLXR" */
    BLX_HISTORY_MAGIC = 0x48584c42,   /* "BLXH" */
    BLX_SUSPICION_MAGIC = 0x55584c42, /* "BLXU" */
    BLX_LAYOUT_VERSION = 1,
    BLX_MANIFEST_VERSION = 2,  /* of manifests with carried volumes; the others have version 1 */
    BLX_SEGMENT_VERSION = 2,   /* of segments that may have digests; version 1 is read, too */
    BLX_SEGMENT_REWRITTEN = 1, /* flag of a segment's header and footer */
    BLX_INDEX_ZERO = 1,        /* flags of an index entry */
    BLX_INDEX_DIGESTS = 2,     /* not in version 1 */
    BLX_VOLUME_BASE = 1,       /* flags of a manifest's volume */
    BLX_VOLUME_CLEARING = 2,
    BLX_VOLUME_ENCRYPTED = 4,
    BLX_VOLUME_DISTRUSTED = 1, /* flag of a volume file */
    BLX_HISTORY_SUSPICIOUS = 1 /* flag of a row of the history */
};

struct blx_segment_header_disk {
    blx_le32 magic;
    uint8_t version;
    uint8_t block_shift;
    uint8_t flags;
    uint8_t reserved;
    blx_le32 number;
    uint8_t reserved2[12];
    blx_le64 checksum;
} __attribute__((packed));
_Static_assert(sizeof(struct blx_segment_header_disk) == 32, "segment header");
_Static_assert(offsetof(struct blx_segment_header_disk, checksum) == 24, "segment header");

struct blx_index_entry_disk {
    blx_le64 start_block;
    blx_le64 block_count;
    blx_le64 frame_offset;
    blx_le32 frame_bytes;
    blx_le32 data_block;
    blx_le32 flags;
} __attribute__((packed));
_Static_assert(sizeof(struct blx_index_entry_disk) == 36, "index entry");

struct blx_segment_footer_disk {
    blx_le32 magic;
    uint8_t version;
    uint8_t block_shift;
    uint8_t flags;
    uint8_t reserved;
    blx_le32 number;
    blx_le32 digest_count; /* reserved in version 1, as are the other fields about digests */
    blx_le64 index_offset;
    blx_le64 index_count;
    blx_le64 frame_count;
    blx_le64 changed_blocks;
    blx_le64 stored_bytes;
    blx_le64 first_seq;
    blx_le64 last_seq;
    uint8_t generation[BLX_GENERATION_BYTES];
    blx_le64 index_checksum;
    uint8_t key_id[BLX_KEY_ID_BYTES];
    uint8_t digest_key_id[BLX_KEY_ID_BYTES];
    blx_le64 digests_checksum;
    blx_le64 checksum;
} __attribute__((packed));
_Static_assert(sizeof(struct blx_segment_footer_disk) == 128, "segment footer");
_Static_assert(offsetof(struct blx_segment_footer_disk, index_checksum) == 88, "segment footer");
_Static_assert(offsetof(struct blx_segment_footer_disk, key_id) == 96, "segment footer");
_Static_assert(offsetof(struct blx_segment_footer_disk, digest_count) == 12, "segment footer");
_Static_assert(offsetof(struct blx_segment_footer_disk, digest_key_id) == 104, "segment footer");
_Static_assert(offsetof(struct blx_segment_footer_disk, checksum) == 120, "segment footer");

struct blx_digest_key_disk {
    blx_le32 magic;
    uint8_t version;
    uint8_t reserved[3];
    uint8_t secret[BLX_KEY_BYTES];
    blx_le64 checksum;
} __attribute__((packed));
_Static_assert(sizeof(struct blx_digest_key_disk) == 48, "digest key");

/* The digests of a frame of the open segment follow it. */
struct blx_digest_record_disk {
    blx_le64 checksum; /* of the whole record, with the frame's own checksum in this place */
    uint8_t key_id[BLX_KEY_ID_BYTES];
} __attribute__((packed));
_Static_assert(sizeof(struct blx_digest_record_disk) == 16, "record of digests");

struct blx_volume_file_disk {
    blx_le32 magic;
    uint8_t version;
    uint8_t block_shift;
    uint8_t flags;
    uint8_t reserved;
    blx_le32 full_since;
    blx_le32 rescan_since;
    blx_le64 size_bytes;
    blx_le64 seq_before;
    blx_le64 full_after;
    uint8_t generation[BLX_GENERATION_BYTES];
    char device[BLX_TEXT_BYTES];
    char identity[BLX_TEXT_BYTES];
    blx_le64 checksum;
} __attribute__((packed));
_Static_assert(sizeof(struct blx_volume_file_disk) == 576, "volume file");
_Static_assert(offsetof(struct blx_volume_file_disk, checksum) == 568, "volume file");

struct blx_manifest_disk {
    blx_le32 magic;
    uint8_t version;
    uint8_t consistency;
    blx_le16 cut_flags; /* programs of before wrote 0, and ignore it */
    blx_le64 timestamp;
    blx_le64 parent;
    blx_le64 agent_realtime_ns;
    blx_le64 committed_realtime_ns;
    blx_le64 freeze_ns;
    blx_le32 volume_count;
    blx_le32 carried_count; /* reserved in version 1 */
    char note[BLX_TEXT_BYTES];
    blx_le64 checksum; /* of the whole file */
} __attribute__((packed));
_Static_assert(sizeof(struct blx_manifest_disk) == 320, "manifest");
_Static_assert(offsetof(struct blx_manifest_disk, checksum) == 312, "manifest");

enum { BLX_VOLUME_NAME_DISK_BYTES = 72 };

struct blx_manifest_volume_disk {
    char name[BLX_VOLUME_NAME_DISK_BYTES];
    char device[BLX_TEXT_BYTES];
    char identity[BLX_TEXT_BYTES];
    uint8_t generation[BLX_GENERATION_BYTES];
    blx_le64 size_bytes;
    blx_le64 last_seq;
    blx_le64 changed_bytes;
    blx_le64 stored_bytes;
    uint8_t block_shift;
    uint8_t flags;
    uint8_t reserved[2];
    blx_le32 next_segment;
    blx_le32 segment_count;
    blx_le32 unreadable_count;
    /* segment_count times blx_le32 and unreadable_count times blx_manifest_extent_disk follow, and
     * the key's id if it is encrypted */
} __attribute__((packed));
_Static_assert(sizeof(struct blx_manifest_volume_disk) == 648, "manifest volume");
_Static_assert(offsetof(struct blx_manifest_volume_disk, unreadable_count) == 644,
               "manifest volume");

struct blx_manifest_extent_disk {
    blx_le64 start_block;
    blx_le64 block_count;
} __attribute__((packed));
_Static_assert(sizeof(struct blx_manifest_extent_disk) == 16, "manifest extent");
_Static_assert((int)BLX_NAME_BYTES <= (int)BLX_VOLUME_NAME_DISK_BYTES, "manifest volume");

enum {
    BLX_TESTED_EXPECT_BYTES = 256,
    BLX_TESTED_COMMAND_BYTES = 384,
    BLX_TESTED_TEXT_BYTES = 512,
    BLX_TESTED_SCREEN_BYTES = 2368,
    BLX_TESTED_CHECKS_DISK = 4,
};

struct blx_tested_disk {
    blx_le32 magic;
    uint8_t version;
    uint8_t level;
    uint8_t machine;
    uint8_t reserved;
    uint8_t results[BLX_TESTED_CHECKS_DISK]; /* filesystem, boot, services, command */
    uint8_t reserved2[4];
    blx_le64 checkpoint;
    blx_le64 begun_realtime_ns;
    blx_le64 took_ms;
    blx_le64 booted_ms;
    blx_le64 within_ms;
    blx_le64 checksum; /* of the whole file */
    char expect[BLX_TESTED_EXPECT_BYTES];
    char command[BLX_TESTED_COMMAND_BYTES];
    char seen[BLX_TESTED_TEXT_BYTES];
    char reason[BLX_TESTED_TEXT_BYTES];
    char screen[BLX_TESTED_SCREEN_BYTES]; /* the one text with line feeds */
} __attribute__((packed));
_Static_assert(sizeof(struct blx_tested_disk) == 4096, "record of a test");
_Static_assert(offsetof(struct blx_tested_disk, checksum) == 56, "record of a test");

/* What each block of a volume was packed to: a byte a block follows, from byte 4096 on. */
struct blx_ratios_disk {
    blx_le32 magic;
    uint8_t version;
    uint8_t block_shift;
    uint8_t reserved[2];
    blx_le64 checkpoint; /* that it shows; 0: none */
    blx_le64 data_blocks;
    blx_le64 hard_blocks;
    blx_le64 checksum; /* of these bytes */
    uint8_t reserved2[24];
} __attribute__((packed));
_Static_assert(sizeof(struct blx_ratios_disk) == 64, "map of ratios");
_Static_assert(offsetof(struct blx_ratios_disk, checksum) == 32, "map of ratios");

enum { BLX_CHANGE_FIGURES_DISK = 10, BLX_SUSPICION_REASON_BYTES = 384 };

/* A row of the history of an agent's changes. */
struct blx_history_row_disk {
    blx_le32 magic;
    uint8_t version;
    uint8_t flags;
    uint8_t reserved[2];
    blx_le64 checkpoint;
    blx_le64 checksum;
    blx_le64 figures[BLX_CHANGE_FIGURES_DISK];
    uint8_t reserved2[24];
} __attribute__((packed));
_Static_assert(sizeof(struct blx_history_row_disk) == 128, "row of the history");
_Static_assert(offsetof(struct blx_history_row_disk, checksum) == 16, "row of the history");

struct blx_suspicion_disk {
    blx_le32 magic;
    uint8_t version;
    uint8_t kind; /* 1 hardened, 2 slow, 3 fresh */
    uint8_t sensitivity;
    uint8_t reserved;
    blx_le64 checkpoint;
    blx_le64 since;
    blx_le64 calm;
    blx_le64 judged_realtime_ns;
    blx_le64 checksum; /* of the whole file */
    blx_le64 figures[BLX_CHANGE_FIGURES_DISK];
    char reason[BLX_SUSPICION_REASON_BYTES];
} __attribute__((packed));
_Static_assert(sizeof(struct blx_suspicion_disk) == 512, "mark of a suspicious checkpoint");
_Static_assert(offsetof(struct blx_suspicion_disk, checksum) == 40,
               "mark of a suspicious checkpoint");

/* A checkpoint in a copy elsewhere: its manifest follows, then object_count times
 * blx_copied_object_disk. */
struct blx_copied_disk {
    blx_le32 magic;
    uint8_t version;
    uint8_t lock; /* the weakest of the objects'; programs of before wrote 0, and ignore it */
    uint8_t reserved[2];
    blx_le32 manifest_bytes;
    blx_le32 object_count;
    blx_le64 copied_realtime_ns;
    blx_le64 checksum; /* of everything */
} __attribute__((packed));
_Static_assert(sizeof(struct blx_copied_disk) == 32, "copied checkpoint");
_Static_assert(offsetof(struct blx_copied_disk, checksum) == 24, "copied checkpoint");

struct blx_copied_object_disk {
    uint8_t hash[32];
    blx_le64 bytes;
    blx_le64 locked_until_s;
} __attribute__((packed));
_Static_assert(sizeof(struct blx_copied_object_disk) == 48, "copied object");

/* From version 2 on; one for each object follows them. */
struct blx_copied_tail_disk {
    uint8_t hash[32];
    blx_le64 bytes;
} __attribute__((packed));
_Static_assert(sizeof(struct blx_copied_tail_disk) == 40, "copied object's tail");

/* What the last copy of an agent came to. */
struct blx_elsewhere_disk {
    blx_le32 magic;
    uint8_t version;
    uint8_t lock;
    uint8_t reserved[2];
    blx_le64 newest;
    blx_le64 copied_s;
    blx_le64 locked_until_s;
    blx_le64 tried_s;
    blx_le64 strange_newest;
    blx_le64 strange_count;
    blx_le64 retained_s;
    char place[BLX_TEXT_BYTES];
    char not_locked[BLX_TEXT_BYTES];
    char failure[BLX_TEXT_BYTES];
    blx_le64 checksum;
} __attribute__((packed));
_Static_assert(sizeof(struct blx_elsewhere_disk) == 840, "copy elsewhere");
_Static_assert(offsetof(struct blx_elsewhere_disk, checksum) == 832, "copy elsewhere");

/* XXH3 of `bytes` bytes, of which the 8 at `checksum_offset` count as zero (they are zeroed and put
 * back: one thread at a time). */
uint64_t blx_layout_checksum(void *data, size_t bytes, size_t checksum_offset);

/* XXH3 of everything. */
uint64_t blx_layout_checksum_all(const void *data, size_t bytes);

/* Whether a fixed text field ends within its bytes and has printable characters only. */
bool blx_layout_text_ok(const char *text, size_t bytes);
