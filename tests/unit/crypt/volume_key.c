/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "crypt/volume_key.h"

static struct blx_key example_key(void)
{
    struct blx_key key = {.id = {{1, 2, 3}}};
    for (uint8_t i = 0; i < BLX_KEY_BYTES; i++)
        key.secret[i] = i;
    return key;
}

/* Made by another implementation of HKDF. */
static void volume_key_is_the_known_one(void **state)
{
    (void)state;
    static const uint8_t encryption[] = {0xdf, 0x40, 0xe5, 0xab, 0x23, 0xf0, 0xe8, 0xaa,
                                         0x47, 0xae, 0x9d, 0xbd, 0x04, 0x91, 0x95, 0xeb,
                                         0x81, 0x7a, 0xa3, 0x10, 0x1a, 0xc6, 0x8b, 0xa0,
                                         0x79, 0x37, 0x56, 0x7e, 0xb3, 0x22, 0xfe, 0xc7};
    static const uint8_t digest[] = {
        0x89, 0x61, 0x02, 0x16, 0x24, 0x46, 0xfe, 0xe3, 0x56, 0x0a, 0x83, 0xce, 0x5d,
        0x92, 0x60, 0x0c, 0x56, 0x40, 0x24, 0x97, 0x21, 0xb7, 0x9a, 0xa0, 0x32, 0x79,
        0x9a, 0xac, 0x5d, 0x17, 0x89, 0x6d, 0xd6, 0xbb, 0xc2, 0x99, 0x86, 0x54, 0x98,
        0x11, 0xc0, 0x1a, 0xbf, 0x0d, 0xf9, 0xbf, 0xfb, 0x5a, 0x8a, 0x23, 0x10, 0x6c,
        0xec, 0x87, 0xbf, 0xf6, 0x0c, 0xfb, 0xc8, 0x22, 0x18, 0xfd, 0xc3, 0x6c};
    const struct blx_key key = example_key();
    struct blx_volume_key derived;
    assert_int_equal(blx_volume_key_derive(&key, "web1", "vda", &derived, NULL), 0);
    assert_memory_equal(derived.encryption, encryption, sizeof(encryption));
    assert_memory_equal(derived.digest, digest, sizeof(digest));
    assert_true(blx_key_id_equal(&derived.id, &key.id));
    blx_volume_key_wipe(&derived);
    assert_true(blx_key_id_is_none(&derived.id));
}

static void volume_key_belongs_to_one_volume_of_one_agent(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"web1", "vda"}, {"web1", "vdb"}, {"web2", "vda"}, {"web1v", "da"}, {"web", "1vda"}};
    enum { COUNT = sizeof(names) / sizeof(names[0]) };
    const struct blx_key key = example_key();
    struct blx_volume_key derived[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(blx_volume_key_derive(&key, names[i][0], names[i][1], &derived[i], NULL),
                         0);
        assert_memory_not_equal(derived[i].encryption, derived[i].digest, BLX_KEY_BYTES);
        for (size_t j = 0; j < i; j++) {
            assert_memory_not_equal(derived[i].encryption, derived[j].encryption, BLX_KEY_BYTES);
            assert_memory_not_equal(derived[i].digest, derived[j].digest, BLX_KEY_BYTES);
        }
    }
}

static void volume_key_of_a_name_that_is_too_long_is_refused(void **state)
{
    (void)state;
    char name[300];
    const struct blx_key key = example_key();
    struct blx_volume_key derived;
    memset(name, 'a', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(blx_volume_key_derive(&key, "web1", name, &derived, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(volume_key_is_the_known_one),
        cmocka_unit_test(volume_key_belongs_to_one_volume_of_one_agent),
        cmocka_unit_test(volume_key_of_a_name_that_is_too_long_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
