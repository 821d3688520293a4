/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "store/mounts.h"

/* Root may do it itself; others have fusermount3 do it. */
static void unmount(const char *mountpoint)
{
    char program[] = "fusermount3", flags[] = "-uzq", end[] = "--";
    char *path = strdup(mountpoint);
    char *words[] = {program, flags, end, path, NULL};
    if (geteuid() == 0)
        umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW);
    else if (path != NULL)
        execvp(program, words);
    free(path);
}

/* Nothing of the mount's process may stay open here. */
static void keep_only(int fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(fd, STDERR_FILENO + 1);
    for (int standard = STDIN_FILENO; null >= 0 && standard <= STDERR_FILENO; standard++)
        dup2(null, standard);
    blx_close_from(STDERR_FILENO + 2);
}

static void await_end(void)
{
    char byte;
    ssize_t got;
    do
        got = read(STDERR_FILENO + 1, &byte, 1);
    while (got > 0 || (got < 0 && errno == EINTR));
}

static _Noreturn void guard_mount(int fd, const char *mountpoint, const char *source)
{
    static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE};
    setsid();
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        signal(ignored[i], SIG_IGN);
    keep_only(fd);
    await_end();
    if (blx_mounts_find(mountpoint, source, NULL))
        unmount(mountpoint);
    _exit(0);
}

int mount_guard_start(struct mount_guard *guard, const char *mountpoint, const char *source,
                      struct blx_error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return blx_error_errno(err, -errno, "cannot guard the mount");
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[1]);
        guard_mount(ends[0], mountpoint, source);
    }
    close(ends[0]);
    if (pid < 0) {
        close(ends[1]);
        return blx_error_errno(err, -errno, "cannot guard the mount");
    }
    *guard = (struct mount_guard){.pid = pid, .fd = ends[1]};
    return 0;
}

void mount_guard_finish(struct mount_guard *guard)
{
    if (guard->pid == 0)
        return;
    close(guard->fd);
    while (waitpid(guard->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    *guard = (struct mount_guard){0};
}
