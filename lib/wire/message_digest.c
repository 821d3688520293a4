/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of the messages of a rescan. */
#include <errno.h>
#include <string.h>

#include "wire/digest.h"
#include "wire/message_disk_private.h"
#include "wire/text_private.h"

static int bad(struct blx_error *err, const char *reason)
{
    return blx_error_set(err, -EBADMSG, "%s", reason);
}

size_t blx_message_put_digest_request(const struct blx_message *message, uint8_t *body)
{
    const struct blx_digest_request *request = &message->digest_request;
    struct blx_digest_request_disk disk = {
        .volume = blx_le32_of(request->volume),
        .flags = blx_le32_of(request->fresh ? BLX_DIGEST_REQUEST_FRESH : 0),
        .request = blx_le64_of(request->request),
        .first_block = blx_le64_of(request->first_block),
        .blocks_per_digest = blx_le32_of(request->blocks_per_digest),
        .extent_count = blx_le32_of(request->extent_count),
    };
    memcpy(body, &disk, sizeof(disk));
    size_t bytes = sizeof(disk);
    for (uint32_t i = 0; i < request->extent_count && i < BLX_DIGEST_MAX_EXTENTS; i++) {
        struct blx_digest_extent_disk extent = {
            .gap_blocks = blx_le16_of(request->extents[i].gap_blocks),
            .block_count = blx_le16_of(request->extents[i].block_count),
        };
        memcpy(body + bytes, &extent, sizeof(extent));
        bytes += sizeof(extent);
    }
    return bytes;
}

static int get_extents(const uint8_t *body, struct blx_digest_request *request,
                       struct blx_error *err)
{
    for (uint32_t i = 0; i < request->extent_count; i++) {
        struct blx_digest_extent_disk extent;
        memcpy(&extent, body + i * sizeof(extent), sizeof(extent));
        request->extents[i].gap_blocks = blx_le16_get(extent.gap_blocks);
        request->extents[i].block_count = blx_le16_get(extent.block_count);
        if (request->extents[i].block_count == 0)
            return bad(err, "an extent is empty");
    }
    if (request->extents[0].gap_blocks != 0)
        return bad(err, "its first extent does not begin at its first block");
    if (blx_digest_request_blocks(request) > BLX_DIGEST_MAX_BLOCKS)
        return bad(err, "it asks for too many blocks at once");
    if (blx_digest_request_pieces(request) * blx_digest_bytes(request->blocks_per_digest) >
        BLX_DIGESTS_MAX_BYTES)
        return bad(err, "it asks for too many digests at once");
    return 0;
}

int blx_message_get_digest_request(const uint8_t *body, size_t body_bytes,
                                   struct blx_message *message, struct blx_error *err)
{
    struct blx_digest_request_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_digest_request *request = &message->digest_request;
    request->request = blx_le64_get(disk.request);
    request->first_block = blx_le64_get(disk.first_block);
    request->blocks_per_digest = blx_le32_get(disk.blocks_per_digest);
    request->extent_count = blx_le32_get(disk.extent_count);
    request->fresh = blx_le32_get(disk.flags) == BLX_DIGEST_REQUEST_FRESH;
    if (blx_le32_get(disk.flags) > BLX_DIGEST_REQUEST_FRESH)
        return bad(err, "its flags are unknown");
    if (request->blocks_per_digest == 0 || request->blocks_per_digest > BLX_DIGEST_MAX_PIECE_BLOCKS)
        return bad(err, "the number of blocks in a digest is out of range");
    if (request->first_block > INT64_MAX >> BLX_BLOCK_SHIFT_MIN)
        return bad(err, "its first block is out of range");
    if (request->extent_count == 0 || request->extent_count > BLX_DIGEST_MAX_EXTENTS)
        return bad(err, "the number of extents is out of range");
    if (body_bytes != sizeof(disk) + request->extent_count * sizeof(struct blx_digest_extent_disk))
        return bad(err, "its size does not fit the number of extents");
    int rc = blx_field_get_volume(disk.volume, &request->volume, err);
    return rc < 0 ? rc : get_extents(body + sizeof(disk), request, err);
}

size_t blx_message_put_digests(const struct blx_message *message, uint8_t *body)
{
    const struct blx_digests *digests = &message->digests;
    struct blx_digests_disk disk = {
        .volume = blx_le32_of(digests->volume),
        .digest_bytes = blx_le32_of(digests->digest_bytes),
        .request = blx_le64_of(digests->request),
        .count = blx_le32_of(digests->count),
    };
    memcpy(body, &disk, sizeof(disk));
    size_t bytes = (size_t)digests->count * digests->digest_bytes;
    if (bytes > BLX_DIGESTS_MAX_BYTES)
        return sizeof(disk); /* the decoder refuses that */
    memcpy(body + sizeof(disk), digests->bytes, bytes);
    return sizeof(disk) + bytes;
}

int blx_message_get_digests(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                            struct blx_error *err)
{
    struct blx_digests_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_digests *digests = &message->digests;
    digests->request = blx_le64_get(disk.request);
    digests->digest_bytes = blx_le32_get(disk.digest_bytes);
    digests->count = blx_le32_get(disk.count);
    if (digests->digest_bytes != BLX_DIGEST_FINE_BYTES &&
        digests->digest_bytes != BLX_DIGEST_COARSE_BYTES)
        return bad(err, "the size of its digests is unknown");
    if (digests->count == 0 || digests->count > BLX_DIGESTS_MAX_BYTES / digests->digest_bytes)
        return bad(err, "the number of digests is out of range");
    size_t bytes = (size_t)digests->count * digests->digest_bytes;
    if (body_bytes != sizeof(disk) + bytes)
        return bad(err, "its size does not fit the number of digests");
    memcpy(digests->bytes, body + sizeof(disk), bytes);
    int rc = blx_field_check_reserved(disk.reserved, err);
    return rc < 0 ? rc : blx_field_get_volume(disk.volume, &digests->volume, err);
}

size_t blx_message_put_rescan_request(const struct blx_message *message, uint8_t *body)
{
    struct blx_error_disk disk;
    blx_text_put(disk.text, sizeof(disk.text), message->rescan_request.text);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_rescan_request(const uint8_t *body, size_t body_bytes,
                                   struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_error_disk disk;
    memcpy(&disk, body, sizeof(disk));
    return blx_field_get_text(disk.text, message->rescan_request.text, "the reason", err);
}
