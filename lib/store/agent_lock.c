/* SPDX-License-Identifier: Apache-2.0 */
#include "store/agent_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/io.h"

enum {
    POLL_MS = 10,
    WAIT_MS = 60000,  /* for a prune or a verification */
    HOLDER_MS = 2000, /* for a session of the agent that is ending elsewhere */
};

/* The dispatcher must be able to open the file, also if root made it. */
static int give_to_owner(int fd, const char *agent_dir)
{
    struct stat st;
    if (geteuid() != 0)
        return 0;
    if (stat(agent_dir, &st) != 0)
        return -errno;
    return fchown(fd, st.st_uid, st.st_gid) != 0 ? -errno : 0;
}

/* Only a file that is made here is given away: the folder's owner may have linked any other file of
 * the filesystem to this name. */
static int make_file(const char *dir, const char *path, struct blx_error *err)
{
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, err);
    if (fd < 0)
        return fd;
    int rc = give_to_owner(fd, dir);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot give '%s' to the owner of its folder", path);
    return blx_take_fd(&fd);
}

/* The descriptor, or -errno. `access` is O_RDWR, or O_RDONLY, which is enough for shared locks. */
static int open_file(struct blx_agent_store agent, int access, struct blx_error *err)
{
    char dir[PATH_MAX], path[PATH_MAX];
    int rc = blx_agent_store_path(agent, dir, err);
    if (rc == 0)
        rc = blx_path_format(path, sizeof(path), err, "%s/lock", dir);
    if (rc < 0)
        return rc;
    for (;;) {
        struct blx_error cause = {0};
        int fd = blx_open(path, access | O_NOFOLLOW | O_NONBLOCK, 0, &cause);
        if (fd != -ENOENT)
            return fd < 0 ? blx_error_copy(err, fd, &cause) : fd;
        blx_error_clear(&cause);
        fd = make_file(dir, path, &cause);
        if (fd != -EEXIST)
            return fd < 0 ? blx_error_copy(err, fd, &cause) : fd;
        /* Another one has made it meanwhile. */
    }
}

int blx_agent_lock_open(struct blx_agent_store agent, struct blx_agent_lock *lock,
                        struct blx_error *err)
{
    struct blx_error cause = {0};
    int fd = open_file(agent, O_RDWR, &cause);
    *lock = (struct blx_agent_lock){.fd = fd < 0 ? -1 : fd};
    return fd < 0 && fd != -EROFS ? blx_error_copy(err, fd, &cause) : 0;
}

/* Errors of a store in which the caller can read, but not write. */
static bool is_only_readable(int rc)
{
    return rc == -EROFS || rc == -EPERM || rc == -EACCES || rc == -ENOSPC || rc == -EDQUOT;
}

int blx_agent_lock_open_shared(struct blx_agent_store agent, struct blx_agent_lock *lock,
                               struct blx_error *err)
{
    struct blx_error cause = {0};
    int fd = open_file(agent, O_RDONLY, &cause);
    *lock = (struct blx_agent_lock){.fd = fd < 0 ? -1 : fd};
    return fd < 0 && !is_only_readable(fd) ? blx_error_copy(err, fd, &cause) : 0;
}

void blx_agent_lock_close(struct blx_agent_lock *lock)
{
    if (lock->fd >= 0)
        close(lock->fd);
    *lock = (struct blx_agent_lock){.fd = -1};
}

static int apply(const struct blx_agent_lock *lock, int command, short type, uint64_t byte)
{
    struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1};
    int rc;
    if (lock->fd < 0)
        return 0;
    do
        rc = fcntl(lock->fd, command, &range);
    while (rc != 0 && errno == EINTR);
    return rc != 0 ? -errno : 0;
}

static int take(struct blx_agent_lock *lock, int command, enum blx_lock_part part,
                enum blx_lock_mode mode)
{
    int rc = apply(lock, command, mode == BLX_LOCK_ALONE ? F_WRLCK : F_RDLCK, part);
    if (rc == 0)
        lock->parts[part] = mode;
    return rc;
}

static int failed(int rc, struct blx_error *err)
{
    return rc < 0 ? blx_error_errno(err, rc, "cannot lock the agent's checkpoints") : 0;
}

int blx_agent_lock_share(struct blx_agent_lock *lock, enum blx_lock_part part,
                         struct blx_error *err)
{
    return failed(take(lock, F_OFD_SETLKW, part, BLX_LOCK_SHARED), err);
}

static const char *const busy_text[] = {
    [BLX_LOCK_CHAINS] = "a restore of the agent is being planned; try again",
    [BLX_LOCK_CONTENTS] = "a prune or a verification of the agent is running; try again later",
    [BLX_LOCK_REWRITES] = "segments of the agent are being rewritten already",
    [BLX_LOCK_SESSION] = "the agent is connected",
    [BLX_LOCK_COPIES] = "checkpoints of the agent are being copied already",
    [BLX_LOCK_HOLDER] = "the agent is connected to another dispatcher of this data directory",
};

