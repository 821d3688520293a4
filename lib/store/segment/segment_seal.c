/* SPDX-License-Identifier: Apache-2.0 */
/* Seals a segment: digests, index, footer, fsync, rename, fsync of the folder. */
#include "store/segment/segment_writer_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"

enum { TABLE_BUFFER_DIGESTS = 4096 };

struct blx_index_entry_disk blx_segment_entry_encode(const struct blx_index_entry *entry)
{
    const uint32_t flags = (entry->zero ? (uint32_t)BLX_INDEX_ZERO : 0) |
                           (entry->has_digests ? (uint32_t)BLX_INDEX_DIGESTS : 0);
    return (struct blx_index_entry_disk){
        .start_block = blx_le64_of(entry->extent.start_block),
        .block_count = blx_le64_of(entry->extent.block_count),
        .frame_offset = blx_le64_of(entry->frame_offset),
        .frame_bytes = blx_le32_of(entry->frame_bytes),
        .data_block = blx_le32_of(entry->data_block),
        .flags = blx_le32_of(flags),
    };
}

/* What lies between the frames and the footer. */
struct tail {
    uint64_t index_offset;
    uint64_t index_checksum;
    uint64_t digests_checksum;
    uint32_t digest_count;
};

static struct blx_segment_footer_disk encode_footer(const struct blx_segment_writer *writer,
                                                    const struct tail *tail)
{
    const struct blx_segment_summary *summary = &writer->summary;
    struct blx_segment_footer_disk footer = {
        .magic = blx_le32_of(BLX_FOOTER_MAGIC),
        .version = writer->version,
        .block_shift = (uint8_t)summary->block_shift,
        .flags = summary->rewritten ? BLX_SEGMENT_REWRITTEN : 0,
        .number = blx_le32_of(summary->number),
        .digest_count = blx_le32_of(tail->digest_count),
        .index_offset = blx_le64_of(tail->index_offset),
        .index_count = blx_le64_of(writer->index.count),
        .frame_count = blx_le64_of(summary->frame_count),
        .changed_blocks = blx_le64_of(summary->changed_blocks),
        .stored_bytes = blx_le64_of(summary->stored_bytes),
        .first_seq = blx_le64_of(summary->first_seq),
        .last_seq = blx_le64_of(summary->last_seq),
        .index_checksum = blx_le64_of(tail->index_checksum),
        .digests_checksum = blx_le64_of(tail->digests_checksum),
    };
    memcpy(footer.generation, summary->last_generation.bytes, sizeof(footer.generation));
    memcpy(footer.key_id, summary->key_id.bytes, sizeof(footer.key_id));
    if (tail->digest_count > 0)
        memcpy(footer.digest_key_id, writer->log.key_id.bytes, sizeof(footer.digest_key_id));
    footer.checksum = blx_le64_of(
        blx_layout_checksum(&footer, sizeof(footer), offsetof(__typeof__(footer), checksum)));
    return footer;
}

/* The table as it is written: in the order of the index, in pieces. */
struct table {
    const struct blx_segment_writer *writer;
    XXH3_state_t *checksum; /* owned */
    uint8_t *buffer;        /* owned */
    uint32_t filled;        /* digests in it */
    uint32_t written;
};

static int flush_table(struct table *table, struct blx_error *err)
{
    const struct blx_segment_writer *writer = table->writer;
    size_t bytes = (size_t)table->filled << BLX_BLOCK_DIGEST_SHIFT;
    uint64_t at = writer->end_bytes + ((uint64_t)table->written << BLX_BLOCK_DIGEST_SHIFT);
    XXH3_64bits_update(table->checksum, table->buffer, bytes);
    int rc = blx_pwrite_full(writer->fd, table->buffer, bytes, at);
    table->written += table->filled;
    table->filled = 0;
    return rc < 0 ? blx_error_errno(err, rc, "cannot write '%s'", writer->path) : 0;
}

/* `count` digests from `place` of the log on. */
static int put_digests(struct table *table, uint32_t place, uint64_t count, struct blx_error *err)
{
    int rc = 0;
    while (rc == 0 && count > 0) {
        uint32_t room = TABLE_BUFFER_DIGESTS - table->filled;
        uint32_t part = count < room ? (uint32_t)count : room;
        rc = blx_digest_log_read(&table->writer->log, place, part,
                                 table->buffer + ((size_t)table->filled << BLX_BLOCK_DIGEST_SHIFT),
                                 err);
        table->filled += part;
        place += part;
        count -= part;
        if (rc == 0 && table->filled == TABLE_BUFFER_DIGESTS)
            rc = flush_table(table, err);
    }
    return rc;
}

/* Entries that follow each other in the log, too, are read in one go. */
static int put_all_digests(struct table *table, struct blx_error *err)
{
    const struct blx_index *index = &table->writer->index;
    uint64_t place = 0, count = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < index->count; i++) {
        const struct blx_index_entry *entry = &index->entries[i];
        if (!entry->has_digests)
            continue;
        if (count > 0 && place + count != entry->digest) {
            rc = put_digests(table, (uint32_t)place, count, err);
            count = 0;
        }
        if (count == 0)
            place = entry->digest;
        count += entry->extent.block_count;
    }
    if (rc == 0)
        rc = put_digests(table, (uint32_t)place, count, err);
    return rc == 0 && table->filled > 0 ? flush_table(table, err) : rc;
}

