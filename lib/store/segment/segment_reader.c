/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment/segment_reader_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/segment/segment_part.h"

int blx_segment_reader_name(struct blx_segment_reader *reader, const char *volume_dir,
                            uint32_t number, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = number == 0 ? blx_path_format(path, sizeof(path), err, "%s/open.seg", volume_dir)
                         : blx_segment_path(volume_dir, number, path, err);
    if (rc < 0)
        return rc;
    reader->path = strdup(path);
    return reader->path != NULL ? 0 : blx_error_errno(err, -ENOMEM, "cannot open '%s'", path);
}

static int damaged(const struct blx_segment_reader *reader, const char *what, struct blx_error *err)
{
    return blx_error_set(err, -EBADMSG, "the segment '%s' is damaged: %s", reader->path, what);
}

static int read_at(const struct blx_segment_reader *reader, void *buffer, size_t bytes,
                   uint64_t offset, struct blx_error *err)
{
    int rc = blx_pread_full(reader->fd, buffer, bytes, offset);
    if (rc == -ENODATA)
        return damaged(reader, "it is too short", err);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot read '%s'", reader->path);
    return 0;
}

int blx_segment_peek_number(const char *path, uint32_t *number, struct blx_error *err)
{
    struct blx_segment_header_disk header;
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDONLY | O_NOFOLLOW, 0, err);
    if (fd < 0)
        return fd;
    int rc = blx_pread_full(fd, &header, sizeof(header), 0);
    if (rc < 0 && rc != -ENODATA)
        return blx_error_errno(err, rc, "cannot read '%s'", path);
    size_t field = offsetof(__typeof__(header), checksum);
    if (rc < 0 || blx_le32_get(header.magic) != BLX_SEGMENT_MAGIC ||
        blx_layout_checksum(&header, sizeof(header), field) != blx_le64_get(header.checksum))
        return blx_error_set(err, -EBADMSG, "the segment '%s' is damaged: its header is not valid",
                             path);
    *number = blx_le32_get(header.number);
    return 0;
}

int blx_segment_reader_header(const struct blx_segment_reader *reader,
                              struct blx_segment_header_disk *header, struct blx_error *err)
{
    int rc = read_at(reader, header, sizeof(*header), 0, err);
    if (rc < 0)
        return rc;
    size_t field = offsetof(__typeof__(*header), checksum);
    if (blx_le32_get(header->magic) != BLX_SEGMENT_MAGIC ||
        blx_layout_checksum(header, sizeof(*header), field) != blx_le64_get(header->checksum))
        return damaged(reader, "its header is not valid", err);
    if (header->version < BLX_LAYOUT_VERSION || header->version > BLX_SEGMENT_VERSION)
        return blx_error_set(err, -ENOTSUP,
                             "'%s' has version %u, this program knows up to %d; use a newer blxrep",
                             reader->path, header->version, BLX_SEGMENT_VERSION);
    if (blx_le32_get(header->number) != reader->summary.number)
        return damaged(reader, "its header has another segment's number", err);
    if (header->block_shift < BLX_BLOCK_SHIFT_MIN || header->block_shift > BLX_BLOCK_SHIFT_MAX)
        return damaged(reader, "its block size is out of range", err);
    return 0;
}

