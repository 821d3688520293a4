/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "dispatcher/address.h"
#include "tls/tls.h"

static void address_of_port_zero_is_the_real_one(void **state)
{
    (void)state;
    char text[BLX_TEXT_BYTES];
    int fd = blx_address_listen("127.0.0.1:0", NULL);
    assert_true(fd >= 0);
    assert_int_equal(dispatcher_address_format_local(fd, text, NULL), 0);
    assert_memory_equal(text, "127.0.0.1:", 10);
    assert_string_not_equal(text, "127.0.0.1:0");
    close(fd);
}

static void address_of_no_socket_is_an_error(void **state)
{
    (void)state;
    char text[BLX_TEXT_BYTES];
    struct blx_error err = {0};
    assert_true(dispatcher_address_format_local(-1, text, &err) < 0);
    assert_non_null(strstr(err.message, "the listening socket"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(address_of_port_zero_is_the_real_one),
        cmocka_unit_test(address_of_no_socket_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
