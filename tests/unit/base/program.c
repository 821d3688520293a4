/* SPDX-License-Identifier: Apache-2.0 */
/* Another program: which descriptors it has, how it ends, and that it does not outlive us. */
#include "base/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Runs `sh -c text`, whose descriptor 3 is a pipe. Returns its status, and what it wrote there. */
static int run_shell(const char *text, char *wrote, size_t bytes)
{
    int ends[2];
    pid_t pid = 0;
    struct blx_error err = {0};
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    const char *const words[] = {"sh", "-c", text, NULL};
    const int fds[] = {-1, -1, STDERR_FILENO, ends[1]};
    const struct blx_program program = {.words = words, .fds = fds, .fd_count = 4};
    assert_int_equal(blx_program_start(&program, &pid, &err), 0);
    close(ends[1]);
    size_t used = 0;
    ssize_t got;
    while ((got = read(ends[0], wrote + used, bytes - 1 - used)) > 0)
        used += (size_t)got;
    wrote[used] = '\0';
    close(ends[0]);
    return blx_program_wait(pid);
}

static void a_program_has_its_descriptors_and_no_other(void **state)
{
    (void)state;
    char wrote[256];
    BLX_CLEANUP_FD int inherited = open("/dev/zero", O_RDONLY); /* on purpose without O_CLOEXEC */
    assert_true(inherited >= 0);
    assert_int_equal(run_shell("for n in 0 1 2 3 4 5 6 7 8 9; do"
                               "  if [ -e /proc/$$/fd/$n ]; then printf $n >&3; fi;"
                               "done",
                               wrote, sizeof(wrote)),
                     0);
    assert_string_equal(wrote, "0123");
    assert_int_equal(run_shell("readlink /proc/$$/fd/0 >&3", wrote, sizeof(wrote)), 0);
    assert_string_equal(wrote, "/dev/null\n");
}

static void descriptors_may_be_given_in_any_order(void **state)
{
    (void)state;
    int ends[2];
    pid_t pid = 0;
    char got[8] = "";
    static const char *const words[] = {"sh", "-c", "printf out; printf err >&2", NULL};
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    /* Numbers that are targets, too, and the wrong way round. */
    BLX_CLEANUP_FD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    const int fds[] = {ends[0], null, ends[1], 0, ends[1]};
    const struct blx_program program = {.words = words, .fds = fds, .fd_count = 5};
    assert_int_equal(blx_program_start(&program, &pid, NULL), 0);
    assert_int_equal(blx_program_wait(pid), 0);
    assert_int_equal(read(ends[0], got, sizeof(got) - 1), 3);
    assert_string_equal(got, "err");
    close(ends[0]);
    close(ends[1]);
}

static void the_end_is_told(void **state)
{
    (void)state;
    char wrote[8];
    assert_int_equal(run_shell("exit 7", wrote, sizeof(wrote)), 7);
    assert_int_equal(run_shell("kill -9 $$", wrote, sizeof(wrote)), BLX_PROGRAM_SIGNALLED + 9);
}

static void signals_are_as_at_a_login(void **state)
{
    (void)state;
    char wrote[8];
    signal(SIGTERM, SIG_IGN);
    int status = run_shell("kill $$; sleep 100", wrote, sizeof(wrote));
    signal(SIGTERM, SIG_DFL);
    assert_int_equal(status, BLX_PROGRAM_SIGNALLED + SIGTERM);
}

static void what_is_missing_is_named_with_its_package(void **state)
{
    (void)state;
    static const char *const words[] = {"no-such-program", NULL};
    const int fds[] = {-1, -1, -1};
    struct blx_program program = {
        .words = words, .fds = fds, .fd_count = 3, .package = "the-package"};
    struct blx_error err = {0};
    pid_t pid = 0;
    assert_int_equal(blx_program_start(&program, &pid, &err), -ENOENT);
    assert_string_equal(err.message,
                        "cannot find 'no-such-program' in PATH: install the package the-package");
    assert_int_equal(pid, 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no process is left */
    static const char *const folder[] = {"/", NULL};
    program.words = folder;
    blx_error_clear(&err);
    assert_int_equal(blx_program_start(&program, &pid, &err), -EACCES);
    assert_non_null(strstr(err.message, "cannot start '/'"));
}

static void a_program_does_not_outlive_us(void **state)
{
    (void)state;
    static const char *const words[] = {"sleep", "1000", NULL};
    const int fds[] = {-1, -1, -1};
    const struct blx_program program = {.words = words, .fds = fds, .fd_count = 3};
    int ends[2], status = 0;
    pid_t pid = 0;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* it becomes ours to wait for */
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t starter = fork();
    if (starter == 0) {
        bool fine = blx_program_start(&program, &pid, NULL) == 0 &&
                    write(ends[1], &pid, sizeof(pid)) == sizeof(pid);
        raise(fine ? SIGKILL : SIGABRT);
    }
    assert_int_equal(waitpid(starter, &status, 0), starter);
    assert_int_equal(WTERMSIG(status), SIGKILL);
    assert_int_equal(read(ends[0], &pid, sizeof(pid)), sizeof(pid));
    assert_int_equal(blx_program_wait(pid), BLX_PROGRAM_SIGNALLED + SIGKILL);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_has_its_descriptors_and_no_other),
        cmocka_unit_test(descriptors_may_be_given_in_any_order),
        cmocka_unit_test(the_end_is_told),
        cmocka_unit_test(signals_are_as_at_a_login),
        cmocka_unit_test(what_is_missing_is_named_with_its_package),
        cmocka_unit_test(a_program_does_not_outlive_us),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
