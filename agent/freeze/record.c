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

enum { LOCK_TRIES = 200, LOCK_PAUSE_MS = 10 };

static const char name_prefix[] = "frozen-";

/* A second freezer of the same process (after its guard was killed) takes the file over. */
void agent_freeze_record_open(const char *run_dir, struct agent_freeze_record *record)
{
    snprintf(record->path, sizeof(record->path), "%s/%s%d", run_dir, name_prefix, (int)getpid());
    BLX_CLEANUP_FD int fd = blx_open(record->path, O_RDWR | O_CREAT, 0600, NULL);
    int rc = fd < 0 ? fd : flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
    record->fd = rc < 0 ? -1 : blx_take_fd(&fd);
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

/* Only if the path still leads to the same filesystem. */
static void thaw_left(const char *line)
{
    uint32_t major = 0, minor = 0;
    int begin = 0;
    struct stat st;
    if (sscanf(line, "%" SCNu32 ":%" SCNu32 " %n", &major, &minor, &begin) != 2 || begin == 0)
        return;
    const char *path = line + begin;
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDONLY | O_NONBLOCK, 0, NULL);
    if (fd < 0 || fstat(fd, &st) < 0) {
        blx_log_error("'%s' may be frozen since an agent was killed, and cannot be looked at: %s; "
                      "fsfreeze -u '%s' thaws it",
                      path, strerror(fd < 0 ? -fd : errno), path);
        return;
    }
    /* btrfs shows another number here than among the mounts. */
    if (major != 0 && st.st_dev != makedev(major, minor))
        return;
    if (ioctl(fd, FITHAW, 0) == 0)
        blx_log_warning("'%s' was frozen since an agent was killed together with its guard: it is "
                        "thawed now",
                        path);
    else if (errno != EINVAL)
        blx_log_error("'%s' may be frozen since an agent was killed, and does not thaw: %s", path,
                      strerror(errno));
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
