/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a restore's bytes: past the page cache or through it, and only those that differ. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/io.h"
#include "base/sys.h"
#include "store/restore/restore_output_private.h"

enum {
    DIRECT_MIN_BYTES = 128 << 10, /* smaller pieces may have neighbours that come soon */
    COMPARE_BYTES = 128 << 10,    /* at a time */
    COMPARE_UNIT_BYTES = 4096,    /* of which each is equal, or is written */
};

static const uint8_t zeros[COMPARE_BYTES] __attribute__((aligned(BLX_RESTORE_ALIGNMENT)));

static const char *name_of(const struct blx_restore_output *output)
{
    return output->partial[0] != '\0' ? output->partial : output->path;
}

int blx_restore_output_failed(const struct blx_restore_output *output, int rc,
                              struct blx_error *err)
{
    return blx_error_errno(err, rc, "cannot write '%s'", name_of(output));
}

static uint64_t clipped(const struct blx_restore_output *output, uint64_t offset, uint64_t bytes)
{
    uint64_t left = offset < output->size_bytes ? output->size_bytes - offset : 0;
    return bytes < left ? bytes : left;
}

/* How much of it goes past the page cache. */
static size_t direct_part(const struct blx_restore_output *output, const void *data, size_t bytes,
                          uint64_t offset)
{
    if (output->direct_fd < 0 || (bytes < DIRECT_MIN_BYTES && !output->checks) ||
        (uintptr_t)data % BLX_RESTORE_ALIGNMENT != 0 || offset % BLX_RESTORE_ALIGNMENT != 0)
        return 0;
    return bytes - bytes % BLX_RESTORE_ALIGNMENT;
}

static int write_piece(struct blx_restore_output *output, const uint8_t *data, size_t bytes,
                       uint64_t offset, struct blx_error *err)
{
    output->touched = true;
    size_t direct = direct_part(output, data, bytes, offset);
    int rc = direct > 0 ? blx_pwrite_full(output->direct_fd, data, direct, offset) : 0;
    if (rc == -EINVAL)
        direct = 0; /* the device wants a larger alignment */
    else if (rc < 0)
        return blx_restore_output_failed(output, rc, err);
    rc = blx_pwrite_full(output->fd, data + direct, bytes - direct, offset + direct);
    if (rc < 0)
        return blx_restore_output_failed(output, rc, err);
    atomic_fetch_add(&output->written_bytes, bytes);
    return 0;
}

/* For ranges that cannot be zeroed otherwise, such as a tail that is no multiple of a sector. */
static int write_zeros(struct blx_restore_output *output, uint64_t offset, uint64_t bytes,
                       struct blx_error *err)
{
    int rc = 0;
    while (rc == 0 && bytes > 0) {
        size_t piece = bytes < sizeof(zeros) ? (size_t)bytes : sizeof(zeros);
        rc = write_piece(output, zeros, piece, offset, err);
        offset += piece;
        bytes -= piece;
    }
    return rc;
}

/* Without writing it, if the device or the filesystem can. */
static int zero_piece(struct blx_restore_output *output, uint64_t offset, uint64_t bytes,
                      struct blx_error *err)
{
    output->touched = true;
    uint64_t range[2] = {offset, bytes};
    int rc = output->device
                 ? ioctl(output->fd, BLKZEROOUT, range)
                 : blx_sys->fallocate(output->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                      (off_t)offset, (off_t)bytes);
    if (rc == 0)
        return 0;
    if (errno == EINVAL || errno == EOPNOTSUPP || errno == ENOTTY || errno == ENOSYS)
        return write_zeros(output, offset, bytes, err);
    return blx_restore_output_failed(output, -errno, err);
}

int blx_restore_output_read(const struct blx_restore_output *output, void *buffer, size_t bytes,
                            uint64_t offset, struct blx_error *err)
{
    int rc = -EINVAL;
    if (direct_part(output, buffer, bytes, offset) == bytes)
        rc = blx_pread_full(output->direct_fd, buffer, bytes, offset);
    if (rc == -EINVAL)
        rc = blx_pread_full(output->fd, buffer, bytes, offset);
    return rc < 0 ? blx_error_errno(err, rc, "cannot read '%s'", name_of(output)) : 0;
}

