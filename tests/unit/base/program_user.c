/* SPDX-License-Identifier: Apache-2.0 */
/* Another program as another user, with another environment: it does not outlive us either. */
#include "base/program.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/owner.h"

enum { STRANGER = 12345, SAID_BYTES = 512 };

/* What `sh -c TEXT` says, started as `program` wants it. */
static void run_shell(struct blx_program program, const char *text, char said[SAID_BYTES])
{
    int ends[2];
    pid_t pid;
    assert_int_equal(pipe(ends), 0);
    const int fds[] = {-1, ends[1], STDERR_FILENO, ends[1]};
    const char *const words[] = {"sh", "-c", text, NULL};
    program.words = words;
    program.fds = fds;
    program.fd_count = 4;
    assert_int_equal(blx_program_start(&program, &pid, NULL), 0);
    close(ends[1]);
    ssize_t got = 0, more;
    while ((more = read(ends[0], said + got, (size_t)(SAID_BYTES - 1 - got))) > 0)
        got += more;
    said[got] = '\0';
    close(ends[0]);
    assert_int_equal(blx_program_wait(pid), 0);
}

static void it_gets_the_environment_that_is_given(void **state)
{
    (void)state;
    char said[SAID_BYTES];
    static const char *const environment[] = {"WHO=me", NULL};
    setenv("SECRET", "x", 1);
    run_shell((struct blx_program){.environment = environment}, "echo $WHO$SECRET", said);
    assert_string_equal(said, "me\n");
    run_shell((struct blx_program){0}, "echo $WHO$SECRET", said);
    assert_string_equal(said, "x\n");
}

static void it_is_told_the_socket_that_it_listens_at(void **state)
{
    (void)state;
    char said[SAID_BYTES];
    run_shell((struct blx_program){.listens = BLX_PROGRAM_LISTENS},
              "[ $LISTEN_PID = $$ ] && echo $LISTEN_FDS", said);
    assert_string_equal(said, "1\n");
}

static void it_becomes_another_user_for_good(void **state)
{
    (void)state;
    char said[SAID_BYTES];
    static const struct blx_program_user user = {STRANGER, STRANGER + 1, STRANGER + 2};
    run_shell((struct blx_program){.user = &user},
              "id -u; id -g; id -G; grep -E 'NoNewPrivs|CapEff' /proc/self/status", said);
    assert_string_equal(said,
                        "12345\n12346\n12346 12347\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n");
}

/* Starts a program that would sleep for long, and tells its ID. */
static _Noreturn void start_and_die(int fd, const struct blx_program_user *user)
{
    static const char *const words[] = {"sleep", "1000", NULL};
    const int fds[] = {-1, -1, -1, fd};
    const struct blx_program program = {.words = words, .fds = fds, .fd_count = 4, .user = user};
    pid_t pid;
    if (blx_program_start(&program, &pid, NULL) == 0)
        kill(getpid(), SIGKILL);
    _exit(1);
}

/* The pipe's end comes with the program's. */
static void check_it_ends(const struct blx_program_user *user)
{
    int ends[2];
    char byte;
    assert_int_equal(pipe(ends), 0);
    pid_t starter = fork();
    if (starter == 0)
        start_and_die(ends[1], user);
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 0);
    close(ends[0]);
    assert_int_equal(blx_program_wait(starter), BLX_PROGRAM_SIGNALLED + SIGKILL);
}

static void it_ends_with_who_started_it(void **state)
{
    (void)state;
    static const struct blx_program_user user = {STRANGER, STRANGER, STRANGER};
    check_it_ends(NULL);
    check_it_ends(&user);
}

/* Becomes the owner of a folder, and waits for its parent's end. */
static _Noreturn void visit_and_wait(const char *folder, int ready_fd, pid_t parent)
{
    enum blx_owner owner = BLX_OWNER_KEPT;
    bool became = blx_owner_visit(folder, &owner, NULL) == 0 && owner == BLX_OWNER_BECAME;
    if (became && getppid() == parent && write(ready_fd, "r", 1) == 1)
        pause();
    _exit(1);
}

static _Noreturn void start_visitor(const char *folder, int ready_fd, const int ends[2])
{
    pid_t parent = getpid();
    char byte;
    pid_t visitor = fork();
    if (visitor == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        visit_and_wait(folder, ready_fd, parent);
    }
    close(ready_fd);
    if (read(ends[0], &byte, 1) == 1)
        kill(getpid(), SIGKILL);
    _exit(1);
}

/* A program that works as a store's owner: nbdkit's plugin does. */
static void it_ends_also_if_it_has_become_a_stores_owner(void **state)
{
    (void)state;
    char folder[] = "/tmp/blx-program-XXXXXX", byte;
    int ready[2], alive[2];
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chown(folder, STRANGER, STRANGER), 0);
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(alive), 0);
    pid_t starter = fork();
    if (starter == 0)
        start_visitor(folder, ready[1], ready);
    close(alive[1]);
    assert_int_equal(blx_program_wait(starter), BLX_PROGRAM_SIGNALLED + SIGKILL);
    assert_int_equal(read(alive[0], &byte, 1), 0); /* nobody holds its other end any more */
    close(alive[0]);
    close(ready[0]);
    close(ready[1]);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_gets_the_environment_that_is_given),
        cmocka_unit_test(it_is_told_the_socket_that_it_listens_at),
        cmocka_unit_test(it_becomes_another_user_for_good),
        cmocka_unit_test(it_ends_with_who_started_it),
        cmocka_unit_test(it_ends_also_if_it_has_become_a_stores_owner),
    };
    alarm(60); /* in case that somebody outlives */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
