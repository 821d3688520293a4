/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest says, as text: matched by lines, bounded, and never a command to a terminal. */
#include "boot/console.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct boot_console *console;

static int setup(void **state)
{
    (void)state;
    console = boot_console_new();
    return console != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    boot_console_free(console);
    return 0;
}

static void hear(const char *text)
{
    boot_console_hear(console, text, strlen(text));
}

static void sequences_of_terminals_are_left_out(void **state)
{
    (void)state;
    hear("\033[?7l\033[2J\033[0mSeaBIOS\r\n\033]0;title\007GRUB\033[1;1H \001loading\tit\r\n");
    assert_string_equal(boot_console_tail(console, 10), "SeaBIOS\nGRUB loading it\n");
}

static void a_line_is_written_over(void **state)
{
    (void)state;
    hear("boots in 5 s\rboots in 4 s\rgo\r\nabd\bc\n");
    assert_string_equal(boot_console_tail(console, 10), "go\nabc\n");
}

static void a_prompt_is_found_without_its_end(void **state)
{
    (void)state;
    hear("an early login: \n");
    assert_int_equal(boot_console_expect(console, "^[a-z0-9]+ login: $", NULL), 0);
    assert_false(boot_console_found(console));
    hear("not a login: \nweb1 log");
    assert_false(boot_console_found(console));
    hear("in: ");
    assert_true(boot_console_found(console));
    hear("root\nLast login: never\n");
    assert_true(boot_console_found(console));
    assert_int_equal(boot_console_expect(console, "never", NULL), 0);
    assert_false(boot_console_found(console)); /* it was said before */
}

static void the_line_under_way_counts_when_it_is_asked_for(void **state)
{
    (void)state;
    hear("one\nweb1 login: ");
    assert_int_equal(boot_console_expect(console, "login: $", NULL), 0);
    assert_true(boot_console_found(console));
}

static void a_line_that_is_written_over_counts(void **state)
{
    (void)state;
    assert_int_equal(boot_console_expect(console, "half", NULL), 0);
    hear("half\rwhole\n");
    assert_true(boot_console_found(console));
}

static void what_is_no_expression_is_told(void **state)
{
    (void)state;
    struct blx_error err = {0};
    assert_int_equal(boot_console_expect(console, "(", &err), -EINVAL);
    assert_non_null(strstr(err.message, "'('"));
}

/* Without an end, and with very many. */
static void memory_is_bounded_and_the_newest_stays(void **state)
{
    (void)state;
    char line[64];
    for (int i = 0; i < 3 * BOOT_CONSOLE_BYTES; i++)
        hear("x");
    assert_true(strlen(boot_console_tail(console, 1000000)) <= BOOT_CONSOLE_BYTES);
    assert_true(strlen(boot_console_tail(console, 1)) <= BOOT_CONSOLE_LINE_BYTES);
    hear("\n");
    assert_int_equal(boot_console_expect(console, "^line 19999$", NULL), 0);
    for (int i = 0; i < 20000; i++) {
        snprintf(line, sizeof(line), "line %d\n", i);
        hear(line);
    }
    assert_true(boot_console_found(console));
    assert_string_equal(boot_console_tail(console, 3), "line 19998\nline 19999\n");
    assert_true(strlen(boot_console_tail(console, 1000000)) <= BOOT_CONSOLE_BYTES);
}

int main(void)
{
#define CONSOLE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CONSOLE_TEST(sequences_of_terminals_are_left_out),
        CONSOLE_TEST(a_line_is_written_over),
        CONSOLE_TEST(a_prompt_is_found_without_its_end),
        CONSOLE_TEST(the_line_under_way_counts_when_it_is_asked_for),
        CONSOLE_TEST(a_line_that_is_written_over_counts),
        CONSOLE_TEST(what_is_no_expression_is_told),
        CONSOLE_TEST(memory_is_bounded_and_the_newest_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
