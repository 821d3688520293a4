/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment/segment_part.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/layout_private.h"

/* DIR/agents/ID/volumes/VOL/NNNNNNNN.seg: so many names are below DIR. */
enum { NAMES_BELOW = 5 };

static int no_tail(struct blx_error *err)
{
    return blx_error_set(err, -EBADMSG, "what was copied is no sealed segment");
}

/* The tail that a valid footer tells of; 0: it is not valid. */
static uint64_t tail_of(struct blx_segment_footer_disk *footer, uint64_t file_bytes)
{
    size_t field = offsetof(struct blx_segment_footer_disk, checksum);
    uint64_t index = blx_le64_get(footer->index_offset);
    if (blx_le32_get(footer->magic) != BLX_FOOTER_MAGIC ||
        blx_layout_checksum(footer, sizeof(*footer), field) != blx_le64_get(footer->checksum) ||
        index < sizeof(struct blx_segment_header_disk) || index > file_bytes - sizeof(*footer))
        return 0;
    return file_bytes - index;
}

int blx_segment_find_tail(int fd, uint64_t file_bytes, uint64_t *tail_bytes, struct blx_error *err)
{
    struct blx_segment_footer_disk footer;
    if (file_bytes < sizeof(struct blx_segment_header_disk) + sizeof(footer))
        return no_tail(err);
    int rc = blx_pread_full(fd, &footer, sizeof(footer), file_bytes - sizeof(footer));
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot read what is copied");
    *tail_bytes = tail_of(&footer, file_bytes);
    return *tail_bytes > 0 ? 0 : no_tail(err);
}

/* The footer has all that the header says. */
static struct blx_segment_header_disk make_header(const struct blx_segment_footer_disk *footer)
{
    struct blx_segment_header_disk header = {.magic = blx_le32_of(BLX_SEGMENT_MAGIC),
                                             .version = footer->version,
                                             .block_shift = footer->block_shift,
                                             .flags = footer->flags,
                                             .number = footer->number};
    size_t field = offsetof(struct blx_segment_header_disk, checksum);
    header.checksum = blx_le64_of(blx_layout_checksum(&header, sizeof(header), field));
    return header;
}

int blx_segment_write_part(int fd, const void *tail, size_t tail_bytes, uint64_t file_bytes,
                           struct blx_error *err)
{
    struct blx_segment_footer_disk footer;
    if (tail_bytes < sizeof(footer) || tail_bytes > file_bytes)
        return no_tail(err);
    memcpy(&footer, (const uint8_t *)tail + tail_bytes - sizeof(footer), sizeof(footer));
    if (tail_of(&footer, file_bytes) != tail_bytes)
        return no_tail(err);
    const struct blx_segment_header_disk header = make_header(&footer);
    int rc = blx_pwrite_full(fd, &header, sizeof(header), 0);
    if (rc == 0)
        rc = blx_pwrite_full(fd, tail, tail_bytes, file_bytes - tail_bytes);
    if (rc == 0 && fchmod(fd, 01600) != 0)
        rc = -errno;
    return rc < 0 ? blx_error_errno(err, rc, "cannot write a part of a segment") : 0;
}

/* Where DIR ends in the path. */
static size_t find_dir(const char *path)
{
    size_t length = strlen(path);
    for (unsigned names = 0; names < NAMES_BELOW && length > 0; names++) {
        while (length > 0 && path[length - 1] != '/')
            length--;
        length -= length > 0;
    }
    return length;
}

/* The path of a socket is limited to 107 bytes, so it is reached by a descriptor of its folder. */
static int connect_to(const char *dir, struct blx_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    BLX_CLEANUP_FD int dir_fd = blx_open(dir, O_PATH | O_DIRECTORY, 0, err);
    if (dir_fd < 0)
        return dir_fd;
    BLX_CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir_fd,
             BLX_SEGMENT_FETCH_SOCKET);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        return blx_error_errno(err, -errno, "nobody fetches the rest of the copy into '%s'", dir);
    return blx_take_fd(&fd);
}

/* All until the other side ends it. */
static ssize_t read_answer(int fd, char *text, size_t bytes)
{
    size_t got = 0;
    while (got + 1 < bytes) {
        ssize_t more = read(fd, text + got, bytes - 1 - got);
        if (more < 0 && errno == EINTR)
            continue;
        if (more <= 0)
            break;
        got += (size_t)more;
    }
    text[got] = '\0';
    return (ssize_t)got;
}

int blx_segment_fetch(const char *path, struct blx_error *err)
{
    char dir[PATH_MAX], line[PATH_MAX], answer[BLX_ERROR_MESSAGE_BYTES];
    size_t length = find_dir(path);
    int bytes = snprintf(line, sizeof(line), "%s\n", path + length + 1);
    snprintf(dir, sizeof(dir), "%.*s", (int)length, path);
    BLX_CLEANUP_FD int fd = connect_to(dir, err);
    if (fd < 0)
        return fd;
    if (send(fd, line, (size_t)bytes, MSG_NOSIGNAL) != bytes)
        return blx_error_errno(err, -EIO, "cannot ask for the rest of '%s'", path);
    if (read_answer(fd, answer, sizeof(answer)) <= 0)
        return blx_error_set(err, -EIO,
                             "cannot fetch the rest of '%s': the process that fetches "
                             "has ended",
                             path);
    return strcmp(answer, "ok") == 0
               ? 0
               : blx_error_set(err, -EIO, "cannot fetch the rest of '%s': %.600s", path, answer);
}
