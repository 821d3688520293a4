/* SPDX-License-Identifier: Apache-2.0 */
/* A frame: what parses unpacks within its bounds, and packed again it says the same. What is
 * encrypted decrypts to that, or is refused. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "repair.h"
#include "wire/frame.h"

static void check_extents(const struct blx_frame *frame)
{
    uint64_t end = 0, data_blocks = 0;
    for (uint32_t i = 0; i < frame->extent_count; i++) {
        struct blx_frame_extent at = blx_frame_extent_at(frame, i);
        FUZZ_ASSERT(at.extent.block_count > 0);
        FUZZ_ASSERT(at.extent.start_block >= end);
        end = at.extent.start_block + at.extent.block_count;
        FUZZ_ASSERT(end <= (uint64_t)INT64_MAX >> frame->block_shift);
        data_blocks += at.zero ? 0 : at.extent.block_count;
    }
    FUZZ_ASSERT(data_blocks << frame->block_shift == frame->data_bytes);
    FUZZ_ASSERT(blx_frame_check_bounds(frame, end, NULL) == 0);
    FUZZ_ASSERT(blx_frame_check_bounds(frame, end - 1, NULL) == -EBADMSG);
}

/* The key of the encrypted seeds, under whatever id the frame names. */
static struct blx_volume_key key_for(const struct blx_frame *frame)
{
    const struct blx_key key = {.secret = "the key of the seeds", .id = frame->key_id};
    struct blx_volume_key derived;
    FUZZ_ASSERT(blx_volume_key_derive(&key, "web1", "vda", &derived, NULL) == 0);
    return derived;
}

/* The same extents and data once more through pack, seal and parse. */
static void check_packs_again(const struct blx_frame *frame, const struct blx_volume_key *key,
                              const void *data)
{
    struct blx_frame_extent *extents = calloc(frame->extent_count, sizeof(extents[0]));
    FUZZ_ASSERT(extents != NULL);
    for (uint32_t i = 0; i < frame->extent_count; i++)
        extents[i] = blx_frame_extent_at(frame, i);
    const struct blx_frame_content content = {
        .codec = frame->codec,
        .block_shift = frame->block_shift,
        .generation = frame->generation,
        .extents = extents,
        .extent_count = frame->extent_count,
        .data = data,
        .data_bytes = frame->data_bytes,
        .key = key,
    };
    uint8_t *packed = malloc(blx_frame_bound(&content));
    uint8_t *unpacked = malloc(frame->data_bytes + 1UL);
    size_t packed_bytes = 0;
    struct blx_frame again;
    FUZZ_ASSERT(packed != NULL && unpacked != NULL);
    FUZZ_ASSERT(blx_frame_pack(&content, packed, &packed_bytes, NULL) == 0);
    FUZZ_ASSERT(packed_bytes <= blx_frame_bound(&content));
    blx_frame_seal(packed, frame->seq);
    FUZZ_ASSERT(blx_frame_parse(packed, packed_bytes, &again, NULL) == 0);
    FUZZ_ASSERT(again.seq == frame->seq && again.extent_count == frame->extent_count);
    for (uint32_t i = 0; i < frame->extent_count; i++) {
        struct blx_frame_extent at = blx_frame_extent_at(&again, i);
        FUZZ_ASSERT(at.zero == extents[i].zero);
        FUZZ_ASSERT(at.extent.start_block == extents[i].extent.start_block);
        FUZZ_ASSERT(at.extent.block_count == extents[i].extent.block_count);
    }
    FUZZ_ASSERT(blx_key_id_equal(&again.key_id, &frame->key_id));
    FUZZ_ASSERT(key == NULL || frame->data_bytes == 0 ||
                blx_frame_unpack(&again, unpacked, NULL) == -EBADMSG);
    FUZZ_ASSERT(blx_frame_decrypt(&again, packed, key, NULL) == 0);
    FUZZ_ASSERT(blx_frame_unpack(&again, unpacked, NULL) == 0);
    FUZZ_ASSERT(frame->data_bytes == 0 || memcmp(unpacked, data, frame->data_bytes) == 0);
    free(unpacked);
    free(packed);
    free(extents);
}

static void check_frame(const uint8_t *bytes, size_t size)
{
    struct blx_frame frame;
    struct blx_error err = {0};
    size_t frame_bytes = 0;
    int peeked = size < sizeof(struct blx_frame_header_disk)
                     ? -EBADMSG
                     : blx_frame_peek(bytes, &frame_bytes, NULL);
    FUZZ_ASSERT(peeked < 0 || (frame_bytes >= sizeof(struct blx_frame_header_disk) &&
                               frame_bytes <= BLX_FRAME_MAX_BYTES));
    int rc = blx_frame_parse(bytes, size, &frame, &err);
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
        return;
    }
    FUZZ_ASSERT(peeked == 0 && frame_bytes == size);
    FUZZ_ASSERT(frame.payload >= bytes && frame.payload + frame.payload_bytes == bytes + size);
    check_extents(&frame);
    uint8_t *data = malloc(frame.data_bytes > 0 ? frame.data_bytes : 1);
    uint8_t *copy = fuzz_copy(bytes, size);
    FUZZ_ASSERT(data != NULL);
    const bool is_encrypted = frame.is_ciphertext;
    const struct blx_volume_key key = key_for(&frame);
    struct blx_error unpack_err = {0};
    FUZZ_ASSERT(is_encrypted == !blx_key_id_is_none(&frame.key_id));
    FUZZ_ASSERT(blx_frame_parse(copy, size, &frame, NULL) == 0);
    rc = blx_frame_decrypt(&frame, copy, is_encrypted ? &key : NULL, &unpack_err);
    if (rc == 0)
        rc = blx_frame_unpack(&frame, data, &unpack_err);
    if (rc == 0)
        check_packs_again(&frame, is_encrypted ? &key : NULL, data);
    else
        fuzz_assert_refusal(rc, &unpack_err);
    free(copy);
    free(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_frame(data, size);
    uint8_t *repaired = fuzz_copy(data, size);
    repair_frame(repaired, size);
    check_frame(repaired, size);
    free(repaired);
    return 0;
}