int blx_segment_reader_footer(struct blx_segment_reader *reader, uint64_t file_bytes,
                              struct blx_segment_footer_disk *footer, struct blx_error *err)
{
    size_t least = sizeof(struct blx_segment_header_disk) + sizeof(*footer);
    if (file_bytes < least)
        return damaged(reader, "it is too short", err);
    int rc = read_at(reader, footer, sizeof(*footer), file_bytes - sizeof(*footer), err);
    if (rc < 0)
        return rc;
    size_t field = offsetof(__typeof__(*footer), checksum);
    if (blx_le32_get(footer->magic) != BLX_FOOTER_MAGIC || footer->version < BLX_LAYOUT_VERSION ||
        footer->version > BLX_SEGMENT_VERSION ||
        blx_layout_checksum(footer, sizeof(*footer), field) != blx_le64_get(footer->checksum))
        return damaged(reader, "its footer is not valid", err);
    uint64_t offset = blx_le64_get(footer->index_offset), count = blx_le64_get(footer->index_count);
    uint64_t room = file_bytes - least;
    uint64_t table_bytes = 0;
    if (footer->version >= BLX_SEGMENT_VERSION)
        table_bytes = (uint64_t)blx_le32_get(footer->digest_count) << BLX_BLOCK_DIGEST_SHIFT;
    if (count > room / sizeof(struct blx_index_entry_disk) ||
        offset != file_bytes - sizeof(*footer) - count * sizeof(struct blx_index_entry_disk) ||
        table_bytes > offset - sizeof(struct blx_segment_header_disk) ||
        blx_le32_get(footer->number) != reader->summary.number)
        return damaged(reader, "its footer does not fit the file", err);
    if (footer->block_shift < BLX_BLOCK_SHIFT_MIN || footer->block_shift > BLX_BLOCK_SHIFT_MAX)
        return damaged(reader, "its block size is out of range", err);
    if ((footer->flags & ~BLX_SEGMENT_REWRITTEN) != 0)
        return blx_error_set(err, -ENOTSUP,
                             "'%s' has flags that this program does not know; use a newer blxrep",
                             reader->path);
    reader->frames_end_bytes = offset - table_bytes;
    reader->index_offset_bytes = offset;
    reader->summary.block_shift = footer->block_shift;
    reader->summary.rewritten = (footer->flags & BLX_SEGMENT_REWRITTEN) != 0;
    reader->summary.frame_count = blx_le64_get(footer->frame_count);
    reader->summary.changed_blocks = blx_le64_get(footer->changed_blocks);
    reader->summary.stored_bytes = blx_le64_get(footer->stored_bytes);
    reader->summary.first_seq = blx_le64_get(footer->first_seq);
    reader->summary.last_seq = blx_le64_get(footer->last_seq);
    memcpy(reader->summary.last_generation.bytes, footer->generation, sizeof(footer->generation));
    memcpy(reader->summary.key_id.bytes, footer->key_id, sizeof(footer->key_id));
    if (table_bytes == 0)
        return 0;
    reader->summary.digest_count = blx_le32_get(footer->digest_count);
    reader->digests_checksum = blx_le64_get(footer->digests_checksum);
    memcpy(reader->summary.digest_key_id.bytes, footer->digest_key_id,
           sizeof(footer->digest_key_id));
    return 0;
}

/* Whether the entry points at a frame of this file and its data could lie in one. */
static bool is_sound(const struct blx_segment_reader *reader, const struct blx_index_entry *entry)
{
    uint64_t offset = entry->frame_offset, end = reader->frames_end_bytes;
    if (entry->extent.block_count == 0 ||
        entry->extent.block_count > UINT64_MAX - entry->extent.start_block)
        return false;
    if (offset < sizeof(struct blx_segment_header_disk) || offset > end ||
        entry->frame_bytes > end - offset || entry->frame_bytes > BLX_FRAME_MAX_BYTES ||
        entry->frame_bytes < sizeof(struct blx_frame_header_disk))
        return false;
    uint64_t frame_blocks = BLX_FRAME_MAX_DATA_BYTES >> reader->summary.block_shift;
    if (entry->zero)
        return entry->data_block == 0 && !entry->has_digests;
    return entry->data_block <= frame_blocks &&
           entry->extent.block_count <= frame_blocks - entry->data_block;
}

