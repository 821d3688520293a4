/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/track/pins_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/io.h"

static const char bpffs[] = "/sys/fs/bpf";
static const char root[] = "/sys/fs/bpf/blxrep";

static int mount_bpffs(struct blx_error *err)
{
    struct statfs fs;
    if (statfs(bpffs, &fs) == 0 && fs.f_type == BPF_FS_MAGIC)
        return 0;
    if (mount("bpf", bpffs, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") == 0)
        return 0;
    int r = -errno;
    if (r == -EPERM)
        return blx_error_set(
            err, r,
            "the BPF filesystem is not mounted on '%s', and mounting it is not permitted; run "
            "the agent as root (CAP_SYS_ADMIN), or mount it: mount -t bpf bpf %s",
            bpffs, bpffs);
    return blx_error_errno(err, r, "cannot mount the BPF filesystem on '%s'", bpffs);
}

static int make_directory(const char *path, struct blx_error *err)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return 0;
    int r = -errno;
    if (r == -EROFS)
        return blx_error_set(
            err, r,
            "cannot make '%s': the BPF filesystem is read-only; remount it: "
            "mount -o remount,rw %s (in a container: share the host's /sys/fs/bpf)",
            path, bpffs);
    if (r == -EPERM || r == -EACCES)
        return blx_error_set(err, r, "cannot make '%s': %s; run the agent as root", path,
                             strerror(-r));
    return blx_error_errno(err, r, "cannot make '%s'", path);
}

/* The process that has the flock on the file, from /proc/locks; 0 if unknown (another pid
 * namespace). */
static int lock_holder(int fd)
{
    struct stat st;
    BLX_CLEANUP_FILE FILE *locks = fopen("/proc/locks", "re");
    if (locks == NULL || fstat(fd, &st) < 0)
        return 0;
    char line[256];
    while (fgets(line, sizeof(line), locks) != NULL) {
        int pid = 0;
        unsigned lock_major = 0, lock_minor = 0;
        uint64_t inode = 0;
        if (sscanf(line, "%*d: FLOCK %*s %*s %d %x:%x:%" SCNu64, &pid, &lock_major, &lock_minor,
                   &inode) == 4 &&
            inode == st.st_ino && lock_major == major(st.st_dev) && lock_minor == minor(st.st_dev))
            return pid;
    }
    return 0;
}

static int refuse_second(int fd, const char *kernel_name, struct blx_error *err)
{
    int pid = lock_holder(fd);
    if (pid > 0)
        return blx_error_set(
            err, -EBUSY,
            "device '%s' is tracked by another agent already (process %d); stop that one "
            "first, one agent can have several devices",
            kernel_name, pid);
    return blx_error_set(
        err, -EBUSY,
        "device '%s' is tracked by another agent already; stop that one first, one "
        "agent can have several devices",
        kernel_name);
}

/* Whether the path still leads to the locked directory, which a process that had the lock before
 * may have removed. */
static bool is_still_there(int fd, const char *path)
{
    struct stat opened, named;
    return fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_ino == named.st_ino &&
           opened.st_dev == named.st_dev;
}

static int lock_directory(const char *kernel_name, struct agent_pins *pins, struct blx_error *err)
{
    for (;;) {
        int r = make_directory(root, err);
        if (r == 0)
            r = make_directory(pins->path, err);
        if (r < 0)
            return r;
        BLX_CLEANUP_FD int fd = blx_open(pins->path, O_RDONLY | O_DIRECTORY, 0, NULL);
        if (fd == -ENOENT)
            continue;
        if (fd < 0)
            return blx_error_errno(err, fd, "cannot open '%s'", pins->path);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            if (errno == EWOULDBLOCK)
                return refuse_second(fd, kernel_name, err);
            return blx_error_errno(err, -errno, "cannot lock '%s'", pins->path);
        }
        if (!is_still_there(fd, pins->path))
            continue;
        pins->dir_fd = blx_take_fd(&fd);
        return 0;
    }
}

int agent_pins_open(const char *kernel_name, struct agent_pins *pins, struct blx_error *err)
{
    pins->dir_fd = -1;
    char name[64];
    int r = blx_path_format(name, sizeof(name), err, "%s", kernel_name);
    if (r == 0)
        r = mount_bpffs(err);
    if (r < 0)
        return r;
    for (char *dot = name; (dot = strchr(dot, '.')) != NULL;)
        *dot = '-';
    r = blx_path_format(pins->path, sizeof(pins->path), err, "%s/%s", root, name);
    if (r < 0)
        return r;
    return lock_directory(kernel_name, pins, err);
}

void agent_pins_close(struct agent_pins *pins)
{
    if (pins->dir_fd >= 0)
        close(pins->dir_fd);
    pins->dir_fd = -1;
}

int agent_pins_clear(const struct agent_pins *pins, struct blx_error *err)
{
    /* A descriptor of its own: the position of a directory belongs to the open file. */
    BLX_CLEANUP_DIR DIR *dir = opendir(pins->path);
    if (dir == NULL)
        return blx_error_errno(err, -errno, "cannot read '%s'", pins->path);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        if (unlinkat(pins->dir_fd, entry->d_name, 0) < 0 && errno != ENOENT)
            return blx_error_errno(err, -errno, "cannot remove '%s/%s'", pins->path, entry->d_name);
        rewinddir(dir); /* bpffs lists by position: after a removal the next entry may be skipped */
    }
    return 0;
}

void agent_pins_remove(struct agent_pins *pins)
{
    if (pins->dir_fd < 0)
        return;
    agent_pins_clear(pins, NULL);
    rmdir(pins->path);
    rmdir(root); /* only the last device's succeeds */
    agent_pins_close(pins);
}

int agent_pins_format_path(const struct agent_pins *pins, const char *name, char path[PATH_MAX],
                           struct blx_error *err)
{
    return blx_path_format(path, PATH_MAX, err, "%s/%s", pins->path, name);
}
