/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "crypt/keyring.h"

static void check_refused(const struct blx_keyring *ring, const struct blx_key_id *id,
                          const char *reason)
{
    const struct blx_key *key = NULL;
    struct blx_error err = {0};
    assert_int_equal(blx_keyring_choose(ring, id, &key, &err), -ENOKEY);
    assert_non_null(strstr(err.message, reason));
    assert_null(key);
}

static void keyring_gives_the_key_that_is_asked_for_or_names_it(void **state)
{
    (void)state;
    static const struct blx_key_id none;
    static const struct blx_key_id other = {{0xab, 0xcd, 0, 1, 2, 3, 4, 5}};
    char dir[] = "/tmp/blx-keyring-XXXXXX", path[2][64];
    static struct blx_keyring ring;
    struct blx_key made[2];
    const struct blx_key *key = &made[0];
    assert_non_null(mkdtemp(dir));
    assert_int_equal(blx_keyring_choose(NULL, &none, &key, NULL), 0);
    assert_null(key);
    key = NULL;
    check_refused(NULL, &other, "encrypted with the key abcd000102030405: give it with --key");
    check_refused(&ring, &other, "encrypted with the key abcd000102030405: give it with --key");
    for (size_t i = 0; i < 2; i++) {
        snprintf(path[i], sizeof(path[i]), "%s/%zu", dir, i);
        assert_int_equal(blx_key_create(&made[i], NULL), 0);
        assert_int_equal(blx_key_write(path[i], &made[i], NULL), 0);
        assert_int_equal(blx_keyring_add(&ring, path[i], NULL), 0);
    }
    assert_int_equal(blx_keyring_add(&ring, path[0], NULL), 0);
    assert_int_equal(ring.count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(blx_keyring_choose(&ring, &made[i].id, &key, NULL), 0);
        assert_memory_equal(key, &made[i], sizeof(*key));
        assert_int_equal(unlink(path[i]), 0);
    }
    check_refused(&ring, &other, "give that one with --key=FILE");
    check_refused(&ring, &none, "not encrypted, though a key was given");
    blx_keyring_done(&ring);
    assert_int_equal(ring.count, 0);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keyring_gives_the_key_that_is_asked_for_or_names_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
