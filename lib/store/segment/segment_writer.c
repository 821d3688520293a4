/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment/segment_writer_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "base/text.h"
#include "store/layout_private.h"
#include "store/segment/segment_scan_private.h"

int blx_segment_path(const char *volume_dir, uint32_t number, char path[PATH_MAX],
                     struct blx_error *err)
{
    return blx_path_format(path, PATH_MAX, err, "%s/%08u.seg", volume_dir, number);
}

uint32_t blx_segment_number(const char *name)
{
    char canonical[32], *end;
    unsigned long number = strtoul(name, &end, 10);
    if (number == 0 || number >= UINT32_MAX)
        return 0;
    snprintf(canonical, sizeof(canonical), "%08lu.seg", number);
    return strcmp(name, canonical) == 0 ? (uint32_t)number : 0;
}

static int write_failed(const struct blx_segment_writer *writer, int rc, struct blx_error *err)
{
    return blx_error_errno(err, rc, "cannot write '%s'", writer->path);
}

static int make_durable(const struct blx_segment_writer *writer, struct blx_error *err)
{
    if (blx_sys->fsync(writer->fd) != 0)
        return write_failed(writer, -errno, err);
    return blx_fsync_dir(writer->dir, err);
}

struct blx_segment_header_disk blx_segment_header_encode(const struct blx_segment_summary *summary)
{
    struct blx_segment_header_disk header = {
        .magic = blx_le32_of(BLX_SEGMENT_MAGIC),
        .version = BLX_SEGMENT_VERSION,
        .block_shift = (uint8_t)summary->block_shift,
        .flags = summary->rewritten ? BLX_SEGMENT_REWRITTEN : 0,
        .number = blx_le32_of(summary->number),
    };
    header.checksum = blx_le64_of(
        blx_layout_checksum(&header, sizeof(header), offsetof(__typeof__(header), checksum)));
    return header;
}

int blx_segment_writer_begin(struct blx_segment_writer *writer, struct blx_error *err)
{
    struct blx_segment_header_disk header = blx_segment_header_encode(&writer->summary);
    int rc = blx_digest_log_init(&writer->log, writer->path, err);
    if (rc < 0)
        return rc;
    rc = blx_sys->ftruncate(writer->fd, 0) != 0 ? -errno : 0;
    if (rc == 0)
        rc = blx_pwrite_full(writer->fd, &header, sizeof(header), 0);
    if (rc < 0)
        return write_failed(writer, rc, err);
    writer->end_bytes = sizeof(header);
    writer->version = BLX_SEGMENT_VERSION;
    return 0;
}

static int start_anew(struct blx_segment_writer *writer, struct blx_error *err)
{
    int rc = blx_segment_writer_begin(writer, err);
    return rc == 0 ? make_durable(writer, err) : rc;
}

