/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "crypt/block_digest.h"

enum { BLOCK = 4096 };

struct digests {
    struct blx_volume_key key;
    struct blx_block_digester *digester;
    uint8_t block[BLOCK];
};

static void begin(struct digests *digests, const char *volume)
{
    struct blx_key key = {.id = {{1}}};
    for (uint8_t i = 0; i < BLX_KEY_BYTES; i++)
        key.secret[i] = i;
    assert_int_equal(blx_volume_key_derive(&key, "web1", volume, &digests->key, NULL), 0);
    assert_int_equal(blx_block_digester_new(&digests->key, &digests->digester, NULL), 0);
    for (size_t i = 0; i < BLOCK; i++)
        digests->block[i] = (uint8_t)(i / 64);
}

static void digest(struct digests *digests, uint64_t block, uint8_t out[BLX_BLOCK_DIGEST_BYTES])
{
    assert_int_equal(blx_block_digest(digests->digester, block, digests->block, BLOCK, out, NULL),
                     0);
}

/* Made by another implementation of GHASH. */
static void block_digest_is_the_known_one_each_time(void **state)
{
    (void)state;
    static const uint8_t expected[] = {0x40, 0x28, 0x3d, 0x12, 0x8f, 0x75, 0xc8, 0x0d,
                                       0xe1, 0x05, 0x8b, 0x57, 0xc0, 0x12, 0xc4, 0xb3};
    struct digests digests;
    uint8_t found[BLX_BLOCK_DIGEST_BYTES];
    begin(&digests, "vda");
    for (int i = 0; i < 3; i++) {
        digest(&digests, 7, found);
        assert_memory_equal(found, expected, sizeof(expected));
    }
    blx_block_digester_free(digests.digester);
    blx_block_digester_free(NULL);
}

static void block_digest_tells_content_place_and_volume_apart(void **state)
{
    (void)state;
    struct digests one, two;
    uint8_t first[BLX_BLOCK_DIGEST_BYTES], other[BLX_BLOCK_DIGEST_BYTES];
    begin(&one, "vda");
    begin(&two, "vdb");
    digest(&one, 7, first);
    digest(&one, 8, other);
    assert_memory_not_equal(first, other, sizeof(first));
    digest(&two, 7, other);
    assert_memory_not_equal(first, other, sizeof(first));
    one.block[BLOCK - 1] ^= 1;
    digest(&one, 7, other);
    assert_memory_not_equal(first, other, sizeof(first));
    blx_block_digester_free(one.digester);
    blx_block_digester_free(two.digester);
}

static void block_digest_of_zeros_is_known_to_everybody(void **state)
{
    (void)state;
    struct digests digests;
    uint8_t found[BLX_BLOCK_DIGEST_BYTES];
    begin(&digests, "vda");
    memset(digests.block, 0, BLOCK);
    digest(&digests, 7, found);
    assert_memory_equal(found, "blxrep: all zero", sizeof(found));
    digests.block[BLOCK - 1] = 1;
    digest(&digests, 7, found);
    assert_memory_not_equal(found, "blxrep: all zero", sizeof(found));
    blx_block_digester_free(digests.digester);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(block_digest_is_the_known_one_each_time),
        cmocka_unit_test(block_digest_tells_content_place_and_volume_apart),
        cmocka_unit_test(block_digest_of_zeros_is_known_to_everybody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
