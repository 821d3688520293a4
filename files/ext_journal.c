/* SPDX-License-Identifier: Apache-2.0 */
#include "files/ext_journal_private.h"

#include <endian.h>
#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"

/* jbd2 on the disk: big-endian. */
enum {
    KIND_DESCRIPTOR = 1,
    KIND_COMMIT = 2,
    KIND_SUPERBLOCK_1 = 3,
    KIND_SUPERBLOCK_2 = 4,
    KIND_REVOKE = 5,
    FEATURE_64BIT = 0x02,
    FEATURE_CHECKSUM_2 = 0x08,
    FEATURE_CHECKSUM_3 = 0x10,
    /* Revocations, 64 bits, a commit that does not wait, checksums; not fast commits. */
    FEATURES_KNOWN = 0x1f,
    TAG_ESCAPED = 0x1,
    TAG_SAME_ID = 0x2,
    TAG_LAST = 0x8,
    ID_BYTES = 16,
    TAIL_BYTES = 4,
    MIN_BLOCK_BYTES = 1024,
    COMMIT_CHECKSUM_OFFSET = 16,
    REVOKED_OFFSET = 16,
};

struct head {
    uint32_t magic, kind, sequence;
};

struct superblock {
    struct head head;
    uint32_t block_bytes, block_count, first, sequence, start, error;
    uint32_t compatible, incompatible, read_only;
    uint8_t id[ID_BYTES];
};

/* A block that was revoked in a transaction: what older ones wrote there does not count. */
struct revoked {
    uint64_t block;
    uint32_t sequence;
};

struct replay {
    const struct ext_journal_source *source;
    struct superblock super; /* in the machine's order */
    uint32_t checksum_seed;
    size_t tag_bytes;
    uint8_t *buffer;         /* a block */
    uint32_t end_sequence;   /* the first transaction that was not committed */
    struct revoked *revoked; /* owned; sorted after the first pass */
    size_t revoked_count;
    struct ext_journal_block *blocks; /* owned: in the order in which they were written */
    size_t block_count;
};

static int damaged(const char *what, struct blx_error *err)
{
    return blx_error_set(err, -EBADMSG, "its journal is damaged: %s", what);
}

static uint32_t get32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return be32toh(value);
}

static bool has_checksums(const struct replay *replay)
{
    return (replay->super.incompatible & (FEATURE_CHECKSUM_2 | FEATURE_CHECKSUM_3)) != 0;
}

static int read_super(struct replay *replay, struct blx_error *err)
{
    const struct ext_journal_source *source = replay->source;
    struct superblock *super = &replay->super;
    int rc = source->read(source->arg, replay->buffer, 0);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot read its journal");
    memcpy(super, replay->buffer, sizeof(*super));
    uint32_t *fields = (uint32_t *)super;
    for (size_t i = 0; i < offsetof(struct superblock, id) / sizeof(*fields); i++)
        fields[i] = be32toh(fields[i]);
    uint32_t kind = super->head.kind;
    if (super->head.magic != EXT_JOURNAL_MAGIC ||
        (kind != KIND_SUPERBLOCK_1 && kind != KIND_SUPERBLOCK_2))
        return damaged("it has no superblock", err);
    if (kind == KIND_SUPERBLOCK_1)
        super->compatible = super->incompatible = super->read_only = 0;
    if ((super->incompatible & ~(uint32_t)FEATURES_KNOWN) != 0)
        return blx_error_set(err, -EOPNOTSUPP, "its journal has features that are not known here");
    if (super->block_bytes != source->block_bytes || super->block_count > source->block_count ||
        super->first == 0 || super->first >= super->block_count ||
        super->start >= super->block_count || (super->start != 0 && super->start < super->first))
        return damaged("its superblock", err);
    replay->checksum_seed = ext2fs_crc32c_le(~0U, super->id, sizeof(super->id));
    if ((super->incompatible & FEATURE_CHECKSUM_3) != 0)
        replay->tag_bytes = 16;
    else
        replay->tag_bytes = ((super->incompatible & FEATURE_64BIT) != 0 ? 12U : 8U) +
                            ((super->incompatible & FEATURE_CHECKSUM_2) != 0 ? 2U : 0U);
    return 0;
}

/* The journal is a ring. */
static uint32_t next_block(const struct replay *replay, uint32_t block, uint32_t steps)
{
    uint64_t ring = replay->super.block_count - replay->super.first;
    return (uint32_t)((block - replay->super.first + (uint64_t)steps) % ring) + replay->super.first;
}

struct tag {
    uint64_t block;
    uint32_t flags;
};