int blx_segment_writer_note(struct blx_segment_writer *writer, const struct blx_frame *frame,
                            uint64_t offset, enum blx_digest_state digests, struct blx_error *err)
{
    const bool logged = digests == BLX_DIGESTS_LOGGED;
    struct blx_segment_summary *summary = &writer->summary;
    bool same = blx_generation_equal(&summary->last_generation, &frame->generation);
    if (frame->block_shift != summary->block_shift)
        return blx_error_set(err, -EBADMSG, "'%s': the frame at byte %llu has another block size",
                             writer->path, (unsigned long long)offset);
    if (!summary->rewritten && summary->last_seq != 0 && same &&
        frame->seq != summary->last_seq + 1)
        return blx_error_set(err, -EBADMSG,
                             "'%s': frame %llu at byte %llu does not follow frame %llu",
                             writer->path, (unsigned long long)frame->seq,
                             (unsigned long long)offset, (unsigned long long)summary->last_seq);
    if (summary->last_seq != 0 && !blx_key_id_equal(&summary->key_id, &frame->key_id))
        return blx_error_set(err, -EBADMSG,
                             "'%s': the frame at byte %llu is encrypted with another key",
                             writer->path, (unsigned long long)offset);
    uint64_t data_block = 0;
    for (uint32_t i = 0; i < frame->extent_count; i++) {
        struct blx_frame_extent extent = blx_frame_extent_at(frame, i);
        struct blx_index_entry entry = {
            .extent = extent.extent,
            .frame_offset = offset,
            .frame_bytes = (uint32_t)frame->frame_bytes,
            .data_block = extent.zero ? 0 : (uint32_t)data_block,
            .rank = (uint32_t)summary->frame_count,
            .zero = extent.zero,
            .has_digests = logged && !extent.zero,
        };
        if (entry.has_digests)
            entry.digest = blx_digest_log_next(&writer->log) + (uint32_t)data_block;
        if (!extent.zero)
            data_block += extent.extent.block_count;
        int rc = blx_index_add(&writer->index, &entry);
        if (rc < 0)
            return blx_error_errno(err, rc, "cannot index '%s'", writer->path);
    }
    if (!same || summary->last_seq == 0)
        summary->first_seq = frame->seq;
    summary->last_seq = frame->seq;
    summary->last_generation = frame->generation;
    summary->key_id = frame->key_id;
    summary->frame_count++;
    summary->stored_bytes += frame->frame_bytes;
    blx_digest_log_pass(&writer->log, frame);
    return 0;
}

/* The key of the digests that came with the frame; none: they are not to be kept. */
static struct blx_key_id digest_key_of(const struct blx_segment_writer *writer,
                                       const struct blx_frame *frame)
{
    static const struct blx_key_id none;
    const struct blx_key_id *id =
        blx_key_id_is_none(&frame->key_id) ? &writer->digest_key_id : &frame->key_id;
    const bool keeps = writer->version >= BLX_SEGMENT_VERSION && frame->digests != NULL;
    return keeps && blx_digest_log_takes(&writer->log, id) ? *id : none;
}

/* A frame that is found again: with the digests inside it, or with those that the log still has. */
static int find_digests(struct blx_segment_writer *writer, const struct blx_frame *frame,
                        enum blx_digest_state *digests, struct blx_error *err)
{
    const struct blx_key_id key_id = digest_key_of(writer, frame);
    int rc = 0;
    if (writer->version >= BLX_SEGMENT_VERSION)
        rc = blx_digest_log_find(&writer->log, frame, err);
    /* A disk that is full must not keep what is stored from being found. */
    if (rc == 0 && !blx_key_id_is_none(&key_id) && frame->data_bytes > 0)
        rc = blx_digest_log_write(&writer->log, frame, &key_id, NULL) == 0;
    *digests = rc == 1 ? BLX_DIGESTS_LOGGED : BLX_DIGESTS_MISSING;
    return rc < 0 ? rc : 0;
}

static int visit_frame(void *arg, const struct blx_frame *frame, uint64_t offset,
                       struct blx_error *err)
{
    struct blx_segment_writer *writer = arg;
    enum blx_digest_state digests;
    int rc = find_digests(writer, frame, &digests, err);
    if (rc == 0)
        rc = blx_segment_writer_note(writer, frame, offset, digests, err);
    if (rc == 0)
        writer->end_bytes = offset + frame->frame_bytes;
    return rc;
}