int blx_agent_lock_alone(struct blx_agent_lock *lock, enum blx_lock_part part, unsigned wait_ms,
                         struct blx_error *err)
{
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
    for (unsigned waited_ms = 0;; waited_ms += POLL_MS) {
        int rc = take(lock, F_OFD_SETLK, part, BLX_LOCK_ALONE);
        if (rc != -EAGAIN && rc != -EACCES)
            return failed(rc, err);
        if (waited_ms >= wait_ms)
            return blx_error_set(err, -EBUSY, "%s", busy_text[part]);
        nanosleep(&pause, NULL);
    }
}

void blx_agent_lock_release(struct blx_agent_lock *lock, enum blx_lock_part part)
{
    apply(lock, F_OFD_SETLK, F_UNLCK, part);
    lock->parts[part] = BLX_LOCK_FREE;
}

int blx_agent_lock_hold(struct blx_agent_lock *lock, blx_timestamp checkpoint,
                        struct blx_error *err)
{
    blx_assert(lock->parts[BLX_LOCK_CHAINS] != BLX_LOCK_FREE);
    return failed(apply(lock, F_OFD_SETLKW, F_RDLCK, checkpoint), err);
}

int blx_agent_lock_begin(struct blx_agent_store agent, blx_timestamp checkpoint,
                         struct blx_agent_lock *lock, struct blx_error *err)
{
    int rc = blx_agent_store_check(agent, err);
    if (rc == 0)
        rc = blx_agent_lock_open_shared(agent, lock, err);
    if (rc == 0)
        rc = blx_agent_lock_share(lock, BLX_LOCK_CHAINS, err);
    return rc == 0 ? blx_agent_lock_hold(lock, checkpoint, err) : rc;
}

/* A removal renames the folder: whoever opened the lock before has one that protects nothing. */
static bool is_in_place(struct blx_agent_store agent, const struct blx_agent_lock *lock)
{
    char dir[PATH_MAX], path[PATH_MAX];
    struct stat opened, named;
    if (lock->fd < 0)
        return true;
    return blx_agent_store_path(agent, dir, NULL) == 0 &&
           blx_path_format(path, sizeof(path), NULL, "%s/lock", dir) == 0 &&
           fstat(lock->fd, &opened) == 0 && stat(path, &named) == 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

int blx_agent_lock_enter(struct blx_agent_store agent, struct blx_agent_lock *lock,
                         struct blx_error *err)
{
    const bool shared = agent.store->shared;
    int rc = shared ? blx_agent_lock_open(agent, lock, err)
                    : blx_agent_lock_open_shared(agent, lock, err);
    if (rc < 0)
        return rc;
    rc = take(lock, F_OFD_SETLK, BLX_LOCK_SESSION, BLX_LOCK_SHARED);
    if (rc == -EAGAIN || rc == -EACCES || (rc == 0 && !is_in_place(agent, lock)))
        return blx_error_set(err, -EBUSY,
                             "data of the agent '%s' is being removed, or it is being renamed; try "
                             "again later",
                             agent.id);
    if (rc < 0 || !shared)
        return failed(rc, err);
    return blx_agent_lock_alone(lock, BLX_LOCK_HOLDER, HOLDER_MS, err);
}

int blx_agent_lock_is_held(const struct blx_agent_lock *lock, blx_timestamp first,
                           blx_timestamp last, struct blx_error *err)
{
    struct flock range = {.l_type = F_WRLCK,
                          .l_whence = SEEK_SET,
                          .l_start = (off_t)first,
                          .l_len = (off_t)(last - first) + 1};
    blx_assert(lock->parts[BLX_LOCK_CHAINS] == BLX_LOCK_ALONE);
    if (lock->fd < 0)
        return 0;
    if (fcntl(lock->fd, F_OFD_GETLK, &range) != 0)
        return failed(-errno, err);
    return range.l_type != F_UNLCK;
}

int blx_agent_lock_others(struct blx_agent_lock *lock, struct blx_error *err)
{
    blx_assert(lock->fd < 0 || lock->parts[BLX_LOCK_SESSION] == BLX_LOCK_ALONE);
    int rc = blx_agent_lock_alone(lock, BLX_LOCK_COPIES, WAIT_MS, err);
    if (rc == 0)
        rc = blx_agent_lock_alone(lock, BLX_LOCK_REWRITES, WAIT_MS, err);
    if (rc == 0)
        rc = blx_agent_lock_alone(lock, BLX_LOCK_CONTENTS, WAIT_MS, err);
    return rc == 0 ? blx_agent_lock_alone(lock, BLX_LOCK_CHAINS, WAIT_MS, err) : rc;
}

int blx_agent_lock_check_readers(const struct blx_agent_lock *lock, struct blx_agent_store agent,
                                 struct blx_error *err)
{
    int rc = blx_agent_lock_is_held(lock, BLX_LOCK_PARTS, INT64_MAX - 1, err);
    return rc == 1 ? blx_error_set(err, -EBUSY,
                                   "a restore or a mount is reading a checkpoint of '%s'; end it, "
                                   "or try again later",
                                   agent.id)
                   : rc;
}
