/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/notify.h"

static int bind_socket(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t bytes = strlen(name);
    memcpy(address.sun_path, name, bytes);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
    return fd;
}

static void assert_received(int fd, const char *expected)
{
    char buffer[128];
    ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
    assert_int_equal(got, strlen(expected));
    assert_memory_equal(buffer, expected, strlen(expected));
}

static void notify_without_a_manager_does_nothing(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(blx_notify("READY=1"), 0);
    setenv("NOTIFY_SOCKET", "", 1);
    assert_int_equal(blx_notify("READY=1"), 0);
}

static void notify_sends_the_state_to_a_path(void **state)
{
    (void)state;
    char directory[] = "/tmp/blx-notify-XXXXXX", path[64];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/socket", directory);
    int fd = bind_socket(path);
    setenv("NOTIFY_SOCKET", path, 1);
    assert_int_equal(blx_notify("READY=1\nSTATUS=fine"), 0);
    assert_received(fd, "READY=1\nSTATUS=fine");
    close(fd);
    unlink(path);
    rmdir(directory);
}

static void notify_sends_the_state_to_an_abstract_socket(void **state)
{
    (void)state;
    char name[64];
    snprintf(name, sizeof(name), "@blx-notify-test-%d", (int)getpid());
    int fd = bind_socket(name);
    setenv("NOTIFY_SOCKET", name, 1);
    assert_int_equal(blx_notify("STOPPING=1"), 0);
    assert_received(fd, "STOPPING=1");
    close(fd);
}

static void notify_refuses_a_name_that_is_no_socket(void **state)
{
    (void)state;
    char long_name[256];
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[0] = '/';
    long_name[sizeof(long_name) - 1] = '\0';
    const char *const names[] = {"relative/path", "/", "@", long_name};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        setenv("NOTIFY_SOCKET", names[i], 1);
        assert_int_equal(blx_notify("READY=1"), -EINVAL);
    }
}

static void notify_says_when_nobody_listens(void **state)
{
    (void)state;
    setenv("NOTIFY_SOCKET", "/nonexistent/blx-notify", 1);
    assert_int_equal(blx_notify("READY=1"), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notify_without_a_manager_does_nothing),
        cmocka_unit_test(notify_sends_the_state_to_a_path),
        cmocka_unit_test(notify_sends_the_state_to_an_abstract_socket),
        cmocka_unit_test(notify_refuses_a_name_that_is_no_socket),
        cmocka_unit_test(notify_says_when_nobody_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