/* 1: the header is good; 0: it is torn and nothing follows. */
static int check_header(struct blx_segment_writer *writer, uint64_t file_bytes,
                        struct blx_error *err)
{
    struct blx_segment_header_disk header;
    if (file_bytes < sizeof(header))
        return 0;
    int rc = blx_pread_full(writer->fd, &header, sizeof(header), 0);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot read '%s'", writer->path);
    size_t field = offsetof(__typeof__(header), checksum);
    if (blx_le32_get(header.magic) != BLX_SEGMENT_MAGIC ||
        blx_layout_checksum(&header, sizeof(header), field) != blx_le64_get(header.checksum)) {
        uint64_t found;
        rc = blx_segment_find_frame(writer->fd, writer->path, 0, file_bytes, &found, err);
        if (rc <= 0)
            return rc;
        return blx_error_set(err, -EBADMSG,
                             "'%s' is damaged: its header is not valid, but frames follow",
                             writer->path);
    }
    if (header.version < BLX_LAYOUT_VERSION || header.version > BLX_SEGMENT_VERSION)
        return blx_error_set(err, -ENOTSUP,
                             "'%s' has version %u, this program knows up to %d; use a newer blxrep",
                             writer->path, header.version, BLX_SEGMENT_VERSION);
    uint32_t number = blx_le32_get(header.number);
    if (number < writer->summary.number || header.block_shift != writer->summary.block_shift)
        return blx_error_set(
            err, -EBADMSG,
            "'%s' is segment %u with block shift %u; number %u or higher and block "
            "shift %u were expected",
            writer->path, number, header.block_shift, writer->summary.number,
            writer->summary.block_shift);
    writer->summary.number = number;
    writer->version = header.version;
    return 1;
}

/* Takes the frames up to the first place without a frame that follows the one before. */
static int take_frames(struct blx_segment_writer *writer, uint64_t file_bytes,
                       struct blx_segment_recovery *recovery, struct blx_error *err)
{
    struct blx_error cause = {0};
    uint64_t found;
    writer->end_bytes = sizeof(struct blx_segment_header_disk);
    int rc = blx_segment_scan(writer->fd, writer->path, writer->end_bytes, file_bytes, visit_frame,
                              writer, &cause);
    if (rc < 0 && rc != -EBADMSG)
        return blx_error_copy(err, rc, &cause);
    if (rc == -EBADMSG)
        blx_text_set(recovery->damage, cause.message);
    else if (writer->end_bytes < file_bytes)
        rc = blx_segment_find_frame(writer->fd, writer->path, writer->end_bytes + 1, file_bytes,
                                    &found, err);
    if (rc == 1)
        snprintf(recovery->damage, sizeof(recovery->damage),
                 "'%.100s' is damaged at byte %llu: whole frames follow after it", writer->path,
                 (unsigned long long)writer->end_bytes);
    return rc < 0 && rc != -EBADMSG ? rc : 0;
}

/*
 * What is found here will be called durable. So it is written out first, and then read from the
 * disk, not from the page cache: after a write that failed the kernel keeps the pages, as if they
 * were clean.
 */
static int recover(struct blx_segment_writer *writer, uint64_t file_bytes,
                   struct blx_segment_recovery *recovery, struct blx_error *err)
{
    if (blx_sys->fsync(writer->fd) != 0)
        return write_failed(writer, -errno, err);
    posix_fadvise(writer->fd, 0, 0, POSIX_FADV_DONTNEED);
    int rc = blx_digest_log_reopen(&writer->log, err);
    if (rc < 0)
        return rc;
    rc = take_frames(writer, file_bytes, recovery, err);
    if (rc < 0)
        return rc;
    if (writer->end_bytes < file_bytes &&
        blx_sys->ftruncate(writer->fd, (off_t)writer->end_bytes) != 0)
        return write_failed(writer, -errno, err);
    recovery->cut_bytes = file_bytes - writer->end_bytes;
    if (writer->summary.frame_count == 0 && writer->version < BLX_SEGMENT_VERSION) {
        blx_digest_log_close(&writer->log);
        rc = blx_segment_writer_begin(writer, err);
    }
    return rc < 0 ? rc : make_durable(writer, err);
}

