/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "wire/frame.h"

enum { BLOCK = 4096, DATA_BLOCKS = 5 };

static const struct blx_frame_extent extents[] = {
    {.extent = {3, 2}},
    {.extent = {5, 1000000}, .zero = true},
    {.extent = {1000005, 3}},
};
static const struct blx_generation generation = {{1, 2, 3, 4}};

/* Text-like data compresses; numbers from a generator do not. */
static void fill(uint8_t *data, size_t bytes, bool random)
{
    uint64_t state = 88172645463325252U;
    for (size_t i = 0; i < bytes; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data[i] =
            random ? (uint8_t)(state >> 32) : (uint8_t)((size_t) "blxrep "[i % 7] + i / BLOCK);
    }
}

static struct blx_frame_content content_of(enum blx_codec codec, const uint8_t *data)
{
    return (struct blx_frame_content){
        .codec = codec,
        .block_shift = 12,
        .generation = generation,
        .extents = extents,
        .extent_count = 3,
        .data = data,
        .data_bytes = DATA_BLOCKS * BLOCK,
    };
}

static uint8_t *make(const struct blx_frame_content *content, uint64_t seq, size_t *bytes)
{
    uint8_t *buffer = malloc(blx_frame_bound(content));
    assert_non_null(buffer);
    assert_int_equal(blx_frame_pack(content, buffer, bytes, NULL), 0);
    blx_frame_seal(buffer, seq);
    /* An exact copy, so that a read past the frame's end is found. */
    uint8_t *exact = malloc(*bytes);
    assert_non_null(exact);
    memcpy(exact, buffer, *bytes);
    free(buffer);
    return exact;
}

static void check_round_trip(enum blx_codec codec, bool random, enum blx_codec expected)
{
    uint8_t data[DATA_BLOCKS * BLOCK];
    uint8_t back[DATA_BLOCKS * BLOCK];
    fill(data, sizeof(data), random);
    struct blx_frame_content content = content_of(codec, data);
    size_t bytes = 0;
    BLX_CLEANUP_FREE uint8_t *buffer = make(&content, 77, &bytes);
    size_t peeked = 0;
    assert_int_equal(blx_frame_peek(buffer, &peeked, NULL), 0);
    assert_int_equal(peeked, bytes);
    struct blx_frame frame;
    assert_int_equal(blx_frame_parse(buffer, bytes, &frame, NULL), 0);
    assert_int_equal(frame.codec, expected);
    assert_int_equal(frame.seq, 77);
    assert_int_equal(frame.block_shift, 12);
    assert_int_equal(frame.extent_count, 3);
    assert_true(blx_generation_equal(&frame.generation, &generation));
    for (uint32_t i = 0; i < 3; i++) {
        struct blx_frame_extent extent = blx_frame_extent_at(&frame, i);
        assert_int_equal(extent.extent.start_block, extents[i].extent.start_block);
        assert_int_equal(extent.extent.block_count, extents[i].extent.block_count);
        assert_int_equal(extent.zero, extents[i].zero);
    }
    assert_int_equal(blx_frame_unpack(&frame, back, NULL), 0);
    assert_memory_equal(back, data, sizeof(data));
}

static void frame_round_trips_with_every_codec(void **state)
{
    (void)state;
    check_round_trip(BLX_CODEC_NONE, false, BLX_CODEC_NONE);
    check_round_trip(BLX_CODEC_ZLIB, false, BLX_CODEC_ZLIB);
    check_round_trip(BLX_CODEC_ZSTD, false, BLX_CODEC_ZSTD);
}

static void frame_stores_data_that_does_not_compress(void **state)
{
    (void)state;
    check_round_trip(BLX_CODEC_ZLIB, true, BLX_CODEC_NONE);
    check_round_trip(BLX_CODEC_ZSTD, true, BLX_CODEC_NONE);
}

static void frame_of_zero_extents_alone_has_no_payload(void **state)
{
    (void)state;
    struct blx_frame_content content = content_of(BLX_CODEC_ZSTD, NULL);
    content.extents = &extents[1];
    content.extent_count = 1;
    content.data_bytes = 0;
    size_t bytes = 0;
    BLX_CLEANUP_FREE uint8_t *buffer = make(&content, 1, &bytes);
    assert_int_equal(bytes, 64 + 16);
    struct blx_frame frame;
    assert_int_equal(blx_frame_parse(buffer, bytes, &frame, NULL), 0);
    assert_int_equal(blx_frame_unpack(&frame, buffer, NULL), 0);
}

