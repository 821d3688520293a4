#include "agent/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/units.h"

extern char **environ;

enum { TURN_MS = 1000 };

/* Our environment and two variables more; the array is to be freed, the texts are borrowed. */
static char **make_environment(char *agent, char *hook)
{
    size_t count = 0;
    while (environ[count] != NULL)
        count++;
    char **copy = calloc(count + 3, sizeof(*copy));
    if (copy == NULL)
        return NULL;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (strncmp(environ[i], "BLXREP_AGENT=", 13) != 0 &&
            strncmp(environ[i], "BLXREP_HOOK=", 12) != 0)
            copy[kept++] = environ[i];
    copy[kept++] = agent;
    copy[kept] = hook;
    return copy;
}

/* In a group of its own, so that the limit reaches what the command has started; with no signal
 * blocked or ignored. */
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

static int spawn_shell(const char *command, char **environment, pid_t *pid)
{
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    int r = posix_spawnattr_init(&attributes);
    if (r != 0)
        return -r;
    r = posix_spawn_file_actions_init(&actions);
    if (r == 0) {
        char *const arguments[] = {"sh", "-c", (char *)(uintptr_t)command, NULL};
        r = set_up(&attributes, &actions);
        if (r == 0)
            r = posix_spawn(pid, "/bin/sh", &actions, &attributes, arguments, environment);
        posix_spawn_file_actions_destroy(&actions);
    }
    posix_spawnattr_destroy(&attributes);
    return -r;
}

/* Waits for the child to end, without reaping it. -ETIMEDOUT. */
static int wait_for_end(pid_t pid, uint64_t timeout_ms, struct blx_watchdog *watchdog)
{
    BLX_CLEANUP_FD int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return -errno;
    uint64_t deadline_ns = blx_clock_ns() + timeout_ms * 1000000;
    for (;;) {
        uint64_t now_ns = blx_clock_ns();
        uint64_t left_ms = now_ns >= deadline_ns ? 0 : (deadline_ns - now_ns + 999999) / 1000000;
        struct pollfd poller = {.fd = pidfd, .events = POLLIN};
        blx_watchdog_turn(watchdog, 0);
        int n = poll(&poller, 1, left_ms > TURN_MS ? TURN_MS : (int)left_ms);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (left_ms == 0)
            return -ETIMEDOUT;
    }
}

static int judge(const char *hook_name, const char *command, int status, struct blx_error *err)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFEXITED(status))
        return blx_error_set(err, -ECHILD, "the %s command '%s' ended with status %d", hook_name,
                             command, WEXITSTATUS(status));
    return blx_error_set(err, -ECHILD, "the %s command '%s' was killed by signal %d (%s)",
                         hook_name, command, WTERMSIG(status), strsignal(WTERMSIG(status)));
}

static int run(const char *hook_name, const char *command, char **environment, uint64_t timeout_ms,
               struct blx_watchdog *watchdog, struct blx_error *err)
{
    pid_t pid = -1;
    int r = spawn_shell(command, environment, &pid);
    if (r < 0)
        return blx_error_errno(err, r, "cannot start the %s command '%s'", hook_name, command);
    int waited = wait_for_end(pid, timeout_ms, watchdog);
    if (waited < 0)
        kill(-pid, SIGKILL);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return blx_error_errno(err, -errno, "cannot wait for the %s command '%s'", hook_name,
                                   command);
    if (waited == -ETIMEDOUT)
        return blx_error_set(err, waited,
                             "the %s command '%s' was killed after its limit of %llu ms", hook_name,
                             command, (unsigned long long)timeout_ms);
    if (waited < 0)
        return blx_error_errno(err, waited, "cannot wait for the %s command '%s'", hook_name,
                               command);
    return judge(hook_name, command, status, err);
}

int blx_hook_run(const char *hook_name, const char *command, const char *agent_id,
                 uint64_t timeout_ms, struct blx_watchdog *watchdog, struct blx_error *err)
{
    if (command == NULL)
        return 0;
    BLX_CLEANUP_FREE char *agent = NULL;
    BLX_CLEANUP_FREE char *hook = NULL;
    if (asprintf(&agent, "BLXREP_AGENT=%s", agent_id) < 0)
        agent = NULL;
    if (asprintf(&hook, "BLXREP_HOOK=%s", hook_name) < 0)
        hook = NULL;
    BLX_CLEANUP_FREE char **environment =
        agent != NULL && hook != NULL ? make_environment(agent, hook) : NULL;
    if (environment == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot start the %s command '%s'", hook_name,
                               command);
    return run(hook_name, command, environment, timeout_ms, watchdog, err);
}
