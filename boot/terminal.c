/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

enum { ESCAPE = 0x1d /* Ctrl-] */ };

/* Waits until the other process ends or says so, deaf to all signals that one can be deaf to; a
 * process in the background may change a terminal if it ignores the signal that tells it not to. */
static _Noreturn void keep(int fd, const struct termios *modes)
{
    char byte;
    ssize_t got;
    sigset_t all;
    prctl(PR_SET_NAME, "blxrep-terminal");
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    signal(SIGTTOU, SIG_IGN);
    dup2(fd, STDERR_FILENO + 1);
    blx_close_from(STDERR_FILENO + 2);
    close(STDOUT_FILENO);
    close(STDERR_FILENO);
    do
        got = read(STDERR_FILENO + 1, &byte, 1);
    while (got > 0 || (got < 0 && errno == EINTR));
    while (tcsetattr(STDIN_FILENO, TCSANOW, modes) != 0 && errno == EINTR)
        ;
    _exit(0);
}

static int start_keeper(struct boot_terminal *terminal)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[1]);
        keep(ends[0], &terminal->modes);
    }
    close(ends[0]);
    if (pid < 0) {
        close(ends[1]);
        return -errno;
    }
    terminal->keeper = pid;
    terminal->keeper_fd = ends[1];
    return 0;
}

int boot_terminal_enter(struct boot_terminal *terminal, struct blx_error *err)
{
    *terminal = (struct boot_terminal){.is_terminal = isatty(STDIN_FILENO) == 1};
    if (!terminal->is_terminal)
        return 0;
    if (tcgetattr(STDIN_FILENO, &terminal->modes) != 0)
        return blx_error_errno(err, -errno, "cannot use the terminal");
    int rc = start_keeper(terminal);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot use the terminal");
    struct termios raw = terminal->modes;
    cfmakeraw(&raw);
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) != 0)
        return blx_error_errno(err, -errno, "cannot use the terminal");
    return 0;
}

void boot_terminal_leave(struct boot_terminal *terminal)
{
    if (terminal->keeper == 0)
        return;
    close(terminal->keeper_fd);
    while (waitpid(terminal->keeper, NULL, 0) < 0 && errno == EINTR)
        ;
    tcsetattr(STDIN_FILENO, TCSANOW, &terminal->modes); /* in case that it was killed */
    *terminal = (struct boot_terminal){0};
}

enum boot_key boot_terminal_sort(struct boot_terminal *terminal, char *bytes, size_t *count)
{
    enum boot_key key = BOOT_KEY_NONE;
    size_t kept = 0;
    for (size_t i = 0; terminal->is_terminal && i < *count; i++) {
        bool for_us = terminal->escaped && bytes[i] != ESCAPE;
        if (for_us && key == BOOT_KEY_NONE)
            key = bytes[i] == 'q'   ? BOOT_KEY_QUIT
                  : bytes[i] == 'p' ? BOOT_KEY_POWER
                                    : BOOT_KEY_HELP;
        bool begins = !terminal->escaped && bytes[i] == ESCAPE;
        terminal->escaped = begins;
        if (!for_us && !begins)
            bytes[kept++] = bytes[i];
    }
    if (terminal->is_terminal)
        *count = kept;
    return key;
}
