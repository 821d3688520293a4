/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that people write and read: timestamp.c, name.c, units.c, error.c, text.c and json.c. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/json.h"
#include "base/name.h"
#include "base/text.h"
#include "base/timestamp.h"
#include "base/units.h"

static void timestamp_survives_the_way_to_unix_and_back(void **state)
{
    (void)state;
    char text[BLX_TIMESTAMP_TEXT_BYTES], rfc[BLX_RFC3339_TEXT_BYTES];
    blx_timestamp t = blx_timestamp_from_unix(1795380960); /* 2026-11-22 21:36:00 UTC */
    blx_timestamp_format(t, text);
    assert_string_equal(text, "20261122205600");
    blx_timestamp_format_rfc3339(t, rfc);
    assert_string_equal(rfc, "2026-11-22T20:56:00Z");
    for (int64_t s = 0; s < INT64_C(4102444800); s += 86400 * 13 + 3671)
        assert_int_equal(blx_timestamp_to_unix(blx_timestamp_from_unix(s)), s);
    assert_int_equal(blx_timestamp_from_unix(-1), 0);
}

static void timestamp_parse_takes_real_instants_only(void **state)
{
    (void)state;
    blx_timestamp t;
    static const char *const bad[] = {
        "",       "2026112220360", "202611222036000", "20260230120000", "20261122246000",
        "latest", "2026-11-22",    "20261122 03600",  "19691231235959", "99999999999999"};
    assert_int_equal(blx_timestamp_parse("20261122203600", &t, NULL), 0);
    assert_int_equal(t, 20261122203600);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct blx_error error = {0};
        assert_int_equal(blx_timestamp_parse(bad[i], &t, &error), -EINVAL);
        assert_non_null(strstr(error.message, bad[i]));
    }
    assert_int_equal(t, 20261122203600);
}

static void twelve_digits_mean_the_whole_minute(void **state)
{
    (void)state;
    blx_timestamp first, last;
    assert_int_equal(blx_timestamp_parse_range("202611222036", &first, &last, NULL), 0);
    assert_int_equal(first, 20261122203600);
    assert_int_equal(last, 20261122203659);
    assert_int_equal(blx_timestamp_parse_range("20261122203601", &first, &last, NULL), 0);
    assert_int_equal(first, last);
    assert_int_equal(blx_timestamp_parse_range("20261122", &first, &last, NULL), -EINVAL);
}

static void names_that_could_leave_their_folder_are_refused(void **state)
{
    (void)state;
    char long_name[301];
    memset(long_name, 'a', 300);
    long_name[300] = '\0';
    static const char *const bad[] = {"",   ".",  "..",  "a/b", "../a",
                                      "-x", "_x", "a b", "a\n", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(blx_name_check("agent ID", bad[i], NULL), -EINVAL);
    struct blx_error error = {0};
    assert_int_equal(blx_name_check("agent ID", long_name, &error), -EINVAL);
    assert_non_null(strstr(error.message, "300 characters"));
    long_name[64] = '\0';
    assert_int_equal(blx_name_check("agent ID", long_name, NULL), 0);
    assert_int_equal(blx_name_check("agent ID", "web-1.example_2", NULL), 0);
}

static void device_paths_become_valid_names(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"/dev/sda", "sda"},
                                           {"/dev/disk/by-id/ata-X:1", "disk-by-id-ata-X-1"},
                                           {"/dev/mapper/vg-root", "mapper-vg-root"},
                                           {"/dev/", "device"},
                                           {"/tmp/my disk", "tmp-my-disk"}};
    char name[BLX_NAME_BYTES], path[200] = "/dev/";
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        blx_name_from_device(pairs[i][0], name);
        assert_string_equal(name, pairs[i][1]);
    }
    memset(path + 5, '/', 180);
    memcpy(path + 185, "end", 4);
    blx_name_from_device(path, name);
    assert_int_equal(blx_name_check("volume name", name, NULL), 0);
}

static void durations_and_sizes_are_read_with_their_units(void **state)
{
    (void)state;
    uint64_t value;
    static const struct {
        const char *text;
        uint64_t ms;
    } durations[] = {{"3", 180000},     {"0.5", 30000},  {"2s", 2000},
                     {"1.5h", 5400000}, {"10m", 600000}, {"250ms", 250}};
    for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
        assert_int_equal(blx_duration_parse(durations[i].text, 60000, &value, NULL), 0);
        assert_int_equal(value, durations[i].ms);
    }
    static const char *const bad[] = {"",    "-1",  "1x",  "s",           "1.2.3", "0x10",
                                      "nan", "inf", "1e3", "99999999999", "1 2"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(blx_duration_parse(bad[i], 60000, &value, NULL), -EINVAL);
    assert_int_equal(blx_size_parse("64M", &value, NULL), 0);
    assert_int_equal(value, 64 << 20);
    assert_int_equal(blx_size_parse("1.5 GiB", &value, NULL), 0);
    assert_int_equal(value, UINT64_C(3) << 29);
    assert_int_equal(blx_size_parse("12Q", &value, NULL), -EINVAL);
}

