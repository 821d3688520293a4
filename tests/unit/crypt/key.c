/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "crypt/key.h"

#define FIRST  "blxrep encryption key 1\n"
#define ID     "id: 119b567cd219200f\n"
#define SECRET "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY    "key: " SECRET "\n"
#define PAPER  "blxrep encryption key 2\n"
#define PART_1 "key 1: 0001 0203 0405 0607 d5e2\n"
#define SUM_2  "5e7d"
#define PART_2 "key 2: 0809 0a0b 0c0d 0e0f " SUM_2 "\n"
#define PART_3 "key 3: 1011 1213 1415 1617 4e12\n"
#define PART_4 "key 4: 1819 1a1b 1c1d 1e1f 5962\n"

static void check_is_example(const struct blx_key *key)
{
    char id[BLX_KEY_ID_TEXT_BYTES];
    for (uint8_t i = 0; i < BLX_KEY_BYTES; i++)
        assert_int_equal(key->secret[i], i);
    blx_key_id_format(&key->id, id);
    assert_string_equal(id, "119b567cd219200f");
}

static void key_file_is_read_in_all_its_forms(void **state)
{
    (void)state;
    static const char *const texts[] = {
        FIRST ID KEY,
        FIRST KEY ID,
        FIRST "# a comment\n\n" ID "#\n" KEY "\n\n",
        PAPER ID PART_1 PART_2 PART_3 PART_4,
        PAPER "key 1:0001020304050607d5e2\n# typed in\n\n" PART_2 PART_3 PART_4 ID,
        FIRST ID "key: " SECRET, /* the last line's end is lost */
        "blxrep encryption key 1\r\nid: 119B567CD219200F\r\nkey: " SECRET "\r\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct blx_key key = {0};
        assert_int_equal(blx_key_parse(texts[i], strlen(texts[i]), &key, NULL), 0);
        check_is_example(&key);
    }
}

static void check_refused(const char *text, size_t bytes, const char *reason)
{
    struct blx_key key, untouched;
    struct blx_error err = {0};
    memset(&key, 0x5a, sizeof(key));
    untouched = key;
    assert_int_equal(blx_key_parse(text, bytes, &key, &err), -EINVAL);
    if (strstr(err.message, reason) == NULL)
        fail_msg("'%s' was expected: %s", reason, err.message);
    assert_null(strstr(err.message, "0a0b0c"));
    assert_memory_equal(&key, &untouched, sizeof(key));
}

static void key_file_that_is_none_is_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"", "is missing"},
        {"\n" FIRST ID KEY, "first line"},
        {"-----BEGIN PRIVATE KEY-----\n", "first line"},
        {"blxrep encryption key 3\n" ID KEY, "first line"},
        {PAPER ID KEY, "not known"},
        {FIRST ID PART_1, "not known"},
        {PAPER ID PART_1 PART_2 PART_3, "is missing"},
        {PAPER ID PART_1 PART_3 PART_2 PART_4, "\"key 2: \" is missing"},
        {PAPER ID PART_1 PART_2 PART_3 PART_4 PART_4, "twice"},
        {PAPER ID PART_1 "key 2: 0809 0a0b 0c0d 0e0f\n" PART_3 PART_4, "five groups"},
        {PAPER ID PART_1 "key 2: 0809 0a0b 0c0d 0e1f " SUM_2 "\n" PART_3 PART_4,
         "\"key 2: \" has a wrong digit"},
        {PAPER ID PART_1 "key 2: 0809 0a0b 0c0d e00f " SUM_2 "\n" PART_3 PART_4,
         "\"key 2: \" has a wrong digit"},
        {PAPER "id: 119b567cd219200e\n" PART_1 PART_2 PART_3 PART_4, "do not fit together"},
        {FIRST ID, "is missing"},
        {FIRST KEY, "is missing"},
        {FIRST ID ID KEY, "twice"},
        {FIRST ID KEY KEY, "twice"},
        {FIRST ID KEY "more: 1\n", "not known"},
        {FIRST ID " " KEY, "not known"},
        {FIRST "id: 119b567cd21920\n" KEY, "16 hexadecimal digits"},
        {FIRST "id: 119b567cd219200g\n" KEY, "16 hexadecimal digits"},
        {FIRST ID "key: 0001\n", "64 hexadecimal digits"},
        {FIRST ID "key: " SECRET "00\n", "64 hexadecimal digits"},
        {FIRST "id: 119b567cd219200e\n" KEY, "do not fit together"},
        {FIRST ID "key: 0001020304050607080a090b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
         "do not fit together"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_refused(cases[i].text, strlen(cases[i].text), cases[i].reason);
    static char large[BLX_KEY_FILE_MAX_BYTES + 1];
    check_refused(large, sizeof(large), "too long");
    check_refused(FIRST ID KEY "\0", strlen(FIRST ID KEY) + 1, "not known");
}

static void key_on_paper_is_a_key_file(void **state)
{
    (void)state;
    struct blx_key key = {0}, read = {0};
    char text[BLX_KEY_PAPER_BYTES];
    assert_int_equal(blx_key_parse(FIRST ID KEY, strlen(FIRST ID KEY), &key, NULL), 0);
    blx_key_format_for_paper(&key, text);
    assert_non_null(strstr(text, ID PART_1 PART_2 PART_3 PART_4));
    assert_int_equal(blx_key_parse(text, strlen(text), &read, NULL), 0);
    check_is_example(&read);
}

static void keys_are_random_and_come_back_from_their_files(void **state)
{
    (void)state;
    char dir[] = "/tmp/blx-key-XXXXXX", path[64];
    struct blx_key made[2], read;
    struct blx_error err = {0};
    struct stat st;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/k", dir);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(blx_key_create(&made[i], NULL), 0);
    assert_memory_not_equal(made[0].secret, made[1].secret, BLX_KEY_BYTES);
    assert_false(blx_key_id_equal(&made[0].id, &made[1].id));
    assert_false(blx_key_id_is_none(&made[0].id));
    assert_int_equal(blx_key_write(path, &made[0], NULL), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(blx_key_write(path, &made[1], &err), -EEXIST);
    assert_non_null(strstr(err.message, path));
    assert_int_equal(blx_key_read(path, &read, NULL), 0);
    assert_memory_equal(&read, &made[0], sizeof(read));
    blx_key_wipe(&read);
    assert_true(blx_key_id_is_none(&read.id));
    blx_error_clear(&err);
    assert_int_equal(blx_file_replace(path, FIRST, strlen(FIRST), 0600, NULL), 0);
    assert_int_equal(blx_key_read(path, &read, &err), -EINVAL);
    assert_non_null(strstr(err.message, path));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(blx_key_read(path, &read, NULL), -ENOENT);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_file_is_read_in_all_its_forms),
        cmocka_unit_test(key_file_that_is_none_is_refused_with_the_reason),
        cmocka_unit_test(key_on_paper_is_a_key_file),
        cmocka_unit_test(keys_are_random_and_come_back_from_their_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
