/* SPDX-License-Identifier: Apache-2.0 */
#include "store/copy/segment_number_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "store/layout_private.h"

static int damaged(const char *path, struct blx_error *err)
{
    return blx_error_set(err, -EBADMSG, "'%s' is no segment of the expected number", path);
}

static int change_header(int fd, const char *path, uint32_t old, uint32_t number,
                         struct blx_error *err)
{
    struct blx_segment_header_disk header;
    int rc = blx_pread_full(fd, &header, sizeof(header), 0);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot read '%s'", path);
    size_t field = offsetof(struct blx_segment_header_disk, checksum);
    if (blx_le32_get(header.magic) != BLX_SEGMENT_MAGIC || blx_le32_get(header.number) != old ||
        blx_layout_checksum(&header, sizeof(header), field) != blx_le64_get(header.checksum))
        return damaged(path, err);
    header.number = blx_le32_of(number);
    header.checksum = blx_le64_of(blx_layout_checksum(&header, sizeof(header), field));
    rc = blx_pwrite_full(fd, &header, sizeof(header), 0);
    return rc < 0 ? blx_error_errno(err, rc, "cannot write '%s'", path) : 0;
}

static int change_footer(int fd, const char *path, uint64_t offset, uint32_t old, uint32_t number,
                         struct blx_error *err)
{
    struct blx_segment_footer_disk footer;
    int rc = blx_pread_full(fd, &footer, sizeof(footer), offset);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot read '%s'", path);
    size_t field = offsetof(struct blx_segment_footer_disk, checksum);
    if (blx_le32_get(footer.magic) != BLX_FOOTER_MAGIC || blx_le32_get(footer.number) != old ||
        blx_layout_checksum(&footer, sizeof(footer), field) != blx_le64_get(footer.checksum))
        return damaged(path, err);
    footer.number = blx_le32_of(number);
    footer.checksum = blx_le64_of(blx_layout_checksum(&footer, sizeof(footer), field));
    rc = blx_pwrite_full(fd, &footer, sizeof(footer), offset);
    return rc < 0 ? blx_error_errno(err, rc, "cannot write '%s'", path) : 0;
}

int blx_segment_set_number(const char *path, uint32_t old, uint32_t number, struct blx_error *err)
{
    struct stat st;
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDWR | O_NOFOLLOW, 0, err);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) != 0)
        return blx_error_errno(err, -errno, "cannot read '%s'", path);
    if ((uint64_t)st.st_size <
        sizeof(struct blx_segment_header_disk) + sizeof(struct blx_segment_footer_disk))
        return damaged(path, err);
    uint64_t footer = (uint64_t)st.st_size - sizeof(struct blx_segment_footer_disk);
    int rc = change_header(fd, path, old, number, err);
    if (rc == 0)
        rc = change_footer(fd, path, footer, old, number, err);
    if (rc == 0 && blx_sys->fsync(fd) != 0)
        rc = blx_error_errno(err, -errno, "cannot flush '%s'", path);
    return rc;
}
