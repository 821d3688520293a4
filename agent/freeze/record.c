/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/freeze/record_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/freeze/freeze.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"

enum { LOCK_TRIES = 200, LOCK_PAUSE_MS = 10, RECORDS_MAX = 16 };

static const char name_prefix[] = "frozen-";

static int open_and_lock(const char *path)
{
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDWR | O_CREAT, 0600, NULL);
    int rc = fd < 0 ? fd : flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
    return rc < 0 ? rc : blx_take_fd(&fd);
}

/* A second freezer of the same process takes the file over if its guard was killed. A guard that
 * waits for a filesystem that hangs keeps its own. */
void agent_freeze_record_open(const char *run_dir, struct agent_freeze_record *record)
{
    int length = snprintf(record->path, sizeof(record->path), "%s/%s%d", run_dir, name_prefix,
                          (int)getpid());
    int rc = open_and_lock(record->path);
    for (int number = 1; rc == -EAGAIN && number < RECORDS_MAX; number++) {
        snprintf(record->path + length, sizeof(record->path) - (size_t)length, "-%d", number);
        rc = open_and_lock(record->path);
    }
    record->fd = rc < 0 ? -1 : rc;
    if (rc < 0)
        blx_log_warning("cannot keep '%s' (%s): filesystems stay frozen if the agent and its guard "
                        "are killed in the middle of a freeze",
                        record->path, strerror(-rc));
}

void agent_freeze_record_close(struct agent_freeze_record *record)
{
    struct stat st;
    if (record->fd < 0)
        return;
    if (fstat(record->fd, &st) == 0 && st.st_size == 0)
        unlink(record->path);
    blx_cleanup_fd(&record->fd);
}

void agent_freeze_record_write(const struct agent_freeze_record *record,
                               const struct agent_mounts *mounts)
{
    off_t offset = 0;
    for (size_t i = 0; record->fd >= 0 && i < mounts->count; i++) {
        const struct agent_mount *mount = &mounts->mounts[i];
        char line[PATH_MAX + 32];
        int length = snprintf(line, sizeof(line), "%" PRIu32 ":%" PRIu32 " %s", mount->major,
                              mount->minor, mount->mount_point);
        if (length < 0 || pwrite(record->fd, line, (size_t)length + 1, offset) != length + 1)
            break; /* a full tmpfs: the guard is there all the same */
        offset += length + 1;
    }
}

void agent_freeze_record_clear(const struct agent_freeze_record *record)
{
    if (record->fd >= 0 && ftruncate(record->fd, 0) < 0)
        blx_log_warning("cannot empty '%s': %s", record->path, strerror(errno));
}

/* A filesystem that an agent has left, as its record names it. */
struct left {
    uint32_t major, minor;
    bool opened; /* it could be looked at */
    char path[PATH_MAX];
};

/* Only if the path still leads to the same filesystem; otherwise it is as good as not frozen. */
static int thaw_in_helper(void *arg, struct agent_patience_io *io)
{
    struct left *left = arg;
    struct stat st;
    (void)io;
    BLX_CLEANUP_FD int fd = blx_open(left->path, O_RDONLY | O_NONBLOCK, 0, NULL);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    left->opened = true;
    /* btrfs shows another number here than among the mounts. */
    if (left->major != 0 && st.st_dev != makedev(left->major, left->minor))
        return -EINVAL;
    return ioctl(fd, FITHAW, 0) < 0 ? -errno : 0;
}

static void thaw_left(const char *line)
{
    static const struct agent_patience_call call = {.run = thaw_in_helper,
                                                    .arg_bytes = sizeof(struct left)};
    BLX_CLEANUP_FREE struct left *left = calloc(1, sizeof(*left));
    char name[AGENT_MOUNT_NAME_BYTES];
    int begin = 0;
    if (left == NULL ||
        sscanf(line, "%" SCNu32 ":%" SCNu32 " %n", &left->major, &left->minor, &begin) != 2 ||
        begin == 0)
        return;
    const char *path = line + begin;
    snprintf(left->path, sizeof(left->path), "%s", path);
    agent_mount_name(path, name);
    int rc = agent_patience_run(name, &call, left, NULL, agent_patience_get_ms());
    if (rc == 0)
        blx_log_warning("'%s' was frozen since an agent was killed together with its guard: it is "
                        "thawed now",
                        path);
    else if (!left->opened)
        blx_log_error("'%s' may be frozen since an agent was killed, and cannot be looked at: %s; "
                      "fsfreeze -u '%s' thaws it",
                      path, strerror(-rc), path);
    else if (rc != -EINVAL)
        blx_log_error("'%s' may be frozen since an agent was killed, and does not thaw: %s", path,
                      strerror(-rc));
}

/* No living process has the lock. A guard that was just killed may take a moment to be gone, and a
 * living agent empties its record as soon. */
static bool lock_left(int fd, struct stat *st)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
        if (fstat(fd, st) < 0 || locked || st->st_size == 0)
            return locked;
        poll(NULL, 0, LOCK_PAUSE_MS);
    }
    return false;
}

static void recover_one(const char *path)
{
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDWR, 0, NULL);
    struct stat st;
    if (fd < 0 || !lock_left(fd, &st))
        return;
    BLX_CLEANUP_FREE char *text = calloc(1, (size_t)st.st_size + 1);
    ssize_t got = text == NULL ? -1 : pread(fd, text, (size_t)st.st_size, 0);
    for (ssize_t at = 0; at < got; at += (ssize_t)strlen(text + at) + 1)
        thaw_left(text + at);
    unlink(path);
}

void agent_freeze_recover(const char *run_dir)
{
    BLX_CLEANUP_DIR DIR *folder = opendir(run_dir);
    if (folder == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[PATH_MAX];
        if (strncmp(entry->d_name, name_prefix, strlen(name_prefix)) != 0)
            continue;
        int length = snprintf(path, sizeof(path), "%s/%s", run_dir, entry->d_name);
        if (length > 0 && (size_t)length < sizeof(path))
            recover_one(path);
    }
}
