/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "wire/frame.h"

enum { BLOCK = 4096, DATA_BLOCKS = 5, EXTENTS_END = 64 + 48, PAYLOAD = EXTENTS_END + 48 + 5 * 16 };

static const struct blx_frame_extent extents[] = {
    {.extent = {3, 2}},
    {.extent = {5, 1000000}, .zero = true},
    {.extent = {1000005, 3}},
};

static struct blx_volume_key key_of(uint8_t byte, const char *volume)
{
    struct blx_key key = {.id = {{byte}}};
    struct blx_volume_key derived;
    memset(key.secret, byte, sizeof(key.secret));
    assert_int_equal(blx_volume_key_derive(&key, "web1", volume, &derived, NULL), 0);
    return derived;
}

static void fill(uint8_t data[DATA_BLOCKS * BLOCK])
{
    for (size_t i = 0; i < DATA_BLOCKS * BLOCK; i++)
        data[i] = (uint8_t)("secret "[i % 7] + (char)(i / BLOCK));
}

static uint8_t *make(enum blx_codec codec, const struct blx_volume_key *key, uint32_t extent_count,
                     uint64_t seq, size_t *bytes)
{
    uint8_t data[DATA_BLOCKS * BLOCK];
    const struct blx_frame_content content = {
        .codec = codec,
        .block_shift = 12,
        .generation = {{1, 2, 3, 4}},
        .extents = extent_count == 1 ? &extents[1] : extents,
        .extent_count = extent_count,
        .data = data,
        .data_bytes = extent_count == 1 ? 0 : DATA_BLOCKS * BLOCK,
        .key = key,
    };
    fill(data);
    BLX_CLEANUP_FREE uint8_t *buffer = malloc(blx_frame_bound(&content));
    assert_non_null(buffer);
    assert_int_equal(blx_frame_pack(&content, buffer, bytes, NULL), 0);
    blx_frame_seal(buffer, seq);
    uint8_t *exact = malloc(*bytes); /* so that a read past the frame's end is found */
    assert_non_null(exact);
    memcpy(exact, buffer, *bytes);
    return exact;
}

static int open_frame(uint8_t *bytes, size_t length, const struct blx_volume_key *key,
                      struct blx_frame *frame, struct blx_error *err)
{
    assert_int_equal(blx_frame_parse(bytes, length, frame, NULL), 0);
    return blx_frame_decrypt(frame, bytes, key, err);
}

static void frame_round_trips_encrypted_with_every_codec(void **state)
{
    (void)state;
    const struct blx_volume_key key = key_of(1, "vda");
    for (int codec = BLX_CODEC_NONE; codec <= BLX_CODEC_ZSTD; codec++) {
        uint8_t data[DATA_BLOCKS * BLOCK], back[DATA_BLOCKS * BLOCK];
        size_t length = 0;
        struct blx_frame frame;
        BLX_CLEANUP_FREE uint8_t *bytes = make((enum blx_codec)codec, &key, 3, 9, &length);
        assert_null(memmem(bytes, length, "secret secret", 13));
        assert_int_equal(blx_frame_parse(bytes, length, &frame, NULL), 0);
        assert_true(blx_key_id_equal(&frame.key_id, &key.id));
        assert_ptr_equal(frame.payload, bytes + PAYLOAD);
        assert_int_equal(blx_frame_unpack(&frame, back, NULL), -EBADMSG);
        assert_int_equal(blx_frame_decrypt(&frame, bytes, &key, NULL), 0);
        assert_int_equal(blx_frame_unpack(&frame, back, NULL), 0);
        fill(data);
        assert_memory_equal(back, data, sizeof(data));
    }
}

static void frame_carries_the_digest_of_each_data_block(void **state)
{
    (void)state;
    static const uint64_t numbers[DATA_BLOCKS] = {3, 4, 1000005, 1000006, 1000007};
    const struct blx_volume_key key = key_of(1, "vda");
    uint8_t data[DATA_BLOCKS * BLOCK], expected[BLX_BLOCK_DIGEST_BYTES];
    size_t length = 0;
    struct blx_frame frame;
    struct blx_block_digester *digester = NULL;
    BLX_CLEANUP_FREE uint8_t *bytes = make(BLX_CODEC_ZSTD, &key, 3, 9, &length);
    assert_int_equal(blx_frame_parse(bytes, length, &frame, NULL), 0);
    assert_int_equal(blx_block_digester_new(&key, &digester, NULL), 0);
    fill(data);
    for (size_t i = 0; i < DATA_BLOCKS; i++) {
        assert_int_equal(
            blx_block_digest(digester, numbers[i], data + i * BLOCK, BLOCK, expected, NULL), 0);
        assert_memory_equal(frame.digests + i * sizeof(expected), expected, sizeof(expected));
    }
    blx_block_digester_free(digester);
}

