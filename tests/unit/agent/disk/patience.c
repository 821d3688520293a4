/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/patience_private.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/units.h"

enum { SHORT_MS = 50, HANG_MS = 5000, LONG_MS = 60000 };

struct visit {
    int found;
    pid_t pid;
};

/* Says 'r' on the pipe that it is lent, and 'u' if it is undone. */
static int visit(void *arg, struct agent_patience_io *io)
{
    struct visit *one = arg;
    if (io->lent_fd >= 0 && write(io->lent_fd, "r", 1) != 1)
        return -EIO;
    one->found = 42;
    one->pid = getpid();
    strcpy(io->data, "from there");
    return 0;
}

static void undo(void *arg, struct agent_patience_io *io)
{
    ssize_t put = ((struct visit *)arg)->found == 42 ? write(io->lent_fd, "u", 1) : 0;
    (void)put;
}

static const struct agent_patience_call call = {
    .run = visit, .undo = undo, .arg_bytes = sizeof(struct visit)};

static int says[2];

static char heard(void)
{
    char c = 0;
    struct pollfd poller = {.fd = says[0], .events = POLLIN};
    assert_int_equal(poll(&poller, 1, LONG_MS), 1);
    assert_int_equal(read(says[0], &c, 1), 1);
    return c;
}

static void assert_silent(void)
{
    struct pollfd poller = {.fd = says[0], .events = POLLIN};
    assert_int_equal(poll(&poller, 1, SHORT_MS), 0);
}

static void call_that_ends_gives_its_result(void **state)
{
    (void)state;
    struct visit one = {.found = 0};
    char text[16] = "";
    struct agent_patience_io io = {.lent_fd = says[1], .data = text, .data_bytes = sizeof(text)};
    assert_int_equal(agent_patience_run("one", &call, &one, &io, LONG_MS), 0);
    assert_int_equal(one.found, 42);
    assert_string_equal(text, "from there");
    assert_true(one.pid != getpid());
    assert_int_equal(heard(), 'r');
    assert_silent();
    assert_true(agent_patience_ask("one") == 0);
}

static int open_null(void *arg, struct agent_patience_io *io)
{
    (void)arg;
    io->taken_fd = dup(io->lent_fd);
    return io->taken_fd < 0 ? -errno : 0;
}

static void descriptors_travel_both_ways(void **state)
{
    (void)state;
    static const struct agent_patience_call opening = {.run = open_null};
    struct agent_patience_io io = {.lent_fd = says[1]};
    char nothing = 0;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(agent_patience_run("open", &opening, &nothing, &io, LONG_MS), 0);
        assert_true(io.taken_fd >= 0);
        assert_int_equal(write(io.taken_fd, "x", 1), 1);
        assert_int_equal(heard(), 'x');
        close(io.taken_fd);
    }
}

static int say_time(void *arg, struct agent_patience_io *io)
{
    (void)arg;
    (void)io;
    return -ETIME;
}

static void error_of_the_call_is_not_a_hang(void **state)
{
    (void)state;
    static const struct agent_patience_call failing = {.run = say_time};
    char nothing = 0;
    assert_int_equal(agent_patience_run("bad", &failing, &nothing, NULL, LONG_MS), -ETIMEDOUT);
    assert_true(agent_patience_ask("bad") == 0);
}

static int wait_for_feed(void *arg, struct agent_patience_io *io)
{
    struct visit *one = arg;
    char c;
    if (read(io->lent_fd, &c, 1) != 1)
        return -EIO;
    one->found = 42;
    return 0;
}

static void say_on_socket(void *arg, struct agent_patience_io *io)
{
    (void)arg;
    ssize_t put = write(io->lent_fd, "u", 1);
    (void)put;
}

/* Waits for a byte on the socket that it is lent, and says there that it is undone. */
static const struct agent_patience_call hanging = {
    .run = wait_for_feed, .undo = say_on_socket, .arg_bytes = sizeof(struct visit)};

static int announce_and_wait(void *arg, struct agent_patience_io *io)
{
    return write(io->lent_fd, "b", 1) == 1 ? wait_for_feed(arg, io) : -EIO;
}

static const struct agent_patience_call announcing = {
    .run = announce_and_wait, .undo = say_on_socket, .arg_bytes = sizeof(struct visit)};

