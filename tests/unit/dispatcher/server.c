/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dispatcher/server.h"

static void address_of_port_zero_is_the_real_one(void **state)
{
    (void)state;
    char text[BLX_TEXT_BYTES];
    int fd = blx_address_listen("127.0.0.1:0", NULL);
    assert_true(fd >= 0);
    assert_int_equal(dispatcher_server_address(fd, text, NULL), 0);
    assert_memory_equal(text, "127.0.0.1:", 10);
    assert_string_not_equal(text, "127.0.0.1:0");
    close(fd);
}

static void address_of_what_is_no_socket_is_an_error(void **state)
{
    (void)state;
    char text[BLX_TEXT_BYTES];
    struct blx_error err = {0};
    assert_true(dispatcher_server_address(-1, text, &err) < 0);
    assert_non_null(strstr(err.message, "the listening socket"));
}

static void server_returns_when_it_is_told_to_stop(void **state)
{
    (void)state;
    struct dispatcher dispatcher = {.refusals = DISPATCHER_RATE_INIT};
    int fd = blx_address_listen("127.0.0.1:0", NULL);
    int stop_fd = eventfd(1, EFD_CLOEXEC);
    assert_int_equal(dispatcher_server_run(&dispatcher, fd, stop_fd, NULL), 0);
    close(stop_fd);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(address_of_port_zero_is_the_real_one),
        cmocka_unit_test(address_of_what_is_no_socket_is_an_error),
        cmocka_unit_test(server_returns_when_it_is_told_to_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
