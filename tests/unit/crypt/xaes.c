/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "crypt/xaes.h"

static const uint8_t nonce[] = "ABCDEFGHIJKLMNOPQRSTUVWX";

/* The specification's vectors: with key bytes of 1 the doubled block has no carry, with 3 it has
 * one. */
static void check_vector(uint8_t key_byte, const char *aad, const uint8_t expected[28])
{
    uint8_t key[BLX_XAES_KEY_BYTES], data[] = "XAES-256-GCM", tag[BLX_XAES_TAG_BYTES];
    const struct blx_xaes_piece piece = {aad, strlen(aad)};
    const struct blx_xaes_message message = {
        .key = key, .nonce = nonce, .pieces = &piece, .piece_count = 1};
    memset(key, key_byte, sizeof(key));
    assert_int_equal(blx_xaes_encrypt(&message, data, 12, tag, NULL), 0);
    assert_memory_equal(data, expected, 12);
    assert_memory_equal(tag, expected + 12, sizeof(tag));
    assert_int_equal(blx_xaes_decrypt(&message, data, 12, tag, NULL), 0);
    assert_string_equal((char *)data, "XAES-256-GCM");
}

static void xaes_gives_the_known_answers(void **state)
{
    (void)state;
    static const uint8_t plain[] = {0xce, 0x54, 0x6e, 0xf6, 0x3c, 0x9c, 0xc6, 0x07, 0x65, 0x92,
                                    0x36, 0x09, 0xb3, 0x3a, 0x9a, 0x19, 0x74, 0xe9, 0x6e, 0x52,
                                    0xda, 0xf2, 0xfc, 0xf7, 0x07, 0x5e, 0x22, 0x71};
    static const uint8_t with_aad[] = {0x98, 0x6e, 0xc1, 0x83, 0x25, 0x93, 0xdf, 0x54, 0x43, 0xa1,
                                       0x79, 0x43, 0x7f, 0xd0, 0x83, 0xbf, 0x3f, 0xdb, 0x41, 0xab,
                                       0xd7, 0x40, 0xa2, 0x1f, 0x71, 0xeb, 0x76, 0x9d};
    check_vector(1, "", plain);
    check_vector(3, "c2sp.org/XAES-256-GCM", with_aad);
}

static void xaes_of_pieces_is_that_of_the_whole(void **state)
{
    (void)state;
    uint8_t key[BLX_XAES_KEY_BYTES] = {7}, data[] = "data", tag[2][BLX_XAES_TAG_BYTES];
    const struct blx_xaes_piece parts[] = {{"left ", 5}, {"", 0}, {"right", 5}};
    const struct blx_xaes_piece whole = {"left right", 10};
    struct blx_xaes_message message = {
        .key = key, .nonce = nonce, .pieces = parts, .piece_count = 3};
    assert_int_equal(blx_xaes_encrypt(&message, data, 0, tag[0], NULL), 0);
    message.pieces = &whole;
    message.piece_count = 1;
    assert_int_equal(blx_xaes_encrypt(&message, data, 0, tag[1], NULL), 0);
    assert_memory_equal(tag[0], tag[1], sizeof(tag[0]));
}

static void flip(uint8_t *bytes, size_t bit)
{
    bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
}

static void xaes_finds_every_flipped_bit(void **state)
{
    (void)state;
    /* Key, nonce, aad, ciphertext and tag in one buffer, so that one loop flips all their bits. */
    struct {
        uint8_t key[BLX_XAES_KEY_BYTES], nonce[BLX_XAES_NONCE_BYTES], aad[9], data[9],
            tag[BLX_XAES_TAG_BYTES];
    } all = {{1}, {2}, {3}, {4}, {0}};
    const struct blx_xaes_piece piece = {all.aad, sizeof(all.aad)};
    const struct blx_xaes_message message = {
        .key = all.key, .nonce = all.nonce, .pieces = &piece, .piece_count = 1};
    assert_int_equal(blx_xaes_encrypt(&message, all.data, sizeof(all.data), all.tag, NULL), 0);
    for (size_t bit = 0; bit < sizeof(all) * 8; bit++) {
        uint8_t data[sizeof(all.data)];
        struct blx_error err = {0};
        flip((uint8_t *)&all, bit);
        memcpy(data, all.data, sizeof(data));
        assert_int_equal(blx_xaes_decrypt(&message, data, sizeof(data), all.tag, &err), -EBADMSG);
        assert_non_null(strstr(err.message, "not what was encrypted"));
        flip((uint8_t *)&all, bit);
    }
    assert_int_equal(blx_xaes_decrypt(&message, all.data, sizeof(all.data), all.tag, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xaes_gives_the_known_answers),
        cmocka_unit_test(xaes_of_pieces_is_that_of_the_whole),
        cmocka_unit_test(xaes_finds_every_flipped_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
