/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment/digest_log_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/io.h"
#include "base/sys.h"
#include "store/layout_private.h"

enum {
    FRAME_MAX_DIGESTS = BLX_FRAME_MAX_DATA_BYTES >> BLX_BLOCK_SHIFT_MIN,
    DIGEST_BYTES = BLX_BLOCK_DIGEST_BYTES,
};

/* A frame's record, which takes a whole number of digests. */
struct record {
    struct blx_digest_record_disk head;
    uint8_t digests[FRAME_MAX_DIGESTS * DIGEST_BYTES];
} __attribute__((packed));
_Static_assert(offsetof(struct record, digests) == DIGEST_BYTES, "the head is as a digest");

int blx_digest_log_init(struct blx_digest_log *log, const char *segment_path, struct blx_error *err)
{
    const char *end = strrchr(segment_path, '.');
    *log = (struct blx_digest_log){.fd = -1};
    blx_assert(end != NULL);
    return blx_path_format(log->path, sizeof(log->path), err, "%.*s.digests",
                           (int)(end - segment_path), segment_path);
}

int blx_digest_log_reopen(struct blx_digest_log *log, struct blx_error *err)
{
    struct blx_error cause = {0};
    int fd = blx_open(log->path, O_RDWR | O_NOFOLLOW, 0, &cause);
    if (fd == -ENOENT)
        return 0;
    if (fd < 0)
        return blx_error_copy(err, fd, &cause);
    log->fd = fd;
    return 0;
}

bool blx_digest_log_takes(const struct blx_digest_log *log, const struct blx_key_id *key_id)
{
    if (blx_key_id_is_none(key_id))
        return false;
    return blx_key_id_is_none(&log->key_id) || blx_key_id_equal(&log->key_id, key_id);
}

static uint32_t digests_of(const struct blx_frame *frame)
{
    return frame->data_bytes >> frame->block_shift;
}

uint32_t blx_digest_log_next(const struct blx_digest_log *log)
{
    return (uint32_t)log->end + 1;
}

void blx_digest_log_pass(struct blx_digest_log *log, const struct blx_frame *frame)
{
    if (frame->data_bytes > 0)
        log->end += 1 + digests_of(frame);
}

/* Of the key, the digests and the frame that they are of. */
static uint64_t record_checksum(struct record *record, const struct blx_frame *frame)
{
    struct blx_frame_header_disk header;
    memcpy(&header, frame->bytes, sizeof(header));
    record->head.checksum = header.checksum;
    return blx_layout_checksum_all(
        record,
        sizeof(record->head) + blx_frame_digest_bytes(frame->data_bytes, frame->block_shift));
}

static int make_file(struct blx_digest_log *log, struct blx_error *err)
{
    if (!blx_key_id_is_none(&log->key_id))
        return 0;
    blx_digest_log_close(log);
    log->fd = blx_open(log->path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, err);
    return log->fd < 0 ? log->fd : 0;
}

int blx_digest_log_write(struct blx_digest_log *log, const struct blx_frame *frame,
                         const struct blx_key_id *key_id, struct blx_error *err)
{
    struct record record;
    size_t bytes = blx_frame_digest_bytes(frame->data_bytes, frame->block_shift);
    blx_assert(blx_digest_log_takes(log, key_id));
    int rc = make_file(log, err);
    if (rc < 0)
        return rc;
    memcpy(record.digests, frame->digests, bytes);
    memcpy(record.head.key_id, key_id->bytes, sizeof(record.head.key_id));
    record.head.checksum = blx_le64_of(record_checksum(&record, frame));
    rc = blx_pwrite_full(log->fd, &record, sizeof(record.head) + bytes, log->end * DIGEST_BYTES);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot write '%s'", log->path);
    log->key_id = *key_id;
    return 0;
}

int blx_digest_log_find(struct blx_digest_log *log, const struct blx_frame *frame,
                        struct blx_error *err)
{
    struct record record;
    struct blx_key_id key_id;
    if (log->fd < 0 || frame->data_bytes == 0)
        return 0;
    size_t bytes =
        sizeof(record.head) + blx_frame_digest_bytes(frame->data_bytes, frame->block_shift);
    int rc = blx_pread_full(log->fd, &record, bytes, log->end * DIGEST_BYTES);
    if (rc == -ENODATA || rc == -EIO) /* what the disk does not give is missing */
        return 0;
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot read '%s'", log->path);
    memcpy(key_id.bytes, record.head.key_id, sizeof(key_id.bytes));
    uint64_t stored = blx_le64_get(record.head.checksum);
    if (!blx_digest_log_takes(log, &key_id) || record_checksum(&record, frame) != stored)
        return 0;
    log->key_id = key_id;
    return 1;
}

int blx_digest_log_read(const struct blx_digest_log *log, uint32_t place, uint32_t count,
                        uint8_t *digests, struct blx_error *err)
{
    int rc = blx_pread_full(log->fd, digests, (size_t)count * DIGEST_BYTES,
                            (uint64_t)place * DIGEST_BYTES);
    return rc < 0 ? blx_error_errno(err, rc, "cannot read '%s'", log->path) : 0;
}

void blx_digest_log_close(struct blx_digest_log *log)
{
    if (log->fd >= 0)
        close(log->fd);
    log->fd = -1;
}

int blx_digest_log_remove(struct blx_digest_log *log, struct blx_error *err)
{
    bool made = log->fd >= 0;
    blx_digest_log_close(log);
    if (made && blx_sys->unlink(log->path) != 0 && errno != ENOENT)
        return blx_error_errno(err, -errno, "cannot remove '%s'", log->path);
    return 0;
}
