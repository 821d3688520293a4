/* SPDX-License-Identifier: Apache-2.0 */
#include "base/command.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

enum { TURN_MS = 1000 };

static bool is_replaced(const struct blx_user_command *command, const char *inherited)
{
    for (size_t i = 0; i < command->variable_count; i++) {
        size_t length = strcspn(command->variables[i], "=") + 1;
        if (strncmp(inherited, command->variables[i], length) == 0)
            return true;
    }
    return false;
}

/* Our environment and the command's variables. Free the array; its texts are borrowed. */
static char **make_environment(const struct blx_user_command *command)
{
    size_t count = 0, kept = 0;
    while (environ[count] != NULL)
        count++;
    char **copy = calloc(count + command->variable_count + 1, sizeof(*copy));
    if (copy == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (!is_replaced(command, environ[i]))
            copy[kept++] = environ[i];
    }
    for (size_t i = 0; i < command->variable_count; i++)
        copy[kept++] = (char *)(uintptr_t)command->variables[i];
    return copy;
}

/* The command gets a group of its own, so that the limit also reaches the processes it has started,
 * and no signal is blocked or ignored. */
static int set_up(posix_spawnattr_t *attributes, posix_spawn_file_actions_t *actions)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int r = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                     POSIX_SPAWN_SETSIGDEF);
    if (r == 0)
        r = posix_spawnattr_setpgroup(attributes, 0);
    if (r == 0)
        r = posix_spawnattr_setsigmask(attributes, &none);
    if (r == 0)
        r = posix_spawnattr_setsigdefault(attributes, &all);
    if (r == 0)
        r = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(actions, STDERR_FILENO, STDOUT_FILENO);
    return r;
}

static int spawn_shell(const char *text, char **environment, pid_t *pid)
{
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    int r = posix_spawnattr_init(&attributes);
    if (r != 0)
        return -r;
    r = posix_spawn_file_actions_init(&actions);
    if (r == 0) {
        char *const arguments[] = {"sh", "-c", (char *)(uintptr_t)text, NULL};
        r = set_up(&attributes, &actions);
        if (r == 0)
            r = posix_spawn(pid, "/bin/sh", &actions, &attributes, arguments, environment);
        posix_spawn_file_actions_destroy(&actions);
    }
    posix_spawnattr_destroy(&attributes);
    return -r;
}

/* Waits for the child to end, without reaping it. -ETIMEDOUT, -ECANCELED. */
static int wait_for_end(pid_t pid, const struct blx_user_command *command)
{
    BLX_CLEANUP_FD int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return -errno;
    uint64_t deadline_ns = blx_deadline_in_ms(command->timeout_ms);
    for (;;) {
        uint64_t left_ms = blx_deadline_left_ms(deadline_ns);
        struct pollfd pollers[] = {{.fd = pidfd, .events = POLLIN},
                                   {.fd = command->stop_fd, .events = POLLIN}};
        if (command->watchdog != NULL)
            blx_watchdog_turn(command->watchdog, 0);
        int n = poll(pollers, 2, left_ms > TURN_MS ? TURN_MS : (int)left_ms);
        if (n > 0)
            return pollers[0].revents != 0 ? 0 : -ECANCELED;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (left_ms == 0)
            return -ETIMEDOUT;
    }
}

static int judge(const struct blx_user_command *command, int status, struct blx_error *err)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFEXITED(status))
        return blx_error_set(err, -ECHILD, "the %s command '%s' ended with status %d",
                             command->name, command->text, WEXITSTATUS(status));
    return blx_error_set(err, -ECHILD, "the %s command '%s' was killed by signal %d (%s)",
                         command->name, command->text, WTERMSIG(status),
                         strsignal(WTERMSIG(status)));
}

static int judge_wait(const struct blx_user_command *command, int waited, int status,
                      struct blx_error *err)
{
    if (waited == -ETIMEDOUT)
        return blx_error_set(err, waited,
                             "the %s command '%s' was killed after its limit of %" PRIu64 " ms",
                             command->name, command->text, command->timeout_ms);
    if (waited == -ECANCELED)
        return blx_error_set(err, waited, "the %s command '%s' was killed, as we are stopping",
                             command->name, command->text);
    if (waited < 0)
        return blx_error_errno(err, waited, "cannot wait for the %s command '%s'", command->name,
                               command->text);
    return judge(command, status, err);
}

int blx_command_run(const struct blx_user_command *command, struct blx_error *err)
{
    BLX_CLEANUP_FREE char **environment = make_environment(command);
    pid_t pid = -1;
    int rc = environment == NULL ? -ENOMEM : spawn_shell(command->text, environment, &pid);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot start the %s command '%s'", command->name,
                               command->text);
    int waited = wait_for_end(pid, command);
    if (waited < 0)
        kill(-pid, SIGKILL);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return blx_error_errno(err, -errno, "cannot wait for the %s command '%s'",
                                   command->name, command->text);
    }
    return judge_wait(command, waited, status, err);
}
