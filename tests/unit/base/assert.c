/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "assert_off.h"

/* On in this file, whatever the build. */
#ifndef BLX_ASSERTS
#define BLX_ASSERTS
#endif
#include "base/assert.h"

/* The line of the assert that bites. */
enum { THE_LINE = __LINE__ + 4 };
static void want_below_ten(void *value)
{
    int number = *(int *)value;
    blx_assert(number < 10);
}

static void want_held(void *lock)
{
    blx_assert_held((pthread_mutex_t *)lock);
}

static void reach(void *unused)
{
    (void)unused;
    blx_assert_unreachable();
}

/* Runs `body(argument)` in a process of its own; its wait status, and what it wrote to stderr. */
static int run(void (*body)(void *argument), void *argument, char said[], size_t bytes)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0});
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        body(argument);
        _exit(0);
    }
    close(ends[1]);
    size_t length = 0;
    ssize_t got;
    while ((got = read(ends[0], said + length, bytes - 1 - length)) > 0)
        length += (size_t)got;
    said[length] = '\0';
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void assert_dies(void (*body)(void *argument), void *argument, const char *expected)
{
    char said[1024];
    int status = run(body, argument, said, sizeof(said));
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    if (strstr(said, expected) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", expected, said);
}

static void assert_lives(void (*body)(void *argument), void *argument)
{
    char said[1024];
    int status = run(body, argument, said, sizeof(said));
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_string_equal(said, "");
}

static void assert_that_fails_names_its_place_and_aborts(void **state)
{
    (void)state;
    char expected[64];
    snprintf(expected, sizeof(expected), "assert.c:%d: want_below_ten(): ", THE_LINE);
    assert_dies(want_below_ten, &(int){10}, expected);
    assert_dies(want_below_ten, &(int){10}, "number < 10\n");
    assert_dies(reach, NULL, "reach(): ");
}

static void assert_that_holds_is_silent(void **state)
{
    (void)state;
    assert_lives(want_below_ten, &(int){9});
}

static void *lock_for_ever(void *lock)
{
    pthread_mutex_lock(lock);
    return NULL;
}

static void assert_held_wants_the_lock_in_this_thread(void **state)
{
    (void)state;
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    assert_dies(want_held, &lock, "blx_mutex_is_held");
    pthread_mutex_lock(&lock);
    assert_true(blx_mutex_is_held(&lock));
    blx_assert_held(&lock);
    pthread_mutex_unlock(&lock);
    assert_false(blx_mutex_is_held(&lock));
}

static void assert_held_does_not_take_another_threads_lock_for_its_own(void **state)
{
    (void)state;
#ifndef __GLIBC__
    skip();
#endif
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, lock_for_ever, &lock), 0);
    pthread_join(other, NULL);
    assert_false(blx_mutex_is_held(&lock));
    assert_dies(want_held, &lock, "blx_mutex_is_held");
}

static void assert_that_is_off_costs_nothing(void **state)
{
    (void)state;
    assert_int_equal(assert_off_evaluations(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(assert_that_fails_names_its_place_and_aborts),
        cmocka_unit_test(assert_that_holds_is_silent),
        cmocka_unit_test(assert_held_wants_the_lock_in_this_thread),
        cmocka_unit_test(assert_held_does_not_take_another_threads_lock_for_its_own),
        cmocka_unit_test(assert_that_is_off_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