/* Where the next tag begins; 0: there is none. */
static size_t parse_tag(const struct replay *replay, size_t at, struct tag *tag)
{
    const uint8_t *from = replay->buffer + at;
    size_t end = replay->super.block_bytes - (has_checksums(replay) ? TAIL_BYTES : 0);
    bool third = (replay->super.incompatible & FEATURE_CHECKSUM_3) != 0;
    bool wide = (replay->super.incompatible & FEATURE_64BIT) != 0;
    if (at + replay->tag_bytes > end)
        return 0;
    tag->block = get32(from);
    tag->flags = third ? get32(from + 4) : get32(from + 4) & 0xffff;
    if (wide)
        tag->block |= (uint64_t)get32(from + 8) << 32;
    at += replay->tag_bytes;
    return (tag->flags & TAG_SAME_ID) != 0 ? at : at + ID_BYTES;
}

static int add_block(struct replay *replay, const struct tag *tag, uint32_t journal_block)
{
    if (blx_array_make_room(replay->blocks, replay->block_count) < 0)
        return -ENOMEM;
    replay->blocks[replay->block_count++] = (struct ext_journal_block){
        .block = tag->block,
        .journal_block = journal_block,
        .escaped = tag->flags & TAG_ESCAPED,
    };
    return 0;
}

