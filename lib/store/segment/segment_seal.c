/* SPDX-License-Identifier: Apache-2.0 */
/* Seals a segment: index, footer, fsync, rename, fsync of the folder. */
#include "store/segment/segment_writer_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"

struct blx_index_entry_disk blx_segment_entry_encode(const struct blx_index_entry *entry)
{
    return (struct blx_index_entry_disk){
        .start_block = blx_le64_of(entry->extent.start_block),
        .block_count = blx_le64_of(entry->extent.block_count),
        .frame_offset = blx_le64_of(entry->frame_offset),
        .frame_bytes = blx_le32_of(entry->frame_bytes),
        .data_block = blx_le32_of(entry->data_block),
        .flags = blx_le32_of(entry->zero ? BLX_INDEX_ZERO : 0),
    };
}

static struct blx_segment_footer_disk encode_footer(const struct blx_segment_writer *writer,
                                                    uint64_t index_checksum)
{
    const struct blx_segment_summary *summary = &writer->summary;
    struct blx_segment_footer_disk footer = {
        .magic = blx_le32_of(BLX_FOOTER_MAGIC),
        .version = BLX_LAYOUT_VERSION,
        .block_shift = (uint8_t)summary->block_shift,
        .flags = summary->rewritten ? BLX_SEGMENT_REWRITTEN : 0,
        .number = blx_le32_of(summary->number),
        .index_offset = blx_le64_of(writer->end_bytes),
        .index_count = blx_le64_of(writer->index.count),
        .frame_count = blx_le64_of(summary->frame_count),
        .changed_blocks = blx_le64_of(summary->changed_blocks),
        .stored_bytes = blx_le64_of(summary->stored_bytes),
        .first_seq = blx_le64_of(summary->first_seq),
        .last_seq = blx_le64_of(summary->last_seq),
        .index_checksum = blx_le64_of(index_checksum),
    };
    memcpy(footer.generation, summary->last_generation.bytes, sizeof(footer.generation));
    memcpy(footer.key_id, summary->key_id.bytes, sizeof(footer.key_id));
    footer.checksum = blx_le64_of(
        blx_layout_checksum(&footer, sizeof(footer), offsetof(__typeof__(footer), checksum)));
    return footer;
}

/* Index and footer in one buffer, to be written after the frames. */
static int write_tail(const struct blx_segment_writer *writer)
{
    size_t index_bytes = writer->index.count * sizeof(struct blx_index_entry_disk);
    size_t bytes = index_bytes + sizeof(struct blx_segment_footer_disk);
    BLX_CLEANUP_FREE uint8_t *tail = malloc(bytes);
    if (tail == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < writer->index.count; i++) {
        struct blx_index_entry_disk entry = blx_segment_entry_encode(&writer->index.entries[i]);
        memcpy(tail + i * sizeof(entry), &entry, sizeof(entry));
    }
    struct blx_segment_footer_disk footer =
        encode_footer(writer, blx_layout_checksum_all(tail, index_bytes));
    memcpy(tail + index_bytes, &footer, sizeof(footer));
    return blx_pwrite_full(writer->fd, tail, bytes, writer->end_bytes);
}

int blx_segment_writer_finish(struct blx_segment_writer *writer, struct blx_error *err)
{
    int rc = blx_index_flatten(&writer->index);
    if (rc == 0) {
        writer->summary.changed_blocks = blx_index_blocks(&writer->index);
        rc = write_tail(writer);
    }
    if (rc == 0 && blx_sys->fsync(writer->fd) != 0)
        rc = -errno;
    return rc < 0 ? blx_error_errno(err, rc, "cannot seal '%s'", writer->path) : 0;
}

int blx_segment_write_empty(const char *volume_dir, uint32_t number, unsigned block_shift,
                            struct blx_error *err)
{
    struct blx_segment_writer writer = {
        .summary = {.number = number, .block_shift = block_shift},
        .end_bytes = sizeof(struct blx_segment_header_disk),
    };
    struct {
        struct blx_segment_header_disk header;
        struct blx_segment_footer_disk footer;
    } __attribute__((packed)) content = {
        .header = blx_segment_header_encode(&writer.summary),
        .footer = encode_footer(&writer, blx_layout_checksum_all("", 0)),
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
    return blx_fsync_dir(writer->dir, err);
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
