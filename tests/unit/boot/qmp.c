/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's answers: of what comes, the few values that are needed; what is no answer is an error. */
#include "boot/qmp.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

static int peer = -1;
static struct boot_qmp qmp = {.fd = -1};

static void say(const char *text)
{
    assert_int_equal(write(peer, text, strlen(text)), strlen(text));
}

static int open_after(const char *text)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    peer = pair[1];
    say(text);
    return boot_qmp_open(&qmp, pair[0], blx_deadline_in_ms(50));
}

static int teardown(void **state)
{
    (void)state;
    boot_qmp_close(&qmp);
    close(peer);
    return 0;
}

#define GREETING "{\"QMP\": {}}\r\n{\"return\": {}}\r\n"

static void answers_are_found_between_events(void **state)
{
    (void)state;
    const char *answer = NULL;
    assert_int_equal(open_after(GREETING), 0);
    say("{\"timestamp\": {}, \"event\": \"RESUME\"}\r\n{\"return\": {\"running\": true}}\r\n");
    assert_int_equal(boot_qmp_ask(&qmp, "{}", blx_deadline_in_ms(50), &answer), 0);
    assert_non_null(strstr(answer, "\"running\": true"));
    say("{\"error\": {}}\r\n");
    assert_int_equal(boot_qmp_ask(&qmp, "{}", blx_deadline_in_ms(50), &answer), -EREMOTEIO);
}

static void silence_and_an_end_are_errors(void **state)
{
    (void)state;
    const char *answer = NULL;
    assert_int_equal(open_after(GREETING), 0);
    assert_int_equal(boot_qmp_ask(&qmp, "{}", blx_deadline_in_ms(20), &answer), -ETIME);
    shutdown(peer, SHUT_RDWR);
    assert_int_equal(boot_qmp_ask(&qmp, "{}", blx_deadline_in_ms(50), &answer), -EPIPE);
}

static void what_is_no_qemu_is_refused(void **state)
{
    (void)state;
    assert_int_equal(open_after("SSH-2.0\r\n"), -EPROTO);
}

static void *flood(void *arg)
{
    static char noise[8192];
    (void)arg;
    memset(noise, 'x', sizeof(noise));
    struct pollfd room = {.fd = peer, .events = POLLOUT};
    while (send(peer, noise, sizeof(noise), MSG_NOSIGNAL) > 0 || errno == EAGAIN)
        poll(&room, 1, -1);
    return NULL;
}

static void a_line_without_an_end_is_bounded(void **state)
{
    (void)state;
    const char *answer = NULL;
    pthread_t thread;
    assert_int_equal(open_after(GREETING), 0);
    assert_int_equal(pthread_create(&thread, NULL, flood, NULL), 0);
    assert_int_equal(boot_qmp_ask(&qmp, "{}", blx_deadline_in_ms(60000), &answer), -EPROTO);
    shutdown(qmp.fd, SHUT_RDWR);
    pthread_join(thread, NULL);
}

static void only_the_disks_bytes_count(void **state)
{
    (void)state;
    static const char answer[] =
        "{\"return\": [{\"device\": \"\", \"stats\": {\"wr_bytes\": 5, \"rd_bytes\": 1}, "
        "\"node-name\": \"variables\"}, {\"stats\": {\"wr_bytes\": 20, \"deep\": {\"a\": \"}\"}, "
        "\"rd_bytes\": 300}, \"node-name\": \"disk0\"}, {\"node-name\": \"disk1\", \"stats\": "
        "{\"rd_bytes\": 4000, \"wr_bytes\": 0}}]}";
    assert_int_equal(boot_qmp_sum(answer, "disk", "rd_bytes"), 4300);
    assert_int_equal(boot_qmp_sum(answer, "disk", "wr_bytes"), 20);
    assert_int_equal(boot_qmp_sum("{\"return\": [{\"node-name\": \"disk0", "disk", "x"), 0);
    assert_int_equal(boot_qmp_sum("{\"return\": {}}", "disk", "rd_bytes"), 0);
}

static void registers_and_texts_are_found(void **state)
{
    (void)state;
    char text[16];
    assert_int_equal(boot_qmp_register("\\r\\nRIP=ffffffff81000010 RFL=2", "RIP"),
                     0xffffffff81000010);
    assert_int_equal(boot_qmp_register("EIP=000ea664 EFL=2", "RIP"), 0);
    assert_true(boot_qmp_text("{\"return\": {\"host\": \"::1\"}}", "host", text, sizeof(text)));
    assert_string_equal(text, "::1");
    assert_false(boot_qmp_text("{\"return\": {\"host\": \"a very long name\"}}", "host", text,
                               sizeof(text)));
    assert_false(boot_qmp_text("{\"return\": {}}", "host", text, sizeof(text)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(answers_are_found_between_events, teardown),
        cmocka_unit_test_teardown(silence_and_an_end_are_errors, teardown),
        cmocka_unit_test_teardown(what_is_no_qemu_is_refused, teardown),
        cmocka_unit_test_teardown(a_line_without_an_end_is_bounded, teardown),
        cmocka_unit_test(only_the_disks_bytes_count),
        cmocka_unit_test(registers_and_texts_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
