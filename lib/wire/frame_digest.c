/* SPDX-License-Identifier: Apache-2.0 */
/* The digests of a frame's blocks (frame.h): an encrypted frame has them inside, another one's go
 * beside it. */
#include "wire/frame.h"

#include <errno.h>
#include <inttypes.h>

size_t blx_frame_digest_bytes(uint32_t data_bytes, unsigned block_shift)
{
    return (size_t)(data_bytes >> block_shift) << BLX_BLOCK_DIGEST_SHIFT;
}

int blx_frame_parse_with_digests(const void *bytes, size_t length, struct blx_frame *frame,
                                 struct blx_error *err)
{
    struct blx_frame parsed;
    size_t frame_bytes = length;
    if (length >= sizeof(struct blx_frame_header_disk)) {
        int rc = blx_frame_peek(bytes, &frame_bytes, err);
        if (rc < 0)
            return rc;
    }
    int rc = blx_frame_parse(bytes, frame_bytes < length ? frame_bytes : length, &parsed, err);
    if (rc < 0)
        return rc;
    if (length - frame_bytes != blx_frame_digest_bytes(parsed.data_bytes, parsed.block_shift))
        return blx_error_set(err, -EBADMSG,
                             "frame %" PRIu64 " does not come with a digest of each of its blocks",
                             parsed.seq);
    if (length > frame_bytes)
        parsed.digests = (const uint8_t *)bytes + frame_bytes;
    *frame = parsed;
    return 0;
}

int blx_frame_digest(const struct blx_frame *frame, const void *data,
                     const struct blx_volume_key *key, uint8_t *digests, struct blx_error *err)
{
    struct blx_block_digester *digester = NULL;
    const uint8_t *from = data;
    size_t block_bytes = (size_t)1 << frame->block_shift;
    int rc = blx_block_digester_new(key, &digester, err);
    for (uint32_t i = 0; rc == 0 && i < frame->extent_count; i++) {
        struct blx_frame_extent at = blx_frame_extent_at(frame, i);
        uint64_t count = at.zero ? 0 : at.extent.block_count;
        for (uint64_t n = 0; rc == 0 && n < count; n++) {
            rc = blx_block_digest(digester, at.extent.start_block + n, from, block_bytes, digests,
                                  err);
            from += block_bytes;
            digests += BLX_BLOCK_DIGEST_BYTES;
        }
    }
    blx_block_digester_free(digester);
    return rc;
}