static void frame_of_the_largest_size_fits_the_limit(void **state)
{
    (void)state;
    BLX_CLEANUP_FREE uint8_t *data = malloc(BLX_FRAME_MAX_DATA_BYTES);
    assert_non_null(data);
    fill(data, BLX_FRAME_MAX_DATA_BYTES, true);
    static struct blx_frame_extent many[BLX_FRAME_MAX_EXTENTS];
    for (uint32_t i = 0; i < BLX_FRAME_MAX_EXTENTS; i++)
        many[i] = (struct blx_frame_extent){.extent = {2 * i, 1}, .zero = i >= 256};
    struct blx_frame_content content = content_of(BLX_CODEC_ZSTD, data);
    content.extents = many;
    content.extent_count = BLX_FRAME_MAX_EXTENTS;
    content.data_bytes = BLX_FRAME_MAX_DATA_BYTES;
    const struct blx_volume_key key = {.id = {{1}}};
    content.key = &key;
    assert_int_equal(blx_frame_bound(&content), BLX_FRAME_MAX_BYTES);
    size_t bytes = 0;
    BLX_CLEANUP_FREE uint8_t *buffer = make(&content, 1, &bytes);
    assert_int_equal(bytes, BLX_FRAME_MAX_BYTES);
    struct blx_frame frame;
    assert_int_equal(blx_frame_parse(buffer, bytes, &frame, NULL), 0);
}

static void check_flips(enum blx_codec codec)
{
    uint8_t data[DATA_BLOCKS * BLOCK];
    fill(data, sizeof(data), false);
    struct blx_frame_content content = content_of(codec, data);
    size_t bytes = 0;
    BLX_CLEANUP_FREE uint8_t *buffer = make(&content, 3, &bytes);
    size_t step = codec == BLX_CODEC_NONE ? 61 : 1;
    for (size_t at = 0; at < bytes; at += at < 112 ? 1 : step) {
        struct blx_frame frame = {.seq = 999};
        struct blx_error err = {0};
        buffer[at] ^= 0x04;
        assert_int_equal(blx_frame_parse(buffer, bytes, &frame, &err), -EBADMSG);
        assert_true(strlen(err.message) > 0);
        assert_int_equal(frame.seq, 999);
        buffer[at] ^= 0x04;
    }
}

static void frame_with_any_byte_flipped_is_refused(void **state)
{
    (void)state;
    check_flips(BLX_CODEC_NONE);
    check_flips(BLX_CODEC_ZLIB);
    check_flips(BLX_CODEC_ZSTD);
}

static void frame_cut_short_anywhere_is_refused(void **state)
{
    (void)state;
    uint8_t data[DATA_BLOCKS * BLOCK];
    fill(data, sizeof(data), false);
    struct blx_frame_content content = content_of(BLX_CODEC_ZSTD, data);
    size_t bytes = 0;
    BLX_CLEANUP_FREE uint8_t *buffer = make(&content, 3, &bytes);
    for (size_t length = 0; length < bytes; length++) {
        BLX_CLEANUP_FREE uint8_t *cut = malloc(length + 1);
        assert_non_null(cut);
        memcpy(cut, buffer, length);
        struct blx_frame frame;
        assert_int_equal(blx_frame_parse(cut, length, &frame, NULL), -EBADMSG);
    }
}

/* A mistake that is under the checksum as well, so that only the rules can find it. */
static void refuse_forged(size_t offset, const void *field, size_t field_bytes, const char *reason)
{
    uint8_t data[DATA_BLOCKS * BLOCK];
    fill(data, sizeof(data), false);
    struct blx_frame_content content = content_of(BLX_CODEC_ZSTD, data);
    size_t bytes = 0;
    BLX_CLEANUP_FREE uint8_t *buffer = make(&content, 3, &bytes);
    memcpy(buffer + offset, field, field_bytes);
    memset(buffer + 56, 0, 8);
    blx_le64 sum = blx_le64_of(XXH3_64bits(buffer, bytes));
    memcpy(buffer + 56, &sum, sizeof(sum));
    struct blx_frame frame;
    struct blx_error err = {0};
    assert_int_equal(blx_frame_parse(buffer, bytes, &frame, &err), -EBADMSG);
    assert_non_null(strstr(err.message, reason));
}

static void refuse_forged32(size_t offset, uint32_t value, const char *reason)
{
    blx_le32 field = blx_le32_of(value);
    refuse_forged(offset, &field, sizeof(field), reason);
}

