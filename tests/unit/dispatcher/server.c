/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dispatcher/server.h"

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
        cmocka_unit_test(server_returns_when_it_is_told_to_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
