/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "store/view/view.h"

enum { PIECE_BYTES = 1 << 20, CACHE_BYTES = 32 << 20 };

static int write_piece(int fd, const uint8_t *piece, size_t bytes, uint64_t *written_bytes,
                       struct blx_error *err)
{
    while (bytes > 0) {
        ssize_t taken = write(fd, piece, bytes);
        if (taken < 0 && errno == EINTR)
            continue;
        if (taken < 0)
            return blx_error_errno(err, -errno, "cannot write to the standard output");
        piece += taken;
        bytes -= (size_t)taken;
        *written_bytes += (uint64_t)taken;
    }
    return 0;
}

static int write_view(struct blx_view *view, const struct cli_stream *stream, int fd,
                      uint64_t *written_bytes, struct blx_error *err)
{
    const uint64_t size_bytes = blx_view_size_bytes(view);
    BLX_CLEANUP_FREE uint8_t *piece = malloc(PIECE_BYTES);
    if (piece == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read '%s'", stream->volume);
    for (uint64_t at = 0; at < size_bytes; at += PIECE_BYTES) {
        size_t bytes = size_bytes - at < PIECE_BYTES ? (size_t)(size_bytes - at) : PIECE_BYTES;
        int rc = blx_view_read(view, piece, bytes, at, err);
        if (rc == 0)
            rc = write_piece(fd, piece, bytes, written_bytes, err);
        if (rc < 0)
            return rc;
        cli_progress(stream->bar, at + bytes, size_bytes);
    }
    /* A pipe knows no fsync. */
    if (fsync(fd) != 0 && errno != EINVAL && errno != EROFS)
        return blx_error_errno(err, -errno, "cannot write to the standard output");
    return 0;
}

int cli_stream_write(const struct cli_stream *stream, int fd, uint64_t *written_bytes,
                     struct blx_error *err)
{
    struct blx_view *view = NULL;
    struct blx_frame_cache *cache = blx_frame_cache_new(CACHE_BYTES);
    *written_bytes = 0;
    if (cache == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read '%s'", stream->volume);
    const struct blx_view_request request = {.agent = stream->agent,
                                             .checkpoint = stream->checkpoint,
                                             .volume = stream->volume,
                                             .keys = stream->keys,
                                             .cache = cache};
    int rc = blx_view_open(&request, &view, err);
    if (rc == 0)
        rc = write_view(view, stream, fd, written_bytes, err);
    if (rc < 0)
        blx_error_prefix(err, "the image of '%s' ends after %llu bytes and is of no use",
                         stream->volume, (unsigned long long)*written_bytes);
    blx_view_close(view);
    blx_frame_cache_free(cache);
    return rc;
}