static void frame_of_zero_extents_is_authenticated_too(void **state)
{
    (void)state;
    const struct blx_volume_key key = key_of(1, "vda");
    size_t length = 0;
    struct blx_frame frame;
    BLX_CLEANUP_FREE uint8_t *bytes = make(BLX_CODEC_ZSTD, &key, 1, 9, &length);
    assert_int_equal(length, 64 + 16 + 48);
    assert_int_equal(open_frame(bytes, length, &key, &frame, NULL), 0);
    assert_int_equal(blx_frame_unpack(&frame, bytes, NULL), 0);
    bytes[64] ^= 1; /* another block */
    blx_frame_seal(bytes, 9);
    assert_int_equal(open_frame(bytes, length, &key, &frame, NULL), -EBADMSG);
}

static void frames_of_the_same_data_share_nothing_but_the_digests(void **state)
{
    (void)state;
    const struct blx_volume_key key = key_of(1, "vda");
    size_t length = 0, again = 0;
    BLX_CLEANUP_FREE uint8_t *one = make(BLX_CODEC_NONE, &key, 3, 9, &length);
    BLX_CLEANUP_FREE uint8_t *two = make(BLX_CODEC_NONE, &key, 3, 9, &again);
    assert_int_equal(length, again);
    assert_memory_equal(one + EXTENTS_END + 48, two + EXTENTS_END + 48, 5 * 16);
    assert_memory_not_equal(one + EXTENTS_END + 8, two + EXTENTS_END + 8, 24);
    assert_memory_not_equal(one + PAYLOAD, two + PAYLOAD, 64);
}

static void check_refused(const struct blx_volume_key *made_with,
                          const struct blx_volume_key *read_with, const char *reason)
{
    size_t length = 0;
    struct blx_frame frame;
    struct blx_error err = {0};
    BLX_CLEANUP_FREE uint8_t *bytes = make(BLX_CODEC_ZSTD, made_with, 3, 9, &length);
    assert_int_equal(open_frame(bytes, length, read_with, &frame, &err), -EBADMSG);
    assert_non_null(strstr(err.message, reason));
}

/* The kernel's random numbers, as a machine has them that was resumed twice from one snapshot. */
static bool repeats;

ssize_t getrandom(void *buffer, size_t bytes, unsigned flags)
{
    if (!repeats)
        return syscall(SYS_getrandom, buffer, bytes, flags);
    memset(buffer, 7, bytes);
    return (ssize_t)bytes;
}

static const uint8_t *nonce_of(const uint8_t *frame, uint32_t extent_count)
{
    return frame + 64 + (size_t)extent_count * 16 + BLX_KEY_ID_BYTES;
}

static void frames_that_differ_have_other_nonces_even_if_random_numbers_repeat(void **state)
{
    (void)state;
    const struct blx_volume_key key = key_of(1, "vda");
    size_t length = 0;
    BLX_CLEANUP_FREE uint8_t *before = make(BLX_CODEC_ZSTD, &key, 3, 9, &length);
    repeats = true;
    BLX_CLEANUP_FREE uint8_t *one = make(BLX_CODEC_ZSTD, &key, 3, 9, &length);
    BLX_CLEANUP_FREE uint8_t *same = make(BLX_CODEC_ZSTD, &key, 3, 10, &length);
    BLX_CLEANUP_FREE uint8_t *codec = make(BLX_CODEC_ZLIB, &key, 3, 9, &length);
    BLX_CLEANUP_FREE uint8_t *zeros = make(BLX_CODEC_ZSTD, &key, 1, 9, &length);
    repeats = false;
    assert_memory_equal(nonce_of(one, 3), nonce_of(same, 3), BLX_XAES_NONCE_BYTES);
    assert_memory_not_equal(nonce_of(one, 3), nonce_of(before, 3), BLX_XAES_NONCE_BYTES);
    assert_memory_not_equal(nonce_of(one, 3), nonce_of(codec, 3), BLX_XAES_NONCE_BYTES);
    assert_memory_not_equal(nonce_of(one, 3), nonce_of(zeros, 1), BLX_XAES_NONCE_BYTES);
}