static int decode_index(struct blx_segment_reader *reader, const uint8_t *bytes, uint64_t count,
                        struct blx_error *err)
{
    uint64_t next_block = 0, digests = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct blx_index_entry_disk disk;
        memcpy(&disk, bytes + i * sizeof(disk), sizeof(disk));
        struct blx_index_entry entry = {
            .extent.start_block = blx_le64_get(disk.start_block),
            .extent.block_count = blx_le64_get(disk.block_count),
            .frame_offset = blx_le64_get(disk.frame_offset),
            .frame_bytes = blx_le32_get(disk.frame_bytes),
            .data_block = blx_le32_get(disk.data_block),
            .zero = (blx_le32_get(disk.flags) & BLX_INDEX_ZERO) != 0,
            .has_digests = reader->summary.digest_count > 0 &&
                           (blx_le32_get(disk.flags) & BLX_INDEX_DIGESTS) != 0,
        };
        if (entry.has_digests) {
            entry.digest = (uint32_t)digests;
            digests += entry.extent.block_count;
        }
        if (!is_sound(reader, &entry) || entry.extent.start_block < next_block)
            return damaged(reader, "its index is not valid", err);
        next_block = entry.extent.start_block + entry.extent.block_count;
        int rc = blx_index_add(&reader->index, &entry);
        if (rc < 0)
            return blx_error_errno(err, rc, "cannot read the index of '%s'", reader->path);
    }
    if (blx_index_blocks(&reader->index) != reader->summary.changed_blocks ||
        digests != reader->summary.digest_count)
        return damaged(reader, "its index does not fit its footer", err);
    return 0;
}