static int open_file(struct blx_segment_writer *writer, struct blx_segment_recovery *recovery,
                     struct blx_error *err)
{
    writer->fd = blx_open(writer->path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600, err);
    if (writer->fd < 0)
        return writer->fd;
    struct stat st;
    if (fstat(writer->fd, &st) != 0)
        return blx_error_errno(err, -errno, "cannot read '%s'", writer->path);
    int rc = check_header(writer, (uint64_t)st.st_size, err);
    if (rc < 0)
        return rc;
    if (rc == 1)
        return recover(writer, (uint64_t)st.st_size, recovery, err);
    recovery->cut_bytes = (uint64_t)st.st_size;
    return start_anew(writer, err);
}

int blx_segment_writer_open(const char *volume_dir, uint32_t number, unsigned block_shift,
                            struct blx_segment_writer **writer,
                            struct blx_segment_recovery *recovery, struct blx_error *err)
{
    struct blx_segment_writer *opened = calloc(1, sizeof(*opened));
    if (opened == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot open a segment in '%s'", volume_dir);
    opened->fd = opened->log.fd = -1;
    opened->summary.number = number;
    opened->summary.block_shift = block_shift;
    struct blx_segment_recovery done = {0};
    int rc = blx_path_format(opened->dir, sizeof(opened->dir), err, "%s", volume_dir);
    if (rc == 0)
        rc = blx_path_format(opened->path, sizeof(opened->path), err, "%s/open.seg", volume_dir);
    if (rc == 0)
        rc = blx_digest_log_init(&opened->log, opened->path, err);
    if (rc == 0)
        rc = open_file(opened, &done, err);
    if (rc < 0) {
        blx_segment_writer_close(opened);
        return rc;
    }
    if (recovery != NULL)
        *recovery = done;
    *writer = opened;
    return 0;
}

void blx_segment_writer_close(struct blx_segment_writer *writer)
{
    if (writer == NULL)
        return;
    if (writer->fd >= 0)
        close(writer->fd);
    blx_digest_log_close(&writer->log);
    blx_index_done(&writer->index);
    free(writer);
}

int blx_segment_writer_append(struct blx_segment_writer *writer, const struct blx_frame *frame,
                              struct blx_error *err)
{
    const struct blx_key_id key_id = digest_key_of(writer, frame);
    enum blx_digest_state digests = BLX_DIGESTS_MISSING;
    int rc = 0;
    if (!blx_key_id_is_none(&key_id) && frame->data_bytes > 0) {
        rc = blx_digest_log_write(&writer->log, frame, &key_id, err);
        digests = BLX_DIGESTS_LOGGED;
    }
    if (rc == 0)
        rc = blx_segment_writer_note(writer, frame, writer->end_bytes, digests, err);
    if (rc < 0)
        return rc;
    rc = blx_pwrite_full(writer->fd, frame->bytes, frame->frame_bytes, writer->end_bytes);
    if (rc < 0)
        return write_failed(writer, rc, err);
    writer->end_bytes += frame->frame_bytes;
    return 0;
}

int blx_segment_writer_sync(struct blx_segment_writer *writer, struct blx_error *err)
{
    if (blx_sys->fdatasync(writer->fd) != 0)
        return write_failed(writer, -errno, err);
    return 0;
}

void blx_segment_writer_summary(const struct blx_segment_writer *writer,
                                struct blx_segment_summary *summary)
{
    *summary = writer->summary;
}

void blx_segment_writer_set_digest_key(struct blx_segment_writer *writer,
                                       const struct blx_key_id *key_id)
{
    writer->digest_key_id = *key_id;
}

bool blx_segment_writer_is_full(const struct blx_segment_writer *writer,
                                const struct blx_key_id *digest_key_id)
{
    const bool older = writer->version < BLX_SEGMENT_VERSION && writer->summary.frame_count > 0;
    return writer->summary.stored_bytes >= BLX_SEGMENT_MAX_BYTES ||
           writer->index.count >= BLX_SEGMENT_MAX_ENTRIES ||
           writer->log.end >= BLX_SEGMENT_MAX_DIGESTS ||
           (older && digest_key_id != NULL && !blx_key_id_is_none(digest_key_id));
}
