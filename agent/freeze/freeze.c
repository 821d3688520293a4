/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/freeze/freeze.h"

#include <errno.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/freeze/guard_private.h"
#include "base/cleanup.h"
#include "base/units.h"

static const uint64_t answer_timeout_ns = UINT64_C(5000000000);

/* Used by one thread at a time. Only `shared` is the guard process's, too, and all of it is atomic
 * (guard_private.h). */
struct agent_freezer {
    pid_t guard;
    int socket_fd; /* the guard sees it close when the agent ends */
    uint64_t seq;  /* of the last command */
    struct agent_guard_shared *shared;
    bool armed;
    /* The filesystems that the guard is armed with; the descriptors are the caller's. */
    const struct agent_mounts *mounts;
};

/* The control part of a message, as large as it can get. */
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * AGENT_FREEZE_MAX_FILESYSTEMS)];
};

static int guard_gone(struct blx_error *err)
{
    return blx_error_set(
        err, -EPIPE,
        "the guard process that thaws filesystems is gone or does not answer; nothing is frozen "
        "without it");
}

/* Waits for the answer to `seq`. Older answers, to commands that were given up, are thrown away. */
static int wait_for_answer(const struct agent_freezer *freezer, uint64_t seq, struct blx_error *err)
{
    uint64_t deadline_ns = blx_clock_ns() + answer_timeout_ns;
    for (;;) {
        uint64_t now_ns = blx_clock_ns();
        if (now_ns >= deadline_ns)
            return guard_gone(err);
        struct pollfd poller = {.fd = freezer->socket_fd, .events = POLLIN};
        int n = poll(&poller, 1, (int)((deadline_ns - now_ns) / 1000000) + 1);
        if (n == 0 || (n < 0 && errno == EINTR))
            continue;
        struct agent_guard_message message = {0};
        ssize_t got =
            n < 0 ? -1 : recv(freezer->socket_fd, &message, sizeof(message), MSG_DONTWAIT);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got != sizeof(message))
            return guard_gone(err);
        if (message.seq == seq)
            return 0;
    }
}

static void attach_descriptors(struct msghdr *header, union control *control,
                               const struct agent_mounts *mounts)
{
    *control = (union control){0};
    header->msg_control = control->bytes;
    header->msg_controllen = CMSG_SPACE(sizeof(int) * mounts->count);
    struct cmsghdr *c = CMSG_FIRSTHDR(header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * mounts->count);
    for (size_t i = 0; i < mounts->count; i++)
        memcpy(CMSG_DATA(c) + i * sizeof(int), &mounts->mounts[i].fd, sizeof(int));
}

