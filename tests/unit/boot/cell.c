/* SPDX-License-Identifier: Apache-2.0 */
/* What a process that was to be QEMU can still do to the store of the user that it is. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "boot/cell.h"

static char store[] = "/tmp/blxrep-cell-XXXXXX";
static char copy[64];
static pid_t parent;
static int lent_fd = -1; /* of a file that is opened again */

static bool fails(long rc, int with)
{
    return rc < 0 && errno == with;
}

static bool opens(const char *path, int flags)
{
    int fd = open(path, flags);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* Each returns whether all is as it should be. */
static bool cannot_come_to_the_store(void)
{
    char other[128];
    snprintf(other, sizeof(other), "%s/other", store);
    return !opens(copy, O_RDONLY) && errno == EACCES && !opens(copy, O_WRONLY) &&
           !opens(store, O_RDONLY | O_DIRECTORY) && fails(unlink(copy), EACCES) &&
           fails(rename(copy, other), EACCES) && fails(link(copy, other), EACCES) &&
           fails(mkdir(other, 0700), EACCES) && fails(truncate(copy, 0), EPERM) &&
           fails(chmod(copy, 0), EPERM) &&
           fails(syscall(SYS_utimensat, AT_FDCWD, copy, NULL, 0), EPERM);
}

static bool cannot_come_to_others(void)
{
    char byte = 0;
    char path[64];
    const struct iovec ours = {&byte, 1}, theirs = {&byte, 1};
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)parent);
    return fails(kill(parent, 0), EPERM) && fails(syscall(SYS_tgkill, parent, parent, 0), EPERM) &&
           fails(process_vm_readv(parent, &ours, 1, &theirs, 1, 0), EPERM) &&
           fails(syscall(SYS_pidfd_open, parent, 0), EPERM) && !opens(path, O_RDONLY);
}

static bool cannot_connect(void)
{
    int pair[2];
    return fails(socket(AF_UNIX, SOCK_STREAM, 0), EPERM) &&
           fails(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), EPERM) &&
           fails(syscall(SYS_io_uring_setup, 1, NULL), EPERM);
}

static bool can_do_its_work(void)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", lent_fd);
    return opens("/etc/passwd", O_RDONLY) && opens("/dev/null", O_RDWR) && opens(path, O_RDONLY) &&
           !opens(path, O_RDWR) && opens("/usr", O_RDONLY | O_DIRECTORY) &&
           syscall(SYS_tgkill, getpid(), gettid(), 0) == 0 &&
           mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
               MAP_FAILED;
}

static bool can_connect(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return fd >= 0 && cannot_come_to_the_store();
}

static void expect_within(enum boot_cell_sockets sockets, bool (*holds)(void))
{
    const struct boot_cell cell = {.sockets = sockets, .files = {lent_fd, -1}};
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(boot_cell_enter(&cell) != 0 ? 2 : holds() ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void it_is_locked_up(void **state)
{
    (void)state;
    expect_within(BOOT_CELL_NO_SOCKETS, cannot_come_to_the_store);
    expect_within(BOOT_CELL_NO_SOCKETS, cannot_come_to_others);
    expect_within(BOOT_CELL_NO_SOCKETS, cannot_connect);
    expect_within(BOOT_CELL_NO_SOCKETS, can_do_its_work);
    expect_within(BOOT_CELL_SOCKETS, can_connect);
    assert_int_equal(access(copy, R_OK), 0);
}

static int setup(void **state)
{
    (void)state;
    parent = getpid();
    assert_non_null(mkdtemp(store));
    snprintf(copy, sizeof(copy), "%s/copy", store);
    char lent[64];
    snprintf(lent, sizeof(lent), "%s/lent", store);
    lent_fd = open(lent, O_RDWR | O_CREAT, 0600);
    int fd = open(copy, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(close(fd), 0);
    return lent_fd < 0;
}

static int teardown(void **state)
{
    (void)state;
    char lent[64];
    snprintf(lent, sizeof(lent), "%s/lent", store);
    close(lent_fd);
    return unlink(lent) != 0 || unlink(copy) != 0 || rmdir(store) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(it_is_locked_up)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
