/* SPDX-License-Identifier: Apache-2.0 */
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <mntent.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"

enum { ALIGN = 4096, CHUNK = 1 << 20 };

static bool is_test_disk(const char *path)
{
    return strncmp(path, "/dev/loop", 9) == 0 || strncmp(path, "/dev/zram", 9) == 0;
}

/* The new namespace has the mounts of tests that run beside this one, and would keep them: whoever
 * unmounts there wants the disk back. */
static void let_go_of_others(void)
{
    char *paths[64];
    size_t count = 0;
    FILE *mounts = setmntent("/proc/self/mounts", "r");
    struct mntent *entry;
    while (mounts != NULL && count < sizeof(paths) / sizeof(paths[0]) &&
           (entry = getmntent(mounts)) != NULL)
        if (is_test_disk(entry->mnt_fsname))
            paths[count++] = strdup(entry->mnt_dir);
    if (mounts != NULL)
        endmntent(mounts);
    while (count-- > 0) {
        umount2(paths[count], MNT_DETACH);
        free(paths[count]);
    }
}

void disk_world_enter(void)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        perror("these tests need root and a mount namespace");
        exit(1);
    }
    let_go_of_others();
    if (mount("tmpfs", "/mnt", "tmpfs", 0, "mode=0700") < 0) {
        perror("/mnt");
        exit(1);
    }
}

static void open_disk(struct disk *disk)
{
    snprintf(disk->path, sizeof(disk->path), "/dev/%s", disk->name);
    disk->fd = open(disk->path, O_RDWR | O_DIRECT | O_CLOEXEC);
    if (disk->fd < 0)
        fail_msg("%s: %s", disk->path, strerror(errno));
}

/* Attaches a new piece of memory. False if somebody else took the number. */
static bool attach(struct disk *disk, int number)
{
    snprintf(disk->name, sizeof(disk->name), "loop%d", number);
    open_disk(disk);
    int memory = memfd_create("disk", MFD_CLOEXEC);
    assert_true(memory >= 0);
    assert_int_equal(ftruncate(memory, (off_t)disk->bytes), 0);
    struct loop_config config = {.fd = (uint32_t)memory,
                                 .info = {.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_PARTSCAN}};
    bool done = ioctl(disk->fd, LOOP_CONFIGURE, &config) == 0;
    close(memory);
    if (!done)
        close(disk->fd);
    return done;
}

void disk_loop(struct disk *disk, uint64_t bytes, int number)
{
    *disk = (struct disk){.bytes = bytes, .zram = -1};
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    assert_true(control >= 0);
    if (number >= 0 && ioctl(control, LOOP_CTL_ADD, number) < 0)
        assert_int_equal(errno, EEXIST);
    for (int tries = 0; tries < 100; tries++) {
        int n = number >= 0 ? number : ioctl(control, LOOP_CTL_GET_FREE);
        assert_true(n >= 0);
        if (attach(disk, n)) {
            close(control);
            return;
        }
    }
    fail_msg("no free loop device");
}

void disk_loop_swap(struct disk *disk, uint64_t bytes)
{
    int number = 0;
    assert_int_equal(sscanf(disk->name, "loop%d", &number), 1);
    assert_int_equal(ioctl(disk->fd, LOOP_CLR_FD), 0);
    close(disk->fd);
    disk->bytes = bytes;
    for (int tries = 0; !attach(disk, number); tries++) {
        assert_true(tries < 200);
        poll(NULL, 0, 10); /* the kernel clears in its own time and tells nobody */
    }
}

/* A helper of the agent's may have the device open for a moment after a read. */
static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t written = -1;
    for (int tries = 0; fd >= 0 && written < 0 && tries < 500; tries++) {
        written = write(fd, text, strlen(text));
        if (written < 0 && errno != EBUSY)
            break;
        if (written < 0)
            poll(NULL, 0, 10);
    }
    if (written != (ssize_t)strlen(text))
        fail_msg("%s: %s", path, strerror(errno));
    close(fd);
}

void disk_zram(struct disk *disk, uint64_t bytes)
{
    *disk = (struct disk){.bytes = bytes};
    char text[64] = "", path[96];
    int fd = open("/sys/class/zram-control/hot_add", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(read(fd, text, sizeof(text) - 1) > 0);
    close(fd);
    disk->zram = atoi(text);
    snprintf(disk->name, sizeof(disk->name), "zram%d", disk->zram);
    snprintf(path, sizeof(path), "/sys/block/%s/disksize", disk->name);
    snprintf(text, sizeof(text), "%llu", (unsigned long long)bytes);
    put(path, text);
    open_disk(disk);
}

void disk_done(struct disk *disk)
{
    close(disk->fd);
    int number = 0;
    if (disk->zram < 0 && sscanf(disk->name, "loop%d", &number) == 1 && number > 255) {
        int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
        ioctl(control, LOOP_CTL_REMOVE, number);
        close(control);
    }
    if (disk->zram < 0)
        return;
    char text[32], path[64];
    snprintf(path, sizeof(path), "/sys/block/%s/reset", disk->name);
    put(path, "1");
    snprintf(text, sizeof(text), "%d", disk->zram);
    put("/sys/class/zram-control/hot_remove", text);
}

void disk_shell(const char *format, ...)
{
    char command[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    int status = system(command);
    if (status != 0)
        fail_msg("'%s' ended with %d", command, status);
}

void disk_unpartition(const struct disk *disk)
{
    disk_shell("for i in $(seq 50); do partx -d %s 2>/dev/null && exit 0; sleep 0.1; done; "
               "partx -d %s",
               disk->path, disk->path);
}

void disk_write(const struct disk *disk, uint64_t offset, uint64_t bytes)
{
    static uint8_t pattern;
    void *buffer = NULL;
    assert_int_equal(posix_memalign(&buffer, ALIGN, CHUNK), 0);
    memset(buffer, ++pattern, bytes < CHUNK ? bytes : CHUNK);
    while (bytes > 0) {
        uint64_t now = bytes < CHUNK ? bytes : CHUNK;
        assert_int_equal(blx_pwrite_full(disk->fd, buffer, now, offset), 0);
        offset += now;
        bytes -= now;
    }
    free(buffer);
}

uint8_t *disk_read(const struct disk *disk)
{
    void *buffer = NULL;
    assert_int_equal(posix_memalign(&buffer, ALIGN, disk->bytes), 0);
    assert_int_equal(blx_pread_full(disk->fd, buffer, disk->bytes, 0), 0);
    return buffer;
}

int disk_wait(int pid, unsigned seconds)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd poller = {.fd = pidfd, .events = POLLIN};
    int n = poll(&poller, 1, (int)seconds * 1000);
    close(pidfd);
    if (n != 1)
        fail_msg("process %d did not end in %u s", pid, seconds);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}
