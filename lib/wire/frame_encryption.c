/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/frame_encryption_private.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/sha.h>
#include <string.h>
#include <sys/random.h>

enum { TAG_OFFSET = offsetof(struct blx_frame_encryption_disk, tag) };

size_t blx_frame_encryption_bytes(uint32_t data_bytes, unsigned block_shift)
{
    return sizeof(struct blx_frame_encryption_disk) +
           blx_frame_digest_bytes(data_bytes, block_shift);
}

static size_t extents_end(uint32_t extent_count)
{
    return sizeof(struct blx_frame_header_disk) +
           (size_t)extent_count * sizeof(struct blx_extent_disk);
}

int blx_frame_encryption_parse(struct blx_frame *frame, struct blx_error *err)
{
    struct blx_frame_encryption_disk disk;
    const uint8_t *at = frame->bytes + extents_end(frame->extent_count);
    memcpy(&disk, at, sizeof(disk));
    memcpy(frame->key_id.bytes, disk.key_id, sizeof(disk.key_id));
    if (blx_key_id_is_none(&frame->key_id))
        return blx_error_set(err, -EBADMSG, "not a valid frame: it is encrypted with no key");
    frame->digests = at + sizeof(disk);
    frame->is_ciphertext = true;
    return 0;
}

/* What the tag covers besides the payload. `header` is the frame's, with seq and checksum zero. */
struct cover {
    struct blx_frame_header_disk header;
    struct blx_xaes_piece pieces[4];
};

static void cover_init(struct cover *cover, const uint8_t *bytes)
{
    memcpy(&cover->header, bytes, sizeof(cover->header));
    cover->header.seq = blx_le64_of(0);
    cover->header.checksum = blx_le64_of(0);
    size_t header_bytes = sizeof(cover->header);
    size_t end = extents_end(blx_le32_get(cover->header.extent_count));
    size_t digests = end + sizeof(struct blx_frame_encryption_disk);
    size_t payload =
        blx_le32_get(cover->header.frame_bytes) - (size_t)blx_le32_get(cover->header.payload_bytes);
    cover->pieces[0] = (struct blx_xaes_piece){&cover->header, header_bytes};
    cover->pieces[1] = (struct blx_xaes_piece){bytes + header_bytes, end - header_bytes};
    cover->pieces[2] = (struct blx_xaes_piece){bytes + end, TAG_OFFSET};
    cover->pieces[3] = (struct blx_xaes_piece){bytes + digests, payload - digests};
}

static struct blx_xaes_message message_of(const struct cover *cover,
                                          const struct blx_volume_key *key, const uint8_t *nonce)
{
    return (struct blx_xaes_message){
        .key = key->encryption,
        .nonce = nonce,
        .pieces = cover->pieces,
        .piece_count = sizeof(cover->pieces) / sizeof(cover->pieces[0]),
    };
}

/*
 * The kernel's random bytes alone repeat in a machine that is resumed twice from one snapshot. So
 * the nonce is a digest of them and of all that the tag covers: header, extents, key id and the
 * blocks' digests, which are at `bytes` already, and of the level, by which the payload may differ.
 * Frames that have all of this in common are equal, and one nonce betrays nothing. `disk` is at
 * `at`.
 */
static int make_nonce(const struct blx_frame_content *content, const uint8_t *bytes, uint8_t *at,
                      const uint8_t *payload, struct blx_error *err)
{
    struct blx_frame_encryption_disk disk;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    _Static_assert(sizeof(disk.nonce) <= sizeof(digest), "the nonce is a part of the digest");
    _Static_assert(sizeof(content->level) <= sizeof(disk.tag), "the tag's place holds the level");
    memcpy(&disk, at, sizeof(disk));
    /* So few bytes come at once and in whole. */
    if (getrandom(disk.nonce, sizeof(disk.nonce), 0) != (ssize_t)sizeof(disk.nonce))
        return blx_error_set(err, -EIO, "cannot encrypt a frame: no random numbers");
    memcpy(disk.tag, &content->level, sizeof(content->level));
    memcpy(at, &disk, sizeof(disk));
    if (SHA256(bytes, (size_t)(payload - bytes), digest) == NULL)
        return blx_error_set(err, -EIO, "cannot encrypt a frame: no digest");
    memcpy(disk.nonce, digest, sizeof(disk.nonce));
    memset(disk.tag, 0, sizeof(disk.tag));
    memcpy(at, &disk, sizeof(disk));
    return 0;
}

int blx_frame_encrypt(const struct blx_frame_content *content, uint8_t *bytes,
                      uint32_t payload_bytes, struct blx_error *err)
{
    struct blx_frame_encryption_disk disk = {0};
    uint8_t *at = bytes + extents_end(content->extent_count);
    uint8_t *payload = at + blx_frame_encryption_bytes(content->data_bytes, content->block_shift);
    const struct blx_frame view = {
        .bytes = bytes, .block_shift = content->block_shift, .extent_count = content->extent_count};
    int rc = blx_frame_digest(&view, content->data, content->key, at + sizeof(disk), err);
    if (rc < 0)
        return rc;
    memcpy(disk.key_id, content->key->id.bytes, sizeof(disk.key_id));
    memcpy(at, &disk, sizeof(disk));
    rc = make_nonce(content, bytes, at, payload, err);
    if (rc < 0)
        return rc;
    memcpy(&disk, at, sizeof(disk));
    struct cover cover;
    cover_init(&cover, bytes);
    const struct blx_xaes_message message = message_of(&cover, content->key, disk.nonce);
    return blx_xaes_encrypt(&message, payload, payload_bytes, at + TAG_OFFSET, err);
}

static int refuse(const struct blx_frame *frame, const char *why, struct blx_error *err)
{
    return blx_error_set(err, -EBADMSG, "frame %" PRIu64 " %s", frame->seq, why);
}

int blx_frame_decrypt(struct blx_frame *frame, void *bytes, const struct blx_volume_key *key,
                      struct blx_error *err)
{
    bool is_encrypted = !blx_key_id_is_none(&frame->key_id);
    if (key == NULL && !is_encrypted)
        return 0;
    if (key == NULL)
        return refuse(frame, "is encrypted, though its checkpoint is not", err);
    if (!is_encrypted)
        return refuse(frame, "is not encrypted, though its checkpoint is", err);
    if (!blx_key_id_equal(&frame->key_id, &key->id))
        return refuse(frame, "is encrypted with another key than its checkpoint", err);
    struct blx_frame_encryption_disk disk;
    memcpy(&disk, frame->bytes + extents_end(frame->extent_count), sizeof(disk));
    struct cover cover;
    cover_init(&cover, bytes);
    const struct blx_xaes_message message = message_of(&cover, key, disk.nonce);
    uint8_t *payload = (uint8_t *)bytes + (frame->payload - frame->bytes);
    struct blx_error cause = {0};
    int rc = blx_xaes_decrypt(&message, payload, frame->payload_bytes, disk.tag, &cause);
    if (rc == -EBADMSG)
        return refuse(frame,
                      "is not what the agent encrypted: it was changed, or put in this place", err);
    if (rc < 0)
        return blx_error_copy(err, rc, &cause);
    frame->is_ciphertext = false;
    return 0;
}
