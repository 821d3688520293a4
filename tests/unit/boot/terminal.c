/* SPDX-License-Identifier: Apache-2.0 */
/* Of what is typed, what is for us and what is the guest's. */
#include "boot/terminal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct boot_terminal terminal;
static char left[64];

static enum boot_key sort(const char *typed)
{
    size_t count = strlen(typed);
    memcpy(left, typed, count + 1);
    enum boot_key key = boot_terminal_sort(&terminal, left, &count);
    left[count] = '\0';
    return key;
}

static void keys_are_the_guests(void **state)
{
    (void)state;
    terminal = (struct boot_terminal){.is_terminal = true};
    assert_int_equal(sort("ls\r\x03q"), BOOT_KEY_NONE);
    assert_string_equal(left, "ls\r\x03q");
}

static void after_the_escape_one_is_ours(void **state)
{
    (void)state;
    terminal = (struct boot_terminal){.is_terminal = true};
    assert_int_equal(sort("a\x1dpb"), BOOT_KEY_POWER);
    assert_string_equal(left, "ab");
    assert_int_equal(sort("\x1d"), BOOT_KEY_NONE); /* also in two pieces */
    assert_string_equal(left, "");
    assert_int_equal(sort("qx"), BOOT_KEY_QUIT);
    assert_string_equal(left, "x");
    assert_int_equal(sort("\x1dz"), BOOT_KEY_HELP);
}

static void twice_it_is_itself(void **state)
{
    (void)state;
    terminal = (struct boot_terminal){.is_terminal = true};
    assert_int_equal(sort("\x1d\x1dq"), BOOT_KEY_NONE);
    assert_string_equal(left, "\x1dq");
}

static void without_a_terminal_all_is_the_guests(void **state)
{
    (void)state;
    terminal = (struct boot_terminal){0};
    assert_int_equal(sort("\x1dq"), BOOT_KEY_NONE);
    assert_string_equal(left, "\x1dq");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_the_guests),
        cmocka_unit_test(after_the_escape_one_is_ours),
        cmocka_unit_test(twice_it_is_itself),
        cmocka_unit_test(without_a_terminal_all_is_the_guests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