static int differs_at(const struct blx_restore_output *output, uint64_t offset, size_t bytes,
                      struct blx_error *err)
{
    return blx_error_set(
        err, -EUCLEAN,
        "'%s' differs from the checkpoint in the bytes %llu to %llu (block %llu "
        "of 4096 bytes): the disk does not keep what is written to it, or somebody "
        "else writes there; restore again, onto another disk if it happens twice",
        name_of(output), (unsigned long long)offset, (unsigned long long)(offset + bytes - 1),
        (unsigned long long)(offset / COMPARE_UNIT_BYTES));
}

/* Writes the units of at most COMPARE_BYTES that differ from the target's, or fails if it checks;
 * `data` NULL means zeros. */
static int update_piece(struct blx_restore_output *output, const uint8_t *data, size_t bytes,
                        uint64_t offset, struct blx_error *err)
{
    uint8_t old[COMPARE_BYTES] __attribute__((aligned(BLX_RESTORE_ALIGNMENT)));
    const uint8_t *wanted = data != NULL ? data : zeros;
    int rc = blx_restore_output_read(output, old, bytes, offset, err);
    for (size_t at = 0; rc == 0 && at < bytes;) {
        size_t start = at;
        bool differs = false;
        while (at < bytes) { /* units that are alike in this */
            size_t unit = bytes - at < COMPARE_UNIT_BYTES ? bytes - at : COMPARE_UNIT_BYTES;
            bool this_differs = memcmp(old + at, wanted + at, unit) != 0;
            if (at > start && this_differs != differs)
                break;
            differs = this_differs;
            at += unit;
        }
        if (differs && output->checks)
            rc = differs_at(output, offset + start, at - start, err);
        else if (differs)
            rc = data != NULL ? write_piece(output, data + start, at - start, offset + start, err)
                              : zero_piece(output, offset + start, at - start, err);
    }
    if (rc == 0 && output->checks)
        atomic_fetch_add(&output->written_bytes, bytes);
    return rc;
}

static int update(struct blx_restore_output *output, const uint8_t *data, uint64_t bytes,
                  uint64_t offset, struct blx_error *err)
{
    int rc = 0;
    for (uint64_t at = 0; rc == 0 && at < bytes; at += COMPARE_BYTES) {
        size_t piece = bytes - at < COMPARE_BYTES ? (size_t)(bytes - at) : COMPARE_BYTES;
        rc = update_piece(output, data != NULL ? data + at : NULL, piece, offset + at, err);
    }
    return rc;
}

int blx_restore_output_write(struct blx_restore_output *output, const void *data, uint64_t bytes,
                             uint64_t offset_bytes, struct blx_error *err)
{
    bytes = clipped(output, offset_bytes, bytes);
    if (output->compares)
        return update(output, data, bytes, offset_bytes, err);
    return write_piece(output, data, (size_t)bytes, offset_bytes, err);
}

/* The next place from `at` on where the file has data, so that holes are not read; `end` if there
 * is none. */
static uint64_t next_data(const struct blx_restore_output *output, uint64_t at, uint64_t end)
{
    off_t found = output->device ? (off_t)at : lseek(output->fd, (off_t)at, SEEK_DATA);
    if (found < 0)
        return errno == ENXIO ? end : at;
    uint64_t unit = (uint64_t)found - (uint64_t)found % COMPARE_UNIT_BYTES;
    return unit < at ? at : unit < end ? unit : end;
}

int blx_restore_output_zero(struct blx_restore_output *output, uint64_t offset_bytes,
                            uint64_t bytes, struct blx_error *err)
{
    uint64_t at = offset_bytes, end = at + clipped(output, offset_bytes, bytes);
    int rc = 0;
    if (!output->compares)
        return output->device && at < end ? zero_piece(output, at, end - at, err) : 0;
    while (rc == 0 && (at = next_data(output, at, end)) < end) {
        uint64_t piece = end - at < COMPARE_BYTES ? end - at : COMPARE_BYTES;
        rc = update(output, NULL, piece, at, err);
        at += piece;
    }
    return rc;
}

/* An error of the disk is not lost here: fsync tells it. */
void blx_restore_output_flush(const struct blx_restore_output *output)
{
    if (!output->checks)
        sync_file_range(output->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}
