/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment/segment_scan_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"

enum { WINDOW_BYTES = 4 * 1024 * 1024 };
_Static_assert((int)WINDOW_BYTES > 2 * (int)BLX_FRAME_MAX_BYTES, "a window holds any frame");

/* The part of the file that is in memory. */
struct window {
    int fd;
    const char *path;
    uint64_t file_bytes;
    uint8_t *buffer;
    uint64_t start;
    size_t filled;
};

static int window_init(struct window *window, int fd, const char *path, uint64_t file_bytes,
                       struct blx_error *err)
{
    *window = (struct window){.fd = fd, .path = path, .file_bytes = file_bytes};
    window->buffer = malloc(file_bytes < WINDOW_BYTES ? (size_t)file_bytes + 1 : WINDOW_BYTES);
    if (window->buffer == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot scan '%s'", path);
    return 0;
}

static void window_done(struct window *window)
{
    free(window->buffer);
}

static uint64_t left_at(const struct window *window, uint64_t offset)
{
    return offset < window->file_bytes ? window->file_bytes - offset : 0;
}

/* Makes [offset, offset + bytes) of the file present; it must lie inside the file and fit a window.
 */
static int window_get(struct window *window, uint64_t offset, size_t bytes, const uint8_t **at,
                      struct blx_error *err)
{
    if (offset < window->start || offset + bytes > window->start + window->filled) {
        uint64_t left = left_at(window, offset);
        size_t fill = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
        window->filled = 0;
        int rc = blx_pread_full(window->fd, window->buffer, fill, offset);
        if (rc < 0)
            return blx_error_errno(err, rc, "cannot read '%s'", window->path);
        window->start = offset;
        window->filled = fill;
    }
    *at = window->buffer + (offset - window->start);
    return 0;
}

/* 1 and the frame, which borrows the window; 0 if no whole frame lies at `offset`; -errno if
 * reading failed, or there is no memory to tell: what is not known to be none must not be cut off.
 */
static int frame_at(struct window *window, uint64_t offset, struct blx_frame *frame,
                    struct blx_error *err)
{
    const uint8_t *at = NULL;
    size_t frame_bytes;
    if (left_at(window, offset) < sizeof(struct blx_frame_header_disk))
        return 0;
    int rc = window_get(window, offset, sizeof(struct blx_frame_header_disk), &at, err);
    if (rc < 0)
        return rc;
    if (blx_frame_peek(at, &frame_bytes, NULL) < 0 || frame_bytes > left_at(window, offset) ||
        frame_bytes > WINDOW_BYTES)
        return 0;
    rc = window_get(window, offset, frame_bytes, &at, err);
    if (rc < 0)
        return rc;
    rc = blx_frame_parse(at, frame_bytes, frame, NULL);
    if (rc == -ENOMEM)
        return blx_error_errno(err, rc, "cannot scan '%s'", window->path);
    return rc == 0;
}

static int find_frame(struct window *window, uint64_t offset, uint64_t *found,
                      struct blx_error *err)
{
    const blx_le32 magic = blx_le32_of(BLX_FRAME_MAGIC);
    while (left_at(window, offset) >= sizeof(struct blx_frame_header_disk)) {
        const uint8_t *at = NULL;
        struct blx_frame frame;
        int rc = window_get(window, offset, sizeof(struct blx_frame_header_disk), &at, err);
        if (rc < 0)
            return rc;
        size_t present = (size_t)(window->start + window->filled - offset);
        const uint8_t *candidate = memmem(at, present, &magic, sizeof(magic));
        if (candidate == NULL) {
            offset += present - (sizeof(magic) - 1);
            continue;
        }
        offset += (uint64_t)(candidate - at);
        rc = frame_at(window, offset, &frame, err);
        if (rc == 1)
            *found = offset;
        if (rc != 0)
            return rc;
        offset++;
    }
    return 0;
}

int blx_segment_find_frame(int fd, const char *path, uint64_t offset, uint64_t file_bytes,
                           uint64_t *found, struct blx_error *err)
{
    BLX_CLEANUP(window_done) struct window window = {0};
    int rc = window_init(&window, fd, path, file_bytes, err);
    if (rc < 0)
        return rc;
    return find_frame(&window, offset, found, err);
}

int blx_segment_scan(int fd, const char *path, uint64_t offset, uint64_t file_bytes,
                     int (*visit)(void *arg, const struct blx_frame *frame, uint64_t offset,
                                  struct blx_error *err),
                     void *arg, struct blx_error *err)
{
    BLX_CLEANUP(window_done) struct window window = {0};
    int rc = window_init(&window, fd, path, file_bytes, err);
    if (rc < 0)
        return rc;
    struct blx_frame frame;
    while ((rc = frame_at(&window, offset, &frame, err)) == 1) {
        rc = visit(arg, &frame, offset, err);
        if (rc < 0)
            return rc;
        offset += frame.frame_bytes;
    }
    return rc;
}
