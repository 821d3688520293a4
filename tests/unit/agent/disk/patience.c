/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/patience.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/units.h"

enum { SHORT_MS = 50, LONG_MS = 60000 };

static atomic_int runs, drops;

/* Ends when the pipe is fed: nothing else lets it go, as a dead server does not. */
struct visit {
    int wait_fd; /* -1: it ends at once */
    int found;
};

static int visit(void *arg)
{
    struct visit *one = arg;
    char c = 0;
    runs++;
    if (one->wait_fd >= 0 && read(one->wait_fd, &c, 1) != 1)
        return -EIO;
    one->found = 42;
    return 0;
}

static void drop(void *arg)
{
    assert_int_equal(((struct visit *)arg)->found, 42);
    drops++;
}

static const struct agent_patience_call call = {
    .run = visit, .drop = drop, .arg_bytes = sizeof(struct visit)};

static void call_that_ends_gives_its_result(void **state)
{
    (void)state;
    struct visit one = {.wait_fd = -1};
    assert_int_equal(agent_patience_run("one", &call, &one, LONG_MS), 0);
    assert_int_equal(one.found, 42);
    assert_int_equal(drops, 0);
    assert_true(agent_patience_ask("one") == 0);
}

static void call_that_hangs_costs_its_clock_once(void **state)
{
    (void)state;
    int feed[2];
    assert_int_equal(pipe(feed), 0);
    struct visit one = {.wait_fd = feed[0]};
    runs = 0;
    assert_int_equal(agent_patience_run("two", &call, &one, SHORT_MS), -ETIMEDOUT);
    assert_true(agent_patience_ask("two") >= SHORT_MS * UINT64_C(1000000));
    /* The same again costs nothing, and another one is not in its way. */
    uint64_t before_ns = blx_clock_ns();
    assert_int_equal(agent_patience_run("two", &call, &one, LONG_MS), -ETIMEDOUT);
    assert_true(blx_clock_ns() - before_ns < LONG_MS * UINT64_C(1000000) / 2);
    assert_int_equal(runs, 1);
    struct visit other = {.wait_fd = -1};
    assert_int_equal(agent_patience_run("three", &call, &other, LONG_MS), 0);
    /* What came too late is given back, and the next call is an ordinary one. */
    assert_int_equal(write(feed[1], "x", 1), 1);
    for (int i = 0; i < 3000 && drops == 0; i++)
        poll(NULL, 0, 10);
    assert_int_equal(drops, 1);
    assert_true(agent_patience_ask("two") == 0);
    one.wait_fd = -1;
    assert_int_equal(agent_patience_run("two", &call, &one, LONG_MS), 0);
    close(feed[0]);
    close(feed[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(call_that_ends_gives_its_result),
        cmocka_unit_test(call_that_hangs_costs_its_clock_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
