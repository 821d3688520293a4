/* SPDX-License-Identifier: Apache-2.0 */
/* A user's command, and the notices to the service manager: no process and no descriptor stays if
 * they fail. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/command.h"
#include "base/notify.h"
#include "base/program.h"
#include "folder.h"
#include "loop.h"

struct running {
    char dir[FOLDER_BYTES], file[96], text[128];
    int manager; /* the service manager's socket */
    int (*notify)(const char *state);
};

static void setup(void *arg)
{
    struct running *running = arg;
    folder_make(running->dir);
    snprintf(running->file, sizeof(running->file), "%s/file", running->dir);
    snprintf(running->text, sizeof(running->text), "printf %%s \"$WHAT\" > '%s'", running->file);
}

static void teardown(void *arg)
{
    folder_remove(((struct running *)arg)->dir);
}

static int run_command(void *arg, struct blx_error *err)
{
    const struct running *running = arg;
    static const char *const variables[] = {"WHAT=done"};
    const struct blx_user_command command = {.name = "test",
                                             .text = running->text,
                                             .variables = variables,
                                             .variable_count = 1,
                                             .timeout_ms = 60 * 1000,
                                             .stop_fd = -1};
    return blx_command_run(&command, err);
}

/* It has run to its end if the call says so, and has ended in any case. */
static void check_command(void *arg, int rc)
{
    const struct running *running = arg;
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    if (rc == 0)
        folder_file_is(running->file, "done");
}

static void a_command_has_ended_whatever_failed(void **state)
{
    (void)state;
    struct running running;
    fault_loop(&(struct fault_case){setup, run_command, check_command, teardown, 0}, &running);
}

static int run_program(void *arg, struct blx_error *err)
{
    static const char *const words[] = {"sh", "-c", "printf %s done >&3", NULL};
    const struct running *running = arg;
    BLX_CLEANUP_FD int fd = open(running->file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const int fds[] = {-1, -1, -1, fd};
    const struct blx_program program = {.words = words, .fds = fds, .fd_count = 4};
    pid_t pid = 0;
    int rc = blx_program_start(&program, &pid, err);
    assert_int_equal(pid != 0, rc == 0);
    if (rc == 0)
        assert_int_equal(blx_program_wait(pid), 0);
    return rc;
}

static void a_program_runs_or_there_is_none(void **state)
{
    (void)state;
    struct running running;
    fault_loop(&(struct fault_case){setup, run_program, check_command, teardown, 0}, &running);
}

static void setup_manager(void *arg)
{
    struct running *running = arg;
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    setup(arg);
    running->manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(running->manager >= 0);
    memcpy(name.sun_path, running->file, strlen(running->file) + 1);
    assert_int_equal(bind(running->manager, (struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", running->file, 1), 0);
}

static int run_notify(void *arg, struct blx_error *err)
{
    (void)err;
    return ((struct running *)arg)->notify("READY=1");
}

static void check_notify(void *arg, int rc)
{
    const struct running *running = arg;
    char got[32] = "";
    ssize_t bytes = recv(running->manager, got, sizeof(got) - 1, 0);
    assert_int_equal(bytes, rc == 0 ? (ssize_t)strlen("READY=1") : -1);
    assert_string_equal(got, rc == 0 ? "READY=1" : "");
}

static void teardown_manager(void *arg)
{
    close(((struct running *)arg)->manager);
    unsetenv("NOTIFY_SOCKET");
    teardown(arg);
}

static void the_service_manager_is_told_or_an_error(void **state)
{
    (void)state;
    int (*const both[])(const char *) = {blx_notify, blx_notify_at_once};
    struct running running;
    for (size_t i = 0; i < 2; i++) {
        running.notify = both[i];
        fault_loop(
            &(struct fault_case){setup_manager, run_notify, check_notify, teardown_manager, 1},
            &running);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_has_ended_whatever_failed),
        cmocka_unit_test(a_program_runs_or_there_is_none),
        cmocka_unit_test(the_service_manager_is_told_or_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