static void refuse_forged64(size_t offset, uint64_t value, const char *reason)
{
    blx_le64 field = blx_le64_of(value);
    refuse_forged(offset, &field, sizeof(field), reason);
}

static void frame_with_a_forged_header_is_refused(void **state)
{
    (void)state;
    refuse_forged(4, "\x02", 1, "version 2");
    refuse_forged(5, "\x03", 1, "unknown codec");
    refuse_forged(6, "\x0b", 1, "block size");
    refuse_forged(6, "\x13", 1, "block size");
    refuse_forged(7, "\x02", 1, "reserved");
    refuse_forged(7, "\x01", 1,
                  "add up"); /* encrypted, but without the parts of an encrypted frame */
    refuse_forged64(48, 1, "reserved");
    refuse_forged64(16, 0, "no number");
    refuse_forged(32, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16, "generation");
    refuse_forged32(8, 0xffffffff, "add up");
    refuse_forged32(12, 0, "number of extents");
    refuse_forged32(12, BLX_FRAME_MAX_EXTENTS + 1, "number of extents");
    refuse_forged32(12, 2, "add up");
    refuse_forged32(24, BLX_FRAME_MAX_DATA_BYTES + 1, "too much data");
    refuse_forged32(24, DATA_BLOCKS * BLOCK + BLOCK, "add up to its data");
    refuse_forged32(28, 0, "payload");
    refuse_forged32(28, DATA_BLOCKS * BLOCK, "payload");
}

static void frame_with_forged_extents_is_refused(void **state)
{
    (void)state;
    enum { FIRST = 64, SECOND = 80, THIRD = 96 };
    refuse_forged32(FIRST + 8, 0, "empty");
    refuse_forged32(FIRST + 12, 2, "flags");
    refuse_forged64(SECOND, 4, "ascending");
    refuse_forged64(THIRD, 0, "ascending");
    refuse_forged64(THIRD, UINT64_MAX, "beyond");
    refuse_forged64(THIRD, UINT64_MAX - 2, "beyond");
    refuse_forged64(THIRD, (uint64_t)INT64_MAX / BLOCK - 1, "beyond");
    refuse_forged32(SECOND + 12, 0, "add up to its data");
    refuse_forged32(THIRD + 8, 2, "add up to its data");
}

static void frame_whose_data_does_not_unpack_is_refused(void **state)
{
    (void)state;
    for (int codec = BLX_CODEC_ZLIB; codec <= BLX_CODEC_ZSTD; codec++) {
        uint8_t data[DATA_BLOCKS * BLOCK];
        fill(data, sizeof(data), false);
        struct blx_frame_content content = content_of((enum blx_codec)codec, data);
        size_t bytes = 0;
        BLX_CLEANUP_FREE uint8_t *buffer = make(&content, 3, &bytes);
        memset(buffer + 64 + 48, 0xff, bytes - 64 - 48);
        blx_frame_seal(buffer, 3);
        struct blx_frame frame;
        assert_int_equal(blx_frame_parse(buffer, bytes, &frame, NULL), 0);
        assert_int_equal(blx_frame_unpack(&frame, data, NULL), -EBADMSG);
    }
}

static void frame_bounds_are_those_of_the_volume(void **state)
{
    (void)state;
    uint8_t data[DATA_BLOCKS * BLOCK] = {0};
    struct blx_frame_content content = content_of(BLX_CODEC_ZSTD, data);
    size_t bytes = 0;
    BLX_CLEANUP_FREE uint8_t *buffer = make(&content, 3, &bytes);
    struct blx_frame frame;
    assert_int_equal(blx_frame_parse(buffer, bytes, &frame, NULL), 0);
    assert_int_equal(blx_frame_check_bounds(&frame, 1000008, NULL), 0);
    struct blx_error err = {0};
    assert_int_equal(blx_frame_check_bounds(&frame, 1000007, &err), -EBADMSG);
    assert_non_null(strstr(err.message, "1000007"));
}