static void frame_opens_with_its_own_key_alone(void **state)
{
    (void)state;
    const struct blx_volume_key key = key_of(1, "vda"), other = key_of(2, "vda");
    const struct blx_volume_key other_volume = key_of(1, "vdb");
    struct blx_volume_key same_id = other;
    same_id.id = key.id;
    check_refused(&key, &other, "another key");
    check_refused(&key, &same_id, "not what the agent encrypted");
    check_refused(&key, &other_volume, "not what the agent encrypted");
    check_refused(&key, NULL, "is encrypted, though its checkpoint is not");
    check_refused(NULL, &key, "is not encrypted, though its checkpoint is");
}

/* Whoever can write the store can make the checksum right. The tag covers neither the number nor
 * the checksum. */
static void frame_changed_anywhere_does_not_open(void **state)
{
    (void)state;
    const struct blx_volume_key key = key_of(1, "vda");
    size_t length = 0, refused = 0;
    BLX_CLEANUP_FREE uint8_t *bytes = make(BLX_CODEC_ZSTD, &key, 3, 9, &length);
    BLX_CLEANUP_FREE uint8_t *copy = malloc(length);
    assert_non_null(copy);
    for (size_t bit = 0; bit < length * 8; bit++) {
        struct blx_frame frame;
        bool is_number = bit / 8 >= 16 && bit / 8 < 24, is_checksum = bit / 8 >= 56 && bit / 8 < 64;
        bool is_size = bit / 8 >= 8 && bit / 8 < 12; /* sealing reads it */
        if (is_number || is_checksum || is_size)
            continue;
        memcpy(copy, bytes, length);
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        blx_frame_seal(copy, 9);
        int rc = blx_frame_parse(copy, length, &frame, NULL);
        if (rc == 0)
            rc = blx_frame_decrypt(&frame, copy, &key, NULL);
        assert_int_equal(rc, -EBADMSG);
        refused++;
    }
    assert_int_equal(refused, (length - 20) * 8);
}

static void frame_may_be_numbered_after_it_was_encrypted(void **state)
{
    (void)state;
    const struct blx_volume_key key = key_of(1, "vda");
    size_t length = 0;
    struct blx_frame frame;
    BLX_CLEANUP_FREE uint8_t *bytes = make(BLX_CODEC_ZSTD, &key, 3, 9, &length);
    blx_frame_seal(bytes, 12345);
    assert_int_equal(open_frame(bytes, length, &key, &frame, NULL), 0);
    assert_int_equal(frame.seq, 12345);
}

static void frame_encrypted_with_no_key_is_refused(void **state)
{
    (void)state;
    const struct blx_volume_key key = key_of(1, "vda");
    size_t length = 0;
    struct blx_frame frame;
    struct blx_error err = {0};
    BLX_CLEANUP_FREE uint8_t *bytes = make(BLX_CODEC_ZSTD, &key, 3, 9, &length);
    memset(bytes + EXTENTS_END, 0, BLX_KEY_ID_BYTES);
    blx_frame_seal(bytes, 9);
    assert_int_equal(blx_frame_parse(bytes, length, &frame, &err), -EBADMSG);
    assert_non_null(strstr(err.message, "no key"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_round_trips_encrypted_with_every_codec),
        cmocka_unit_test(frame_carries_the_digest_of_each_data_block),
        cmocka_unit_test(frame_of_zero_extents_is_authenticated_too),
        cmocka_unit_test(frames_of_the_same_data_share_nothing_but_the_digests),
        cmocka_unit_test(frames_that_differ_have_other_nonces_even_if_random_numbers_repeat),
        cmocka_unit_test(frame_opens_with_its_own_key_alone),
        cmocka_unit_test(frame_changed_anywhere_does_not_open),
        cmocka_unit_test(frame_may_be_numbered_after_it_was_encrypted),
        cmocka_unit_test(frame_encrypted_with_no_key_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
