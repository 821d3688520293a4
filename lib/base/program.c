/* SPDX-License-Identifier: Apache-2.0 */
#include "base/program.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/io.h"

enum { LAST_SIGNAL = 64 };

/* Each descriptor first moves out of the way of the numbers that they are to have. 0 or -errno. */
static int place_descriptors(const struct blx_program *program, int told_fd)
{
    int moved[BLX_PROGRAM_MAX_FDS];
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int first_free = (int)program->fd_count + 1;
    if (null < 0)
        return -errno;
    told_fd = fcntl(told_fd, F_DUPFD_CLOEXEC, first_free);
    for (size_t i = 0; told_fd >= 0 && i < program->fd_count; i++) {
        int fd = program->fds[i] >= 0 ? program->fds[i] : null;
        moved[i] = fcntl(fd, F_DUPFD_CLOEXEC, first_free);
        if (moved[i] < 0)
            return -errno;
    }
    for (size_t i = 0; told_fd >= 0 && i < program->fd_count; i++)
        if (dup2(moved[i], (int)i) < 0)
            return -errno;
    /* The last one tells why it is not the program after all. */
    if (told_fd < 0 || dup3(told_fd, (int)program->fd_count, O_CLOEXEC) < 0)
        return -errno;
    blx_close_from(first_free);
    return 0;
}

static void reset_signals(void)
{
    sigset_t none;
    for (int number = 1; number <= LAST_SIGNAL; number++)
        signal(number, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* For good, and the program gets no more rights by any other one that it runs. */
static int change_user(const struct blx_program_user *user)
{
    if (setgroups(1, &user->group) != 0 || setresgid(user->gid, user->gid, user->gid) != 0 ||
        setresuid(user->uid, user->uid, user->uid) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -errno;
    return 0;
}

/* The words of sd_listen_fds(3). */
static int announce_socket(void)
{
    char pid[16];
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    return setenv("LISTEN_PID", pid, 1) == 0 && setenv("LISTEN_FDS", "1", 1) == 0 ? 0 : -errno;
}

static int prepare(const struct blx_program *program, int told_fd)
{
    int rc = place_descriptors(program, told_fd);
    if (rc == 0 && program->listens == BLX_PROGRAM_LISTENS)
        rc = announce_socket();
    return rc;
}

/* The child: becomes the program, or tells the parent why not. */
static _Noreturn void become(const struct blx_program *program, int told_fd, pid_t parent)
{
    reset_signals();
    int rc = program->user != NULL ? change_user(program->user) : 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of user takes it back */
    if (getppid() != parent)
        _exit(1); /* it has died already */
    if (rc == 0)
        rc = prepare(program, told_fd);
    if (rc == 0) {
        told_fd = (int)program->fd_count;
        rc = program->confine != NULL ? program->confine(program->confine_arg) : 0;
    }
    if (rc == 0) {
        if (program->environment != NULL)
            execvpe(program->words[0], (char *const *)(uintptr_t)program->words,
                    (char *const *)(uintptr_t)program->environment);
        else
            execvp(program->words[0], (char *const *)(uintptr_t)program->words);
        rc = -errno;
    }
    ssize_t told = write(told_fd, &rc, sizeof(rc));
    _exit(told == sizeof(rc) ? 1 : 2);
}

/* What the child says until it is the program, which says nothing here. */
static int hear(int fd)
{
    int rc;
    ssize_t got;
    do
        got = read(fd, &rc, sizeof(rc));
    while (got < 0 && errno == EINTR);
    return got == 0 ? 0 : got == sizeof(rc) ? rc : -EIO;
}

static int cannot_start(const struct blx_program *program, int rc, struct blx_error *err)
{
    if (rc == -ENOENT && program->package != NULL)
        return blx_error_set(err, rc, "cannot find '%s' in PATH: install the package %s",
                             program->words[0], program->package);
    return blx_error_errno(err, rc, "cannot start '%s'", program->words[0]);
}

int blx_program_start(const struct blx_program *program, pid_t *pid, struct blx_error *err)
{
    int ends[2];
    blx_assert(program->fd_count >= 3 && program->fd_count <= BLX_PROGRAM_MAX_FDS);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return cannot_start(program, -errno, err);
    BLX_CLEANUP_FD int heard = ends[0];
    const pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0)
        become(program, ends[1], parent);
    int rc = child < 0 ? -errno : 0;
    close(ends[1]);
    if (rc == 0)
        rc = hear(heard);
    if (rc < 0 && child > 0)
        blx_program_wait(child);
    if (rc < 0)
        return cannot_start(program, rc, err);
    *pid = child;
    return 0;
}

int blx_program_wait(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return BLX_PROGRAM_SIGNALLED;
    return WIFEXITED(status) ? WEXITSTATUS(status) : BLX_PROGRAM_SIGNALLED + WTERMSIG(status);
}

void blx_program_kill(pid_t pid)
{
    kill(pid, SIGKILL);
    blx_program_wait(pid);
}