static void frame_pack_refuses_what_parse_would_refuse(void **state)
{
    (void)state;
    uint8_t data[DATA_BLOCKS * BLOCK] = {0};
    uint8_t buffer[64 + 48 + sizeof(data)];
    size_t bytes = 0;
    struct blx_frame_content content = content_of(BLX_CODEC_ZSTD, data);
    content.data_bytes -= BLOCK;
    assert_int_equal(blx_frame_pack(&content, buffer, &bytes, NULL), -EINVAL);
    content = content_of(BLX_CODEC_ZSTD, data);
    content.block_shift = 11;
    assert_int_equal(blx_frame_pack(&content, buffer, &bytes, NULL), -EINVAL);
    content = content_of((enum blx_codec)3, data);
    assert_int_equal(blx_frame_pack(&content, buffer, &bytes, NULL), -EINVAL);
    content = content_of(BLX_CODEC_ZSTD, data);
    content.extent_count = 0;
    assert_int_equal(blx_frame_pack(&content, buffer, &bytes, NULL), -EINVAL);
    struct blx_frame_extent huge = {.extent = {0, (uint64_t)UINT32_MAX + 1}, .zero = true};
    content = content_of(BLX_CODEC_ZSTD, data);
    content.extents = &huge;
    content.extent_count = 1;
    content.data_bytes = 0;
    assert_int_equal(blx_frame_pack(&content, buffer, &bytes, NULL), -EINVAL);
}

static void *pack_many(void *arg)
{
    (void)arg;
    uint8_t data[DATA_BLOCKS * BLOCK];
    fill(data, sizeof(data), false);
    struct blx_frame_content content = content_of(BLX_CODEC_ZSTD, data);
    for (int i = 0; i < 20; i++) {
        uint8_t back[sizeof(data)];
        uint8_t buffer[64 + 48 + sizeof(data)];
        size_t bytes = 0;
        struct blx_frame frame;
        if (blx_frame_pack(&content, buffer, &bytes, NULL) != 0)
            return NULL;
        blx_frame_seal(buffer, 5);
        if (blx_frame_parse(buffer, bytes, &frame, NULL) != 0 ||
            blx_frame_unpack(&frame, back, NULL) != 0 || memcmp(back, data, sizeof(data)) != 0)
            return NULL;
    }
    return arg;
}

static void frame_threads_have_contexts_of_their_own(void **state)
{
    (void)state;
    pthread_t threads[4];
    int token = 0;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, pack_many, &token), 0);
    for (int i = 0; i < 4; i++) {
        void *result = NULL;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_ptr_equal(result, &token);
    }
}

static void codec_names_are_read_and_written(void **state)
{
    (void)state;
    for (int i = BLX_CODEC_NONE; i <= BLX_CODEC_ZSTD; i++) {
        enum blx_codec codec = BLX_CODEC_NONE;
        assert_int_equal(blx_codec_parse(blx_codec_name((enum blx_codec)i), &codec, NULL), 0);
        assert_int_equal(codec, i);
    }
    enum blx_codec codec = BLX_CODEC_NONE;
    struct blx_error err = {0};
    assert_int_equal(blx_codec_parse("lzma", &codec, &err), -EINVAL);
    assert_non_null(strstr(err.message, "'lzma'"));
}

static void generation_is_a_random_uuid(void **state)
{
    (void)state;
    struct blx_generation a = {{0}};
    struct blx_generation b = {{0}};
    assert_true(blx_generation_is_none(&a));
    assert_int_equal(blx_generation_create(&a), 0);
    assert_int_equal(blx_generation_create(&b), 0);
    assert_false(blx_generation_is_none(&a));
    assert_false(blx_generation_equal(&a, &b));
    char text[BLX_GENERATION_TEXT_BYTES];
    blx_generation_format(&a, text);
    assert_int_equal(strlen(text), 36);
    assert_int_equal(text[14], '4');
    assert_non_null(strchr("89ab", text[19]));
    for (size_t i = 0; i < sizeof(a.bytes); i++)
        a.bytes[i] = (uint8_t)(i * 17);
    blx_generation_format(&a, text);
    assert_string_equal(text, "00112233-4455-6677-8899-aabbccddeeff");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_round_trips_with_every_codec),
        cmocka_unit_test(frame_stores_data_that_does_not_compress),
        cmocka_unit_test(frame_of_zero_extents_alone_has_no_payload),
        cmocka_unit_test(frame_of_the_largest_size_fits_the_limit),
        cmocka_unit_test(frame_with_any_byte_flipped_is_refused),
        cmocka_unit_test(frame_cut_short_anywhere_is_refused),
        cmocka_unit_test(frame_with_a_forged_header_is_refused),
        cmocka_unit_test(frame_with_forged_extents_is_refused),
        cmocka_unit_test(frame_whose_data_does_not_unpack_is_refused),
        cmocka_unit_test(frame_bounds_are_those_of_the_volume),
        cmocka_unit_test(frame_pack_refuses_what_parse_would_refuse),
        cmocka_unit_test(frame_threads_have_contexts_of_their_own),
        cmocka_unit_test(codec_names_are_read_and_written),
        cmocka_unit_test(generation_is_a_random_uuid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