static void sizes_and_durations_are_written_for_people(void **state)
{
    (void)state;
    char text[BLX_UNIT_TEXT_BYTES];
    assert_string_equal(blx_size_format(512, text), "512 B");
    assert_string_equal(blx_size_format(1536, text), "1.5 KiB");
    assert_string_equal(blx_size_format(UINT64_MAX, text), "16.0 EiB");
    assert_string_equal(blx_size_format(1048575, text), "1.0 MiB");
    assert_string_equal(blx_duration_format(350, text), "350 ms");
    assert_string_equal(blx_duration_format(4200, text), "4.2 s");
    assert_string_equal(blx_duration_format(200000, text), "3 m 20 s");
    assert_string_equal(blx_duration_format(90000000, text), "1 d 1 h");
}

static void the_first_error_stands_and_takes_prefixes(void **state)
{
    (void)state;
    struct blx_error error = {0};
    assert_int_equal(blx_error_errno(&error, -ENOENT, "cannot open '%s'", "x"), -ENOENT);
    assert_int_equal(blx_error_set(&error, -EIO, "later"), -EIO);
    assert_string_equal(error.message, "cannot open 'x': No such file or directory");
    blx_error_prefix(&error, "agent '%s'", "web1");
    assert_string_equal(error.message, "agent 'web1': cannot open 'x': No such file or directory");
    blx_error_clear(&error);
    assert_int_equal(error.code, 0);
    assert_int_equal(blx_error_set(NULL, -EIO, "nobody listens"), -EIO);
}

static void an_error_that_was_looked_at_is_passed_on_with_its_message(void **state)
{
    (void)state;
    struct blx_error cause = {0}, error = {0}, silent = {0}, other = {0};
    blx_error_set(&cause, -EBADMSG, "'x' is damaged: 100%%");
    assert_int_equal(blx_error_copy(&error, -EIO, &cause), -EIO);
    assert_int_equal(error.code, -EIO);
    assert_string_equal(error.message, "'x' is damaged: 100%");
    assert_int_equal(blx_error_copy(&error, -ENOENT, &silent), -ENOENT);
    assert_string_equal(error.message, "'x' is damaged: 100%");
    assert_int_equal(blx_error_copy(&other, -ENOENT, &silent), -ENOENT);
    assert_string_equal(other.message, "No such file or directory");
    assert_int_equal(blx_error_copy(NULL, -EIO, &cause), -EIO);
}

static void a_text_is_cut_to_its_field(void **state)
{
    (void)state;
    char field[4] = "xyz", one[1] = {'x'};
    blx_text_set(field, "ab");
    assert_string_equal(field, "ab");
    blx_text_set(field, "abc");
    assert_string_equal(field, "abc");
    blx_text_set(field, "abcdefgh");
    assert_string_equal(field, "abc");
    blx_text_copy(field, sizeof(field), field + 1);
    assert_string_equal(field, "bc");
    blx_text_set(one, "ab");
    assert_string_equal(one, "");
}

static void an_error_is_one_line_whatever_it_names(void **state)
{
    (void)state;
    struct blx_error error = {0};
    blx_error_set(&error, -EINVAL, "no agent '%s'", "a\nb\x1b[2J\x7f\xc3\xbc");
    assert_string_equal(error.message, "no agent 'a?b?[2J?\xc3\xbc'");
    blx_error_prefix(&error, "file 'x\ty'");
    assert_string_equal(error.message, "file 'x?y': no agent 'a?b?[2J?\xc3\xbc'");
}

static void json_is_nested_escaped_and_separated(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    struct blx_json json = {.out = open_memstream(&text, &bytes)};
    blx_json_open(&json, NULL, '[');
    blx_json_open(&json, NULL, '{');
    blx_json_string(&json, "a", "q\"b\\n\n");
    blx_json_number(&json, "b", UINT64_MAX);
    blx_json_open(&json, "c", '[');
    blx_json_close(&json, ']');
    blx_json_bool(&json, "d", true);
    blx_json_null(&json, "e");
    blx_json_close(&json, '}');
    blx_json_close(&json, ']');
    fclose(json.out);
    assert_string_equal(
        text, "[\n  {\n    \"a\": \"q\\\"b\\\\n\\u000a\",\n    \"b\": 18446744073709551615,\n"
              "    \"c\": [],\n    \"d\": true,\n    \"e\": null\n  }\n]\n");
    free(text);
}