static void call_that_hangs_costs_its_clock_once(void **state)
{
    (void)state;
    int pair[2];
    char c = 0, text[128];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    struct visit one = {.found = 0};
    struct agent_patience_io io = {.lent_fd = pair[1]};
    assert_int_equal(agent_patience_run("two", &hanging, &one, &io, SHORT_MS), -ETIME);
    assert_true(agent_patience_ask("two") >= SHORT_MS * BLX_NS_PER_MS);
    assert_true(agent_patience_explain("tw", text, sizeof(text)));
    assert_memory_equal(text, "two does not answer since ", 26);
    assert_false(agent_patience_explain("three", text, sizeof(text)));
    /* The same again costs nothing, and another one is not in its way. */
    uint64_t before_ns = blx_clock_ns();
    assert_int_equal(agent_patience_run("two", &hanging, &one, &io, LONG_MS), -ETIME);
    assert_true(blx_clock_ns() - before_ns < LONG_MS * BLX_NS_PER_MS / 2);
    struct visit other = {.found = 0};
    assert_int_equal(agent_patience_run("three", &call, &other,
                                        &(struct agent_patience_io){.lent_fd = -1}, LONG_MS),
                     0);
    /* What came too late is undone, once, and the next call is an ordinary one. */
    assert_int_equal(write(pair[0], "x", 1), 1);
    assert_int_equal(read(pair[0], &c, 1), 1);
    assert_int_equal(c, 'u');
    for (int i = 0; i < 3000 && agent_patience_ask("two") > 0; i++)
        poll(NULL, 0, 10);
    assert_true(agent_patience_ask("two") == 0);
    assert_int_equal(write(pair[0], "x", 1), 1);
    assert_int_equal(agent_patience_run("two", &hanging, &one, &io, LONG_MS), 0);
    assert_int_equal(one.found, 42);
    close(pair[0]);
    close(pair[1]);
}

static void helper_that_was_killed_is_replaced(void **state)
{
    (void)state;
    struct visit one = {.found = 0};
    struct agent_patience_io io = {.lent_fd = -1};
    assert_int_equal(agent_patience_run("four", &call, &one, &io, LONG_MS), 0);
    pid_t killed = one.pid;
    assert_int_equal(kill(killed, SIGKILL), 0);
    int rc = -EPIPE;
    for (int i = 0; i < 100 && rc == -EPIPE; i++)
        rc = agent_patience_run("four", &call, &one, &io, LONG_MS);
    assert_int_equal(rc, 0);
    assert_int_not_equal(one.pid, killed);
}

static int kept_fd;

static int keep_lent(void *arg, struct agent_patience_io *io)
{
    (void)arg;
    kept_fd = dup(io->lent_fd);
    return kept_fd < 0 ? -errno : 0;
}

/* Says that it begins, and waits for a byte, as for a disk that hangs. */
static void hang_at_rest(void)
{
    char c;
    ssize_t got = write(kept_fd, "c", 1) == 1 ? read(kept_fd, &c, 1) : 0;
    (void)got;
    close(kept_fd);
}

static void let_go_that_hangs_holds_up_its_own_name_alone(void **state)
{
    (void)state;
    static const struct agent_patience_call keeping = {.run = keep_lent, .rest = hang_at_rest};
    int pair[2];
    char c = 0, nothing = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    struct agent_patience_io io = {.lent_fd = pair[1]};
    assert_int_equal(agent_patience_run("disk a", &keeping, &nothing, &io, LONG_MS), 0);
    assert_int_equal(read(pair[0], &c, 1), 1); /* it rests, and hangs */
    struct visit other = {.found = 0};
    struct agent_patience_io none = {.lent_fd = -1};
    for (int i = 0; i < 3; i++)
        assert_int_equal(agent_patience_run("disk b", &call, &other, &none, HANG_MS), 0);
    assert_true(agent_patience_ask("disk b") == 0);
    assert_int_equal(write(pair[0], "x", 1), 1);
    close(pair[0]);
    close(pair[1]);
}

/* An agent of its own is killed in the middle of a call. */
static void death_of_the_agent_undoes_what_it_does_not_get(void **state)
{
    (void)state;
    int pair[2];
    char c = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pid_t agent = fork();
    if (agent == 0) {
        struct visit one = {.found = 0};
        struct agent_patience_io io = {.lent_fd = pair[1]};
        agent_patience_run("five", &announcing, &one, &io, LONG_MS);
        _exit(1);
    }
    assert_int_equal(read(pair[0], &c, 1), 1);
    assert_int_equal(c, 'b');
    assert_int_equal(kill(agent, SIGKILL), 0);
    assert_int_equal(waitpid(agent, NULL, 0), agent);
    assert_int_equal(write(pair[0], "x", 1), 1);
    assert_int_equal(read(pair[0], &c, 1), 1);
    assert_int_equal(c, 'u');
    close(pair[0]);
    close(pair[1]);
}

static void end_hurries_every_call(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    struct visit one = {.found = 0};
    struct agent_patience_io io = {.lent_fd = pair[1]};
    uint64_t before_ns = blx_clock_ns();
    agent_patience_end();
    assert_int_equal(agent_patience_run("six", &hanging, &one, &io, LONG_MS), -ETIME);
    assert_true(blx_clock_ns() - before_ns < LONG_MS * BLX_NS_PER_MS / 2);
    /* One that ends is still run. */
    io.lent_fd = -1;
    assert_int_equal(agent_patience_run("seven", &call, &one, &io, LONG_MS), 0);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            death_of_the_agent_undoes_what_it_does_not_get), /* before we have helpers */
        cmocka_unit_test(call_that_ends_gives_its_result),
        cmocka_unit_test(descriptors_travel_both_ways),
        cmocka_unit_test(error_of_the_call_is_not_a_hang),
        cmocka_unit_test(call_that_hangs_costs_its_clock_once),
        cmocka_unit_test(helper_that_was_killed_is_replaced),
        cmocka_unit_test(let_go_that_hangs_holds_up_its_own_name_alone),
        cmocka_unit_test(end_hurries_every_call),
    };
    if (pipe(says) < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
