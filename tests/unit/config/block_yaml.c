/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

static const enum blx_command start = BLX_COMMAND_START;

static void texts_without_quotes_are_shown_with_them(void **state)
{
    struct fixture *f = *state;
    fixture_refused(f, start, "# hello\nmode: dispatcher\nid: \"x\"\n", "line 2", "key 'mode'",
                    "without double quotes", "write  mode: \"dispatcher\"", NULL);
    fixture_refused(f, start, "device: /dev/xvda # the disk\n", "line 1", "key 'device'",
                    "write  device: \"/dev/xvda\"", NULL);
    fixture_refused(f, start, "dispatcher-addr: localhost:8080\n", "line 1",
                    "key 'dispatcher-addr'", "write  dispatcher-addr: \"localhost:8080\"", NULL);
    fixture_refused(f, start, "id: 'it''s \"me\"'\n", "line 1", "single quotes",
                    "write  id: \"it's \\\"me\\\"\"", NULL);
}

/* libconfig reads "30s" as a number and the next key, and fails only at the line after it. */
static void error_is_told_of_the_line_before_the_one_that_libconfig_names(void **state)
{
    struct fixture *f = *state;
    fixture_refused(f, start, "mode: \"agent\"\nsync-freq: 30s\n\n# more\nid: \"x\"\n", "line 2",
                    "key 'sync-freq'", "write  sync-freq: \"30s\"", NULL);
    fixture_refused(f, start, "sync-freq: 30s", "line 1", "write  sync-freq: \"30s\"", NULL);
    fixture_refused(f, start, "id:\nmode: \"agent\"\n", "line 1", "key 'id'", "without a value",
                    "write  id: \"agent1\"", NULL);
}

static void block_lists_are_shown_in_flow_style(void **state)
{
    struct fixture *f = *state;
    fixture_refused(
        f, start,
        "mode: \"agent\"\ndevice:\n  - \"/dev/a\"\n  - /dev/b # two\n\n  - '/dev/c'\nid: \"x\"\n",
        "line 2", "key 'device'", "block style",
        "write  device: [\"/dev/a\", \"/dev/b\", \"/dev/c\"]", NULL);
    fixture_refused(f, start, "device:\n- /dev/a\n", "line 1", "write  device: [\"/dev/a\"]", NULL);
    fixture_refused(f, start, "- /dev/a\n", "line 1", "block style", "device: [", NULL);
}

static void block_groups_are_shown_in_flow_style(void **state)
{
    struct fixture *f = *state;
    fixture_refused(f, start, "tls:\n  ca: /ca.pem\n  cert: \"/c.pem\"\n  key: k.pem\nid: \"x\"\n",
                    "line 1", "key 'tls'", "block style",
                    "write  tls: { ca: \"/ca.pem\", cert: \"/c.pem\", key: \"k.pem\" }", NULL);
}

static void flow_values_are_shown_with_quotes_and_without_the_last_comma(void **state)
{
    struct fixture *f = *state;
    fixture_refused(f, start, "device: [/dev/a, \"/dev/b\",]\n", "line 1", "key 'device'",
                    "write  device: [\"/dev/a\", \"/dev/b\"]", NULL);
    fixture_refused(f, start, "tls: { ca: /a, cert: \"b\", key: c }\n", "line 1",
                    "write  tls: { ca: \"/a\", cert: \"b\", key: \"c\" }", NULL);
    fixture_refused(f, start, "tls: { ca: \"a\",\n  key: c }\n", "line 2", "key: \"c\" }", NULL);
}

static void booleans_of_yaml_are_shown_as_true_and_false(void **state)
{
    struct fixture *f = *state;
    fixture_refused(f, start, "freeze: no\n", "line 1", "key 'freeze'", "write  freeze: false",
                    NULL);
    fixture_refused(f, start, "verbose: On\n", "line 1", "write  verbose: true", NULL);
}

static void marks_and_block_texts_of_yaml_are_told(void **state)
{
    struct fixture *f = *state;
    fixture_refused(f, start, "---\nmode: \"agent\"\n", "line 1", "document mark",
                    "remove the line", NULL);
    fixture_refused(f, start, "pre-freeze: |\n  a\n  b\n", "line 1", "key 'pre-freeze'",
                    "block style", NULL);
}

static void other_syntax_errors_say_what_a_line_looks_like(void **state)
{
    struct fixture *f = *state;
    fixture_refused(f, start, "mode \"agent\"\n", "line 1", "syntax error", "a line is written",
                    NULL);
    fixture_refused(f, start, "[1]\n", "line 1", "syntax error", NULL);
    fixture_refused(f, start, "}\n", "line 1", "syntax error", NULL);
    fixture_refused(f, start, "device: [ \"a\", 3 ]\n", "line 1", "key 'device'", "mismatched",
                    NULL);
}

/* A file that is cut anywhere is accepted, or refused with a line number; nothing else happens. */
static void cut_files_never_do_worse_than_an_error(void **state)
{
    static const char text[] =
        "tls: { ca: \"\\\"a\", cert: 'b', key: [c, }\nid: 'x\ndevice:\n - \"/a\n - b: \n"
        "freeze: no # \"\nsync-freq: 1.5.2e\n%%\n\xff\xfe: \x01\n";
    struct fixture *f = *state;
    for (size_t from = 0; from < sizeof(text) - 1; from++) {
        for (size_t to = from + 1; to < sizeof(text); to += 7) {
            fixture_write(f, text + from, to - from);
            if (fixture_load(f, start, FIXTURE_FILE_AND_FLAGS, NULL) < 0)
                assert_non_null(strstr(f->err.message, "line "));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        TEST(texts_without_quotes_are_shown_with_them),
        TEST(error_is_told_of_the_line_before_the_one_that_libconfig_names),
        TEST(block_lists_are_shown_in_flow_style),
        TEST(block_groups_are_shown_in_flow_style),
        TEST(flow_values_are_shown_with_quotes_and_without_the_last_comma),
        TEST(booleans_of_yaml_are_shown_as_true_and_false),
        TEST(marks_and_block_texts_of_yaml_are_told),
        TEST(other_syntax_errors_say_what_a_line_looks_like),
        TEST(cut_files_never_do_worse_than_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