/* Gives the guard a command and waits until it is done. `mounts` only with AGENT_GUARD_ARM. */
static int send_command(struct agent_freezer *freezer, enum agent_guard_command command,
                        const struct agent_mounts *mounts, struct blx_error *err)
{
    struct agent_guard_message message = {.command = command, .seq = ++freezer->seq};
    struct iovec iov = {.iov_base = &message, .iov_len = sizeof(message)};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    union control control;
    if (mounts != NULL) {
        message.count = (uint32_t)mounts->count;
        attach_descriptors(&header, &control, mounts);
    }
    /* Not waiting: a socket full of commands is a guard that does not answer. */
    while (sendmsg(freezer->socket_fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        if (errno != EINTR)
            return guard_gone(err);
    return wait_for_answer(freezer, message.seq, err);
}

static int fork_guard(struct agent_freezer *freezer, struct blx_error *err)
{
    int pair[2] = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return blx_error_errno(err, -errno, "cannot make the freeze guard's socket");
    freezer->socket_fd = pair[0];
    freezer->guard = fork();
    if (freezer->guard == 0)
        agent_guard_run(pair[1], freezer->shared);
    int r = freezer->guard < 0 ? -errno : 0;
    close(pair[1]);
    if (r < 0)
        return blx_error_errno(err, r, "cannot start the freeze guard");
    return wait_for_answer(freezer, 0, err);
}

int agent_freezer_start(struct agent_freezer **freezer, struct blx_error *err)
{
    struct agent_freezer *started = calloc(1, sizeof(*started));
    if (started == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot start the freeze guard");
    started->socket_fd = -1;
    started->guard = -1;
    void *shared = mmap(NULL, sizeof(*started->shared), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        free(started);
        return blx_error_errno(err, -errno, "cannot start the freeze guard");
    }
    started->shared = shared;
    int r = fork_guard(started, err);
    if (r < 0) {
        agent_freezer_stop(started);
        return r;
    }
    *freezer = started;
    return 0;
}

void agent_freezer_stop(struct agent_freezer *freezer)
{
    if (freezer == NULL)
        return;
    blx_cleanup_fd(&freezer->socket_fd);
    if (freezer->guard > 0) {
        kill(freezer->guard, SIGCONT); /* it could not end while it is stopped */
        while (waitpid(freezer->guard, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    munmap(freezer->shared, sizeof(*freezer->shared));
    free(freezer);
}

static int arm(struct agent_freezer *freezer, const struct agent_mounts *mounts, uint64_t limit_ms,
               struct blx_error *err)
{
    struct agent_guard_shared *shared = freezer->shared;
    /* Disarmed first, so that the guard looks at none of this while it changes. */
    int r = freezer->armed ? send_command(freezer, AGENT_GUARD_DISARM, NULL, err) : 0;
    if (r < 0)
        return r;
    freezer->armed = false;
    for (size_t i = 0; i < AGENT_FREEZE_MAX_FILESYSTEMS; i++)
        atomic_store(&shared->state[i], AGENT_GUARD_IDLE);
    atomic_store(&shared->limit_ns, limit_ms * 1000000);
    atomic_store(&shared->attempt_started_ns, 0);
    atomic_store(&shared->first_frozen_ns, 0);
    atomic_store(&shared->thawed_ns, 0);
    atomic_store(&shared->fired, 0);
    freezer->mounts = mounts;
    if (mounts->count == 0)
        return 0;
    r = send_command(freezer, AGENT_GUARD_ARM, mounts, err);
    /* It may be armed though its answer did not come in time. Nothing is frozen, so that is
     * harmless until the next try. */
    freezer->armed = true;
    return r;
}

static void note_not_frozen(const struct agent_mount *mount, struct agent_freeze_result *result)
{
    if (result->not_frozen[0] == '\0')
        snprintf(result->not_frozen, sizeof(result->not_frozen), "%.*s",
                 (int)sizeof(result->not_frozen) - 1, mount->mount_point);
}

/* Between here and the end the guard may thaw at any moment: it says so by `fired` and by the
 * state. */
static int freeze_one(struct agent_freezer *freezer, size_t index,
                      struct agent_freeze_result *result, struct blx_error *err)
{
    struct agent_guard_shared *shared = freezer->shared;
    const struct agent_mount *mount = &freezer->mounts->mounts[index];
    if (atomic_load(&shared->attempt_started_ns) == 0)
        atomic_store(&shared->attempt_started_ns, blx_clock_ns());
    atomic_store(&shared->state[index], AGENT_GUARD_ATTEMPT);
    int r = ioctl(mount->fd, FIFREEZE, 0) < 0 ? -errno : 0;
    if (r == 0) {
        uint64_t now_ns = blx_clock_ns();
        uint32_t expected = AGENT_GUARD_ATTEMPT;
        if (result->first_frozen_at_ns == 0) {
            result->first_frozen_at_ns = now_ns;
            atomic_store(&shared->first_frozen_ns, now_ns);
        }
        /* Fails if the guard has thawed it already. */
        if (atomic_compare_exchange_strong(&shared->state[index], &expected, AGENT_GUARD_FROZEN))
            result->frozen++;
        return 0;
    }
    atomic_store(&shared->state[index], r == -EBUSY ? AGENT_GUARD_FOREIGN : AGENT_GUARD_IDLE);
    note_not_frozen(mount, result);
    if (r == -EPERM)
        return blx_error_set(
            err, r,
            "cannot freeze the filesystem on '%s': not permitted; the agent needs the "
            "capability CAP_SYS_ADMIN",
            mount->mount_point);
    if (r == -EBUSY)
        result->foreign++;
    else
        result->unsupported++;
    return 0;
}

static int freeze_all(struct agent_freezer *freezer, struct agent_freeze_result *result,
                      struct blx_error *err)
{
    for (size_t i = freezer->mounts->count; i-- > 0;) {
        int r = freeze_one(freezer, i, result, err);
        if (r < 0)
            return r;
        if (agent_freeze_expired(freezer))
            return blx_error_set(
                err, -ETIMEDOUT,
                "freezing the filesystems took longer than the limit of %llu ms (at '%s')",
                (unsigned long long)atomic_load(&freezer->shared->limit_ns) / 1000000,
                freezer->mounts->mounts[i].mount_point);
    }
    return 0;
}

int agent_freeze(struct agent_freezer *freezer, const struct agent_mounts *mounts,
                 uint64_t limit_ms, struct agent_freeze_result *result, struct blx_error *err)
{
    *result = (struct agent_freeze_result){0};
    if (mounts->count > AGENT_FREEZE_MAX_FILESYSTEMS)
        return blx_error_set(
            err, -E2BIG,
            "the devices carry %zu mounted filesystems, only %d can be frozen together",
            mounts->count, AGENT_FREEZE_MAX_FILESYSTEMS);
    int r = arm(freezer, mounts, limit_ms, err);
    if (r < 0)
        return r;
    r = freeze_all(freezer, result, err);
    if (r < 0) {
        uint64_t held_ns = 0;
        agent_thaw(freezer, &held_ns, NULL);
        result->frozen = 0;
        return r;
    }
    result->frozen_at_ns = blx_clock_ns();
    return 0;
}

bool agent_freeze_expired(const struct agent_freezer *freezer)
{
    return atomic_load(&freezer->shared->fired) != 0;
}

/* Stays FROZEN until it is thawed: should we die in between, the guard must do it. */
static int thaw_one(struct agent_freezer *freezer, size_t index, struct blx_error *err)
{
    const struct agent_mount *mount = &freezer->mounts->mounts[index];
    _Atomic uint32_t *state = &freezer->shared->state[index];
    if (atomic_load(state) != AGENT_GUARD_FROZEN)
        return 0;
    int r = ioctl(mount->fd, FITHAW, 0) < 0 ? -errno : 0;
    if (r == 0 || r == -EINVAL)
        atomic_store(state, AGENT_GUARD_IDLE);
    if (r == -EINVAL && agent_freeze_expired(freezer))
        return 0;
    if (r == -EINVAL)
        return blx_error_set(err, -ECANCELED,
                             "the filesystem on '%s' was thawed by somebody else while it was read",
                             mount->mount_point);
    if (r < 0)
        blx_error_errno(err, r, "cannot thaw the filesystem on '%s'", mount->mount_point);
    return r;
}

int agent_thaw(struct agent_freezer *freezer, uint64_t *held_ns, struct blx_error *err)
{
    int first = 0;
    bool stuck = false;
    for (size_t i = 0; freezer->mounts != NULL && i < freezer->mounts->count; i++) {
        int r = thaw_one(freezer, i, err);
        stuck |= r < 0 && r != -ECANCELED;
        if (first == 0)
            first = r;
    }
    uint64_t since_ns = atomic_load(&freezer->shared->first_frozen_ns);
    uint64_t until_ns =
        agent_freeze_expired(freezer) ? atomic_load(&freezer->shared->thawed_ns) : 0;
    if (until_ns == 0)
        until_ns = blx_clock_ns();
    *held_ns = since_ns == 0 || until_ns < since_ns ? 0 : until_ns - since_ns;
    freezer->mounts = NULL;
    /* A guard that is gone is found at the next freeze: now everything is thawed. */
    if (freezer->armed && !stuck && send_command(freezer, AGENT_GUARD_DISARM, NULL, NULL) == 0)
        freezer->armed = false;
    return first;
}