static bool is_revoked(const struct replay *replay, uint64_t block, uint32_t sequence)
{
    for (size_t low = 0, high = replay->revoked_count; low < high;) {
        size_t middle = low + (high - low) / 2;
        const struct revoked *revoked = &replay->revoked[middle];
        if (revoked->block == block) /* the newest one: see sort_revoked() */
            return (int32_t)(revoked->sequence - sequence) >= 0;
        if (revoked->block < block)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

enum pass { PASS_SCAN, PASS_REPLAY };

/* How many blocks follow the descriptor. */
static int take_descriptor(struct replay *replay, uint32_t at, uint32_t sequence, enum pass pass,
                           uint32_t *count)
{
    struct tag tag = {0};
    size_t next = sizeof(struct head);
    int rc = 0;
    for (*count = 0; rc == 0 && (tag.flags & TAG_LAST) == 0;) {
        next = parse_tag(replay, next, &tag);
        if (next == 0)
            break;
        ++*count;
        if (pass == PASS_REPLAY && !is_revoked(replay, tag.block, sequence))
            rc = add_block(replay, &tag, next_block(replay, at, *count));
    }
    return rc;
}

static int take_revocations(struct replay *replay, uint32_t sequence)
{
    bool wide = (replay->super.incompatible & FEATURE_64BIT) != 0;
    size_t step = wide ? 8 : 4;
    size_t end = get32(replay->buffer + sizeof(struct head));
    if (end > replay->super.block_bytes)
        end = replay->super.block_bytes;
    for (size_t at = REVOKED_OFFSET; at + step <= end; at += step) {
        const uint8_t *from = replay->buffer + at;
        uint64_t block = wide ? (uint64_t)get32(from) << 32 | get32(from + 4) : get32(from);
        if (blx_array_make_room(replay->revoked, replay->revoked_count) < 0)
            return -ENOMEM;
        replay->revoked[replay->revoked_count++] =
            (struct revoked){.block = block, .sequence = sequence};
    }
    return 0;
}

/* A commit block that was only half written commits nothing. */
static bool is_whole(struct replay *replay)
{
    if (!has_checksums(replay))
        return true;
    uint32_t stored = get32(replay->buffer + COMMIT_CHECKSUM_OFFSET);
    memset(replay->buffer + COMMIT_CHECKSUM_OFFSET, 0, sizeof(stored));
    return ext2fs_crc32c_le(replay->checksum_seed, replay->buffer, replay->super.block_bytes) ==
           stored;
}

/* A place in the journal. */
struct cursor {
    uint32_t block, sequence;
    uint64_t walked; /* blocks */
};

/* 1: the journal ends here. */
static int take_one(struct replay *replay, enum pass pass, struct cursor *at)
{
    const struct ext_journal_source *source = replay->source;
    int rc = source->read(source->arg, replay->buffer, at->block);
    if (rc < 0)
        return rc;
    uint32_t kind = get32(replay->buffer + 4), skipped = 0;
    if (get32(replay->buffer) != EXT_JOURNAL_MAGIC || get32(replay->buffer + 8) != at->sequence)
        return 1;
    switch (kind) {
    case KIND_DESCRIPTOR:
        rc = take_descriptor(replay, at->block, at->sequence, pass, &skipped);
        break;
    case KIND_REVOKE:
        rc = pass == PASS_SCAN ? take_revocations(replay, at->sequence) : 0;
        break;
    case KIND_COMMIT:
        if (!is_whole(replay))
            return 1;
        at->sequence++;
        break;
    default:
        return 1;
    }
    at->block = next_block(replay, at->block, skipped + 1);
    at->walked += skipped + 1;
    return rc;
}

/* No more blocks than the journal has are looked at. The first pass learns how far it is valid. */
static int run_pass(struct replay *replay, enum pass pass)
{
    struct cursor at = {.block = replay->super.start, .sequence = replay->super.sequence};
    int rc = 0;
    while (rc == 0 && at.walked < replay->super.block_count) {
        if (pass == PASS_REPLAY && at.sequence == replay->end_sequence)
            return 0;
        rc = take_one(replay, pass, &at);
    }
    if (pass == PASS_SCAN)
        replay->end_sequence = at.sequence;
    return rc < 0 ? rc : 0;
}

static int compare_revoked(const void *a, const void *b)
{
    const struct revoked *first = a, *second = b;
    if (first->block != second->block)
        return first->block < second->block ? -1 : 1;
    int32_t order = (int32_t)(first->sequence - second->sequence);
    return (order > 0) - (order < 0);
}

/* Of each block the newest revocation that was committed. */
static void sort_revoked(struct replay *replay)
{
    size_t kept = 0;
    if (replay->revoked_count > 0)
        qsort(replay->revoked, replay->revoked_count, sizeof(replay->revoked[0]), compare_revoked);
    for (size_t i = 0; i < replay->revoked_count; i++) {
        if ((int32_t)(replay->revoked[i].sequence - replay->end_sequence) >= 0)
            continue;
        if (kept > 0 && replay->revoked[kept - 1].block == replay->revoked[i].block)
            kept--;
        replay->revoked[kept++] = replay->revoked[i];
    }
    replay->revoked_count = kept;
}

/* The order in which they were written decides among those of one block. */
struct ordered {
    struct ext_journal_block block;
    size_t order;
};

static int compare_ordered(const void *a, const void *b)
{
    const struct ordered *first = a, *second = b;
    if (first->block.block != second->block.block)
        return first->block.block < second->block.block ? -1 : 1;
    return (first->order > second->order) - (first->order < second->order);
}

/* The last one of each block counts. */
static int make_table(const struct replay *replay, struct ext_journal_table *table)
{
    if (replay->block_count == 0)
        return 0;
    BLX_CLEANUP_FREE struct ordered *all = calloc(replay->block_count, sizeof(*all));
    table->blocks = calloc(replay->block_count, sizeof(*table->blocks));
    if (all == NULL || table->blocks == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < replay->block_count; i++)
        all[i] = (struct ordered){.block = replay->blocks[i], .order = i};
    qsort(all, replay->block_count, sizeof(all[0]), compare_ordered);
    for (size_t i = 0; i < replay->block_count; i++) {
        if (table->count > 0 && table->blocks[table->count - 1].block == all[i].block.block)
            table->count--;
        table->blocks[table->count++] = all[i].block;
    }
    return 0;
}

int ext_journal_read(const struct ext_journal_source *source, struct ext_journal_table *table,
                     struct blx_error *err)
{
    struct replay replay = {.source = source};
    *table = (struct ext_journal_table){0};
    if (source->block_bytes < MIN_BLOCK_BYTES || source->block_count < 2)
        return damaged("it is too small", err);
    replay.buffer = malloc(source->block_bytes);
    int rc = replay.buffer == NULL ? -ENOMEM : read_super(&replay, err);
    if (rc == 0 && replay.super.start != 0) {
        rc = run_pass(&replay, PASS_SCAN);
        sort_revoked(&replay);
        if (rc == 0)
            rc = run_pass(&replay, PASS_REPLAY);
        if (rc == 0)
            rc = make_table(&replay, table);
    }
    free(replay.buffer);
    free(replay.revoked);
    free(replay.blocks);
    if (rc < 0)
        ext_journal_table_done(table);
    return rc < 0 ? blx_error_errno(err, rc, "cannot read its journal") : 0;
}

void ext_journal_table_done(struct ext_journal_table *table)
{
    free(table->blocks);
    *table = (struct ext_journal_table){0};
}

const struct ext_journal_block *ext_journal_find(const struct ext_journal_table *table,
                                                 uint64_t block)
{
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->blocks[middle].block == block)
            return &table->blocks[middle];
        if (table->blocks[middle].block < block)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