int blx_segment_reader_entries(struct blx_segment_reader *reader,
                               const struct blx_segment_footer_disk *footer, struct blx_error *err)
{
    uint64_t count = blx_le64_get(footer->index_count);
    size_t bytes = (size_t)count * sizeof(struct blx_index_entry_disk);
    BLX_CLEANUP_FREE uint8_t *buffer = malloc(bytes + 1);
    if (buffer == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read the index of '%s'", reader->path);
    int rc = read_at(reader, buffer, bytes, reader->index_offset_bytes, err);
    if (rc < 0)
        return rc;
    if (blx_layout_checksum_all(buffer, bytes) != blx_le64_get(footer->index_checksum))
        return damaged(reader, "its index has a wrong checksum", err);
    return decode_index(reader, buffer, count, err);
}

static int read_ends(struct blx_segment_reader *reader, struct blx_segment_footer_disk *footer,
                     struct blx_error *err)
{
    struct stat st;
    struct blx_segment_header_disk header;
    reader->fd = blx_open(reader->path, O_RDONLY | O_NOFOLLOW, 0, err);
    if (reader->fd < 0)
        return reader->fd;
    if (fstat(reader->fd, &st) != 0)
        return blx_error_errno(err, -errno, "cannot read '%s'", reader->path);
    reader->is_part = blx_segment_is_part(&st);
    int rc = blx_segment_reader_header(reader, &header, err);
    return rc == 0 ? blx_segment_reader_footer(reader, (uint64_t)st.st_size, footer, err) : rc;
}

int blx_segment_reader_begin(const char *volume_dir, uint32_t number,
                             struct blx_segment_reader **reader,
                             struct blx_segment_footer_disk *footer, struct blx_error *err)
{
    struct blx_segment_reader *begun = calloc(1, sizeof(*begun));
    if (begun == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot open a segment in '%s'", volume_dir);
    begun->fd = -1;
    begun->summary.number = number;
    int rc = blx_segment_reader_name(begun, volume_dir, number, err);
    if (rc == 0)
        rc = read_ends(begun, footer, err);
    if (rc < 0) {
        blx_segment_reader_close(begun);
        return rc;
    }
    *reader = begun;
    return 0;
}

int blx_segment_reader_open(const char *volume_dir, uint32_t number,
                            struct blx_segment_reader **reader, struct blx_error *err)
{
    struct blx_segment_reader *opened = NULL;
    struct blx_segment_footer_disk footer;
    int rc = blx_segment_reader_begin(volume_dir, number, &opened, &footer, err);
    if (rc == 0)
        rc = blx_segment_reader_entries(opened, &footer, err);
    if (rc < 0) {
        blx_segment_reader_close(opened);
        return rc;
    }
    *reader = opened;
    return 0;
}

void blx_segment_reader_close(struct blx_segment_reader *reader)
{
    if (reader == NULL)
        return;
    blx_segment_reader_shrink(reader, BLX_SEGMENT_CLOSE_FILE);
    free(reader->path);
    free(reader);
}

void blx_segment_reader_shrink(struct blx_segment_reader *reader, enum blx_segment_file file)
{
    if (reader->fd >= 0 && file == BLX_SEGMENT_CLOSE_FILE) {
        close(reader->fd);
        reader->fd = -1;
    }
    blx_index_done(&reader->index);
}

const struct blx_index *blx_segment_reader_index(const struct blx_segment_reader *reader)
{
    return &reader->index;
}

const struct blx_segment_summary *blx_segment_reader_summary(
    const struct blx_segment_reader *reader)
{
    return &reader->summary;
}

/* Makes the open file the whole segment, under the same descriptor: other threads read from it, and
 * from now on they read the whole one, too. */
static int make_whole(const struct blx_segment_reader *reader, int fd, struct blx_error *err)
{
    struct stat st;
    if (!reader->is_part)
        return 0;
    if (fstat(fd, &st) != 0)
        return blx_error_errno(err, -errno, "cannot read '%s'", reader->path);
    if (!blx_segment_is_part(&st))
        return 0;
    int rc = blx_segment_fetch(reader->path, err);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_FD int whole = blx_open(reader->path, O_RDONLY | O_NOFOLLOW, 0, err);
    if (whole < 0)
        return whole;
    return dup3(whole, fd, O_CLOEXEC) < 0
               ? blx_error_errno(err, -errno, "cannot open '%s' again", reader->path)
               : 0;
}

/* Also if the file was given up. */
static int read_anyhow(const struct blx_segment_reader *reader, void *buffer, size_t bytes,
                       uint64_t offset, struct blx_error *err)
{
    if (reader->fd >= 0) {
        int rc = make_whole(reader, reader->fd, err);
        return rc == 0 ? read_at(reader, buffer, bytes, offset, err) : rc;
    }
    BLX_CLEANUP_FD int fd = blx_open(reader->path, O_RDONLY | O_NOFOLLOW, 0, err);
    if (fd < 0)
        return fd;
    int rc = make_whole(reader, fd, err);
    if (rc < 0)
        return rc;
    rc = blx_pread_full(fd, buffer, bytes, offset);
    if (rc == -ENODATA)
        return damaged(reader, "it is too short", err);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot read '%s'", reader->path);
    return 0;
}

int blx_segment_reader_digests(const struct blx_segment_reader *reader, uint32_t place,
                               uint32_t count, uint8_t *digests, struct blx_error *err)
{
    uint64_t skip = (uint64_t)place << BLX_BLOCK_DIGEST_SHIFT;
    return read_anyhow(reader, digests, (size_t)count << BLX_BLOCK_DIGEST_SHIFT,
                       reader->frames_end_bytes + skip, err);
}

int blx_segment_reader_frame(const struct blx_segment_reader *reader, uint64_t offset,
                             uint32_t frame_bytes, void *buffer, struct blx_frame *frame,
                             struct blx_error *err)
{
    int rc = read_anyhow(reader, buffer, frame_bytes, offset, err);
    if (rc < 0)
        return rc;
    struct blx_error reason = {0};
    rc = blx_frame_parse(buffer, frame_bytes, frame, &reason);
    if (rc == -ENOMEM)
        return blx_error_errno(err, rc, "cannot read '%s'", reader->path);
    if (rc < 0)
        return blx_error_set(err, rc, "the segment '%s' is damaged at byte %llu: %s", reader->path,
                             (unsigned long long)offset, reason.message);
    if (frame->block_shift != reader->summary.block_shift)
        return damaged(reader, "a frame has another block size than its footer", err);
    return 0;
}

void blx_segment_reader_prefetch(const struct blx_segment_reader *reader, uint64_t offset,
                                 uint32_t frame_bytes)
{
    if (reader->fd >= 0)
        posix_fadvise(reader->fd, (off_t)offset, (off_t)frame_bytes, POSIX_FADV_WILLNEED);
}