static int write_table(const struct blx_segment_writer *writer, struct tail *tail,
                       struct blx_error *err)
{
    struct table table = {.writer = writer,
                          .checksum = XXH3_createState(),
                          .buffer = malloc((size_t)TABLE_BUFFER_DIGESTS << BLX_BLOCK_DIGEST_SHIFT)};
    int rc = 0;
    if (table.checksum == NULL || table.buffer == NULL)
        rc = blx_error_errno(err, -ENOMEM, "cannot seal '%s'", writer->path);
    if (rc == 0) {
        XXH3_64bits_reset(table.checksum);
        rc = put_all_digests(&table, err);
    }
    if (rc == 0) {
        tail->digest_count = table.written;
        tail->digests_checksum = XXH3_64bits_digest(table.checksum);
        tail->index_offset += (uint64_t)table.written << BLX_BLOCK_DIGEST_SHIFT;
    }
    XXH3_freeState(table.checksum);
    free(table.buffer);
    return rc;
}

/* Index and footer in one buffer. */
static int write_tail(const struct blx_segment_writer *writer, struct tail *tail)
{
    size_t index_bytes = writer->index.count * sizeof(struct blx_index_entry_disk);
    size_t bytes = index_bytes + sizeof(struct blx_segment_footer_disk);
    BLX_CLEANUP_FREE uint8_t *buffer = malloc(bytes);
    if (buffer == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < writer->index.count; i++) {
        struct blx_index_entry_disk entry = blx_segment_entry_encode(&writer->index.entries[i]);
        memcpy(buffer + i * sizeof(entry), &entry, sizeof(entry));
    }
    tail->index_checksum = blx_layout_checksum_all(buffer, index_bytes);
    struct blx_segment_footer_disk footer = encode_footer(writer, tail);
    memcpy(buffer + index_bytes, &footer, sizeof(footer));
    return blx_pwrite_full(writer->fd, buffer, bytes, tail->index_offset);
}

int blx_segment_writer_finish(struct blx_segment_writer *writer, struct blx_error *err)
{
    struct tail tail = {.index_offset = writer->end_bytes};
    int rc = blx_index_flatten(&writer->index);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot seal '%s'", writer->path);
    writer->summary.changed_blocks = blx_index_blocks(&writer->index);
    if (!blx_key_id_is_none(&writer->log.key_id))
        rc = write_table(writer, &tail, err);
    if (rc < 0)
        return rc;
    rc = write_tail(writer, &tail);
    if (rc == 0 && blx_sys->fsync(writer->fd) != 0)
        rc = -errno;
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot seal '%s'", writer->path);
    writer->summary.digest_count = tail.digest_count;
    return 0;
}

int blx_segment_write_empty(const char *volume_dir, uint32_t number, unsigned block_shift,
                            struct blx_error *err)
{
    struct blx_segment_writer writer = {
        .summary = {.number = number, .block_shift = block_shift},
        .end_bytes = sizeof(struct blx_segment_header_disk),
        .version = BLX_SEGMENT_VERSION,
    };
    const struct tail tail = {.index_offset = writer.end_bytes,
                              .index_checksum = blx_layout_checksum_all("", 0)};
    struct {
        struct blx_segment_header_disk header;
        struct blx_segment_footer_disk footer;
    } __attribute__((packed)) content = {
        .header = blx_segment_header_encode(&writer.summary),
        .footer = encode_footer(&writer, &tail),
    };
    char path[PATH_MAX];
    int rc = blx_segment_path(volume_dir, number, path, err);
    return rc < 0 ? rc : blx_file_replace(path, &content, sizeof(content), 0600, err);
}

static int seal(struct blx_segment_writer *writer, struct blx_error *err)
{
    char sealed[PATH_MAX];
    struct stat st;
    int rc = blx_segment_path(writer->dir, writer->summary.number, sealed, err);
    if (rc < 0)
        return rc;
    if (lstat(sealed, &st) == 0)
        return blx_error_set(err, -EEXIST, "cannot seal '%s': '%s' exists already", writer->path,
                             sealed);
    rc = blx_segment_writer_finish(writer, err);
    if (rc < 0)
        return rc;
    if (blx_sys->rename(writer->path, sealed) != 0)
        return blx_error_errno(err, -errno, "cannot rename '%s' to '%s'", writer->path, sealed);
    rc = blx_digest_log_remove(&writer->log, err);
    return rc < 0 ? rc : blx_fsync_dir(writer->dir, err);
}

int blx_segment_writer_seal(struct blx_segment_writer *writer, struct blx_segment_summary *summary,
                            struct blx_error *err)
{
    int rc = seal(writer, err);
    if (rc == 0 && summary != NULL)
        *summary = writer->summary;
    blx_segment_writer_close(writer);
    return rc;
}
