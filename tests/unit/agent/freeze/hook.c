/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/freeze/hook.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/units.h"

static struct blx_error err;
static struct blx_watchdog watchdog;

static int run(const char *command, uint64_t timeout_ms)
{
    blx_error_clear(&err);
    return agent_hook_run("pre-freeze", command, "web1", timeout_ms, &watchdog, &err);
}

static void hook_that_succeeds_is_no_error(void **state)
{
    (void)state;
    assert_int_equal(run("true", 10000), 0);
    assert_int_equal(run(NULL, 10000), 0);
    assert_int_equal(err.code, 0);
}

static void hook_that_fails_is_named_with_its_status(void **state)
{
    (void)state;
    assert_int_equal(run("exit 7", 10000), -ECHILD);
    assert_non_null(strstr(err.message, "pre-freeze"));
    assert_non_null(strstr(err.message, "'exit 7'"));
    assert_non_null(strstr(err.message, "status 7"));
    assert_int_equal(run("kill -9 $$", 10000), -ECHILD);
    assert_non_null(strstr(err.message, "signal 9"));
}

static void hook_knows_the_agent_and_its_own_name(void **state)
{
    (void)state;
    setenv("BLXREP_AGENT", "inherited", 1);
    assert_int_equal(run("test \"$BLXREP_AGENT $BLXREP_HOOK\" = 'web1 pre-freeze'", 10000), 0);
    unsetenv("BLXREP_AGENT");
}

static void hook_is_killed_with_its_children_at_the_limit(void **state)
{
    (void)state;
    char dir[] = "/tmp/blx-hook-XXXXXX", command[256], path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/pid", dir);
    snprintf(command, sizeof(command), "sleep 600 & echo $! > %s; wait", path);
    uint64_t before_ns = blx_clock_ns();
    assert_int_equal(run(command, 500), -ETIMEDOUT);
    uint64_t took_ns = blx_clock_ns() - before_ns;
    assert_true(took_ns >= UINT64_C(500000000) && took_ns < UINT64_C(20000000000));
    assert_non_null(strstr(err.message, "500 ms"));
    FILE *file = fopen(path, "re");
    int pid = 0;
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%d", &pid), 1);
    fclose(file);
    /* Gone, or dead and waiting for its new parent to notice. */
    char stat_path[64], child_state = 'Z';
    snprintf(stat_path, sizeof(stat_path), "/proc/%d/stat", pid);
    for (int i = 0; i < 500; i++) {
        file = fopen(stat_path, "re");
        child_state = 'Z';
        if (file == NULL)
            break;
        int n = fscanf(file, "%*d %*s %c", &child_state);
        fclose(file);
        if (n != 1 || child_state == 'Z' || child_state == 'X')
            break;
        usleep(10000);
    }
    assert_true(child_state == 'Z' || child_state == 'X');
    unlink(path);
    rmdir(dir);
}

static void hook_is_not_bothered_by_our_blocked_signals(void **state)
{
    (void)state;
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    assert_int_equal(run("kill -TERM $$; sleep 60", 30000), -ECHILD);
    sigprocmask(SIG_SETMASK, &before, NULL);
    assert_non_null(strstr(err.message, "signal 15"));
}

/* Its limit may be longer than the period in which the service manager wants a sign of life. */
static void hook_that_takes_its_time_keeps_the_watchdog_turning(void **state)
{
    (void)state;
    setenv("WATCHDOG_USEC", "1", 1);
    blx_watchdog_init(&watchdog, 1);
    unsetenv("WATCHDOG_USEC");
    uint64_t begun_ns = blx_clock_ns();
    assert_int_equal(run("sleep 1.5", 10000), 0);
    assert_true(atomic_load(&watchdog.last_attempt_ns) >= begun_ns + UINT64_C(900) * 1000000);
    watchdog = (struct blx_watchdog){0};
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hook_that_succeeds_is_no_error),
        cmocka_unit_test(hook_that_fails_is_named_with_its_status),
        cmocka_unit_test(hook_knows_the_agent_and_its_own_name),
        cmocka_unit_test(hook_is_killed_with_its_children_at_the_limit),
        cmocka_unit_test(hook_is_not_bothered_by_our_blocked_signals),
        cmocka_unit_test(hook_that_takes_its_time_keeps_the_watchdog_turning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