static void a_text_of_others_shows_what_it_is(void **state)
{
    (void)state;
    static const char *const texts[][2] = {
        {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x92\xbe", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x92\xbe"},
        {"\x1b[2Jgone\a\r\n\t\x7f", "?[2Jgone?????"},
        {"\xc2\x9b[31m", "??[31m"}, /* CSI in one character */
        {"a\xe2\x80\xae"
         "b\xe2\x81\xa6",
         "a???b???"},                           /* right to left, isolate */
        {"\xe2\x80\x8b\xef\xbb\xbf", "??????"}, /* invisible */
        {"\xf3\xa0\x81\x81", "????"},           /* a tag */
        {"\xff\xfe\xc3", "???"},                /* no UTF-8, and cut off */
        {"\xed\xa0\x80\xc0\xaf", "?????"},      /* a surrogate, too long a form */
        {"", ""},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        char text[64];
        blx_text_set(text, texts[i][0]);
        blx_text_clean(text);
        assert_string_equal(text, texts[i][1]);
        struct blx_error err = {0};
        blx_error_set(&err, -EINVAL, "%s", texts[i][0]);
        assert_string_equal(err.message, texts[i][1]);
    }
}

static void the_name_that_was_meant_is_found(void **state)
{
    (void)state;
    static const char *const known[] = {"start", "status", "show", "restore", "renew", "renew-ca"};
    static const char *const cases[][2] = {
        {"status", "status"}, {"stauts", "status"},
        {"sta", "start"},     {"resotre", "restore"},
        {"renw", "renew"},    {"renew_ca", "renew-ca"},
        {"frobnicate", NULL}, {"s", NULL},
        {"", NULL},           {"a-name-longer-than-any-known-one-of-all", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct blx_guess guess = {.name = cases[i][0]};
        for (size_t j = 0; j < sizeof(known) / sizeof(known[0]); j++)
            blx_guess_consider(&guess, known[j]);
        if (cases[i][1] == NULL)
            assert_null(guess.nearest);
        else
            assert_string_equal(guess.nearest, cases[i][1]);
    }
}

static void lines_are_broken_between_words(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t column, indent, width, lines;
        const char *broken;
    } cases[] = {
        {"one two three", 0, 2, 8, 2, "one two\n  three\n"},
        {"one two three", 5, 5, 9, 3, "one\n     two\n     three\n"},
        {"one two three", 0, 2, 0, 1, "one two three\n"},
        {"uninterruptible", 0, 2, 8, 1, "uninterruptible\n"},
        {"", 0, 2, 8, 1, "\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *got = NULL;
        size_t bytes = 0;
        FILE *out = open_memstream(&got, &bytes);
        assert_non_null(out);
        assert_int_equal(
            blx_text_wrap(out, cases[i].text, cases[i].column, cases[i].indent, cases[i].width),
            cases[i].lines);
        assert_int_equal(fclose(out), 0);
        assert_string_equal(got, cases[i].broken);
        free(got);
        assert_int_equal(
            blx_text_wrap(NULL, cases[i].text, cases[i].column, cases[i].indent, cases[i].width),
            cases[i].lines);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timestamp_survives_the_way_to_unix_and_back),
        cmocka_unit_test(timestamp_parse_takes_real_instants_only),
        cmocka_unit_test(twelve_digits_mean_the_whole_minute),
        cmocka_unit_test(names_that_could_leave_their_folder_are_refused),
        cmocka_unit_test(device_paths_become_valid_names),
        cmocka_unit_test(durations_and_sizes_are_read_with_their_units),
        cmocka_unit_test(sizes_and_durations_are_written_for_people),
        cmocka_unit_test(the_first_error_stands_and_takes_prefixes),
        cmocka_unit_test(an_error_that_was_looked_at_is_passed_on_with_its_message),
        cmocka_unit_test(a_text_is_cut_to_its_field),
        cmocka_unit_test(an_error_is_one_line_whatever_it_names),
        cmocka_unit_test(a_text_of_others_shows_what_it_is),
        cmocka_unit_test(the_name_that_was_meant_is_found),
        cmocka_unit_test(lines_are_broken_between_words),
        cmocka_unit_test(json_is_nested_escaped_and_separated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
