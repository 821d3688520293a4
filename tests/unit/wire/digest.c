/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "wire/digest.h"

enum { BLOCK_SHIFT = 12, BLOCK_BYTES = 4096, BLOCKS = 10 };

static struct blx_digester *digester;
static uint8_t data[BLOCKS * BLOCK_BYTES];

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7 / 100);
    return blx_digester_new(&digester, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    blx_digester_free(digester);
    return 0;
}

static struct blx_digest_request request_of(uint32_t blocks_per_digest)
{
    return (struct blx_digest_request){.volume = 2,
                                       .request = 99,
                                       .blocks_per_digest = blocks_per_digest,
                                       .first_block = 1000,
                                       .extent_count = 2,
                                       .extents = {{0, 4}, {3, 6}}};
}

static void request_counts_blocks_pieces_and_its_end(void **state)
{
    (void)state;
    struct blx_digest_request request = request_of(4);
    assert_int_equal(blx_digest_request_blocks(&request), 10);
    assert_int_equal(blx_digest_request_pieces(&request), 3);
    assert_int_equal(blx_digest_request_end(&request), 1013);
}

/* In whatever portions the blocks come, the digests are those of the pieces; the last one is
 * short. */
static void digests_are_sha256_of_the_pieces(void **state)
{
    (void)state;
    static const uint32_t steps[] = {1, 3, 4, 10};
    struct blx_digest_request request = request_of(4);
    for (size_t s = 0; s < 4; s++) {
        struct blx_digests digests;
        blx_digester_begin(digester, &request, BLOCK_SHIFT, &digests);
        for (uint32_t at = 0; at < BLOCKS; at += steps[s]) {
            uint32_t count = at + steps[s] > BLOCKS ? BLOCKS - at : steps[s];
            assert_int_equal(
                blx_digester_add(digester, data + (size_t)at * BLOCK_BYTES, count, NULL), 0);
        }
        assert_int_equal(blx_digester_end(digester, NULL), 0);
        assert_int_equal(digests.volume, 2);
        assert_int_equal(digests.request, 99);
        assert_int_equal(digests.digest_bytes, 32);
        assert_int_equal(digests.count, 3);
        for (size_t i = 0; i < 3; i++) {
            uint8_t expected[EVP_MAX_MD_SIZE];
            size_t bytes = i < 2 ? 4 * BLOCK_BYTES : 2 * BLOCK_BYTES;
            assert_int_equal(
                EVP_Digest(data + i * 4 * BLOCK_BYTES, bytes, expected, NULL, EVP_sha256(), NULL),
                1);
            assert_memory_equal(digests.bytes + i * 32, expected, 32);
        }
    }
}

static void digests_of_single_blocks_are_cut_short(void **state)
{
    (void)state;
    struct blx_digest_request request = request_of(1);
    struct blx_digests digests;
    blx_digester_begin(digester, &request, BLOCK_SHIFT, &digests);
    assert_int_equal(blx_digester_add(digester, data, BLOCKS, NULL), 0);
    assert_int_equal(blx_digester_end(digester, NULL), 0);
    assert_int_equal(digests.digest_bytes, 16);
    assert_int_equal(digests.count, BLOCKS);
    uint8_t expected[EVP_MAX_MD_SIZE];
    assert_int_equal(
        EVP_Digest(data + 9 * BLOCK_BYTES, BLOCK_BYTES, expected, NULL, EVP_sha256(), NULL), 1);
    assert_memory_equal(digests.bytes + 9 * 16, expected, 16);
}

static void what_cannot_be_read_equals_nothing(void **state)
{
    (void)state;
    struct blx_digest_request request = request_of(4);
    struct blx_digests good, holed, holed_too;
    blx_digester_begin(digester, &request, BLOCK_SHIFT, &good);
    assert_int_equal(blx_digester_add(digester, data, BLOCKS, NULL), 0);
    assert_int_equal(blx_digester_end(digester, NULL), 0);
    for (int i = 0; i < 2; i++) {
        struct blx_digests *digests = i == 0 ? &holed : &holed_too;
        blx_digester_begin(digester, &request, BLOCK_SHIFT, digests);
        assert_int_equal(blx_digester_add(digester, data, 5, NULL), 0);
        assert_int_equal(blx_digester_add(digester, NULL, 1, NULL), 0);
        assert_int_equal(blx_digester_add(digester, data + 6 * BLOCK_BYTES, 4, NULL), 0);
        assert_int_equal(blx_digester_end(digester, NULL), 0);
        assert_int_equal(digests->count, 3);
    }
    assert_true(blx_digests_equal(&good, &holed, 0));
    assert_false(blx_digests_equal(&good, &holed, 1));
    assert_true(blx_digests_equal(&good, &holed, 2));
    assert_false(blx_digests_equal(&holed, &holed_too, 1));
    assert_false(blx_digests_equal(&good, &holed, 3));
}

static void one_changed_byte_changes_one_digest(void **state)
{
    (void)state;
    struct blx_digest_request request = request_of(1);
    struct blx_digests before, after;
    blx_digester_begin(digester, &request, BLOCK_SHIFT, &before);
    assert_int_equal(blx_digester_add(digester, data, BLOCKS, NULL), 0);
    data[7 * BLOCK_BYTES + 4095] ^= 1;
    blx_digester_begin(digester, &request, BLOCK_SHIFT, &after);
    assert_int_equal(blx_digester_add(digester, data, BLOCKS, NULL), 0);
    data[7 * BLOCK_BYTES + 4095] ^= 1;
    for (uint32_t i = 0; i < BLOCKS; i++)
        assert_int_equal(blx_digests_equal(&before, &after, i), i != 7);
}

static void more_than_a_message_holds_is_refused(void **state)
{
    (void)state;
    struct blx_digest_request request = request_of(1);
    struct blx_digests digests;
    blx_digester_begin(digester, &request, BLOCK_SHIFT, &digests);
    for (int i = 0; i < 128; i++)
        assert_int_equal(blx_digester_add(digester, data, 1, NULL), 0);
    assert_int_equal(blx_digester_add(digester, data, 1, NULL), -EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_counts_blocks_pieces_and_its_end),
        cmocka_unit_test_setup_teardown(digests_are_sha256_of_the_pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(digests_of_single_blocks_are_cut_short, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_equals_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_changed_byte_changes_one_digest, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_than_a_message_holds_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
