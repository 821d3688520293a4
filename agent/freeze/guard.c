/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/freeze/guard_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"

enum {
    SOCKET_FD = 0, /* all from FIRST_FREE_FD on are for the filesystems */
    RECORD_FD = 1, /* or nothing */
    FIRST_FREE_FD = 2,
    TICK_MS = 10,
    LAST_TRIES = 3000, /* of TICK_MS, if thawing fails after the agent's death: half a minute */
    STACK_BYTES = 32 * 1024, /* more than the loop ever uses */
};

struct guard {
    struct agent_guard_shared *shared;
    bool armed;
    uint32_t count;
    int fds[AGENT_FREEZE_MAX_FILESYSTEMS];
};

/* The control part of a message, as large as it can get. */
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * AGENT_GUARD_ADD_MAX)];
};

static uint64_t now_ns(void)
{
    struct timespec ts = {0};
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* True if the filesystem is no longer frozen, or was not. */
static bool thaw(const struct guard *guard, uint32_t index, enum agent_guard_state from)
{
    bool thawed = ioctl(guard->fds[index], FITHAW, 0) == 0;
    bool was_not_frozen = !thawed && errno == EINVAL;
    if (thawed)
        atomic_store(&guard->shared->thawed_ns, now_ns());
    /*
     * "Not frozen" ends the state FROZEN: somebody thawed it. It does not end an ATTEMPT, whose
     * FIFREEZE may be through later.
     */
    uint32_t expected = from;
    if (thawed || (was_not_frozen && from == AGENT_GUARD_FROZEN))
        atomic_compare_exchange_strong(&guard->shared->state[index], &expected, AGENT_GUARD_IDLE);
    return thawed || was_not_frozen;
}

static bool thaw_those(const struct guard *guard, enum agent_guard_state state)
{
    bool all = true;
    for (uint32_t i = 0; i < guard->count; i++)
        if (atomic_load(&guard->shared->state[i]) == state)
            all &= thaw(guard, i, state);
    return all;
}

/*
 * The frozen ones first: thawing one in an attempt may wait until its FIFREEZE, which is busy
 * writing everything out, has ended.
 */
static bool thaw_all(const struct guard *guard)
{
    bool frozen = thaw_those(guard, AGENT_GUARD_FROZEN);
    bool attempts = thaw_those(guard, AGENT_GUARD_ATTEMPT);
    return frozen && attempts;
}

static void forget(struct guard *guard)
{
    for (uint32_t i = 0; i < guard->count; i++)
        close(guard->fds[i]);
    guard->count = 0;
    guard->armed = false;
}

/*
 * The clock runs from the first filesystem frozen; until one is, from the start of the first
 * attempt, as FIFREEZE may hang, or the agent may be stopped before it could note that it was
 * through.
 */
static bool limit_passed(const struct agent_guard_shared *shared)
{
    uint64_t since = atomic_load(&shared->first_frozen_ns);
    if (since == 0)
        since = atomic_load(&shared->attempt_started_ns);
    return since != 0 && now_ns() - since >= atomic_load(&shared->limit_ns);
}

static void watch(const struct guard *guard)
{
    /* Set before anything is thawed: a reader that finds it unset has read frozen data. */
    if (!atomic_load(&guard->shared->fired) && limit_passed(guard->shared))
        atomic_store(&guard->shared->fired, 1);
    if (atomic_load(&guard->shared->fired))
        thaw_all(guard);
}

/* The agent is dead, so nobody can be inside FIFREEZE: one attempt at each is enough, unless
 * thawing fails. */
static _Noreturn void end(struct guard *guard)
{
    bool thawed = thaw_all(guard);
    for (int i = 0; i < LAST_TRIES && !thawed; i++) {
        poll(NULL, 0, TICK_MS);
        thawed = thaw_all(guard);
    }
    /* The next agent has nothing to thaw. It fails if there is no record, which is as good. */
    int rc = thawed ? ftruncate(RECORD_FD, 0) : 0;
    (void)rc;
    _exit(0);
}

static void answer(const struct agent_guard_message *message)
{
    while (send(SOCKET_FD, message, sizeof(*message), MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

static void take_descriptors(struct guard *guard, struct msghdr *header)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t bytes = c->cmsg_len - CMSG_LEN(0);
        size_t room = sizeof(guard->fds) - guard->count * sizeof(int);
        if (bytes > room)
            bytes = room;
        memcpy(guard->fds + guard->count, CMSG_DATA(c), bytes);
        guard->count += (uint32_t)(bytes / sizeof(int));
    }
}

/* False if the agent's end is closed. */
static bool obey(struct guard *guard)
{
    struct agent_guard_message message = {0};
    union control control;
    struct iovec iov = {.iov_base = &message, .iov_len = sizeof(message)};
    struct msghdr header = {.msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof(control.bytes)};
    ssize_t got = recvmsg(SOCKET_FD, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0)
        return errno == EINTR || errno == EAGAIN;
    if (got == 0)
        return false;
    if (message.command == AGENT_GUARD_DISARM)
        forget(guard);
    if (message.command == AGENT_GUARD_ADD)
        take_descriptors(guard, &header);
    if (message.command == AGENT_GUARD_ARM) {
        guard->armed = guard->count == message.count;
        /* Unarmed means unguarded: the agent hears no answer, and freezes nothing. */
        if (!guard->armed)
            return true;
    }
    answer(&message);
    return true;
}

/* Leaves nothing of the agent's open but the socket and the record. */
static void drop_descriptors(int socket_fd, int record_fd)
{
    /* Out of the way of each other's new numbers. */
    int socket_copy = fcntl(socket_fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    int record_copy = fcntl(record_fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    if (socket_copy < 0 || dup2(socket_copy, SOCKET_FD) < 0)
        _exit(1);
    if (record_copy < 0 || dup2(record_copy, RECORD_FD) < 0)
        close(RECORD_FD);
    blx_close_from(FIRST_FREE_FD);
}

static void write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t put = write(fd, text, strlen(text));
    (void)put; /* needs CAP_SYS_RESOURCE; without it we stand in line with the others */
    close(fd);
}

/*
 * Against everything that could stop the guard when it is needed: signals to the agent's group, the
 * OOM killer, a page that must be read from a frozen disk. Each of these calls may be refused, and
 * each helps without the others.
 */
static void harden(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    setsid();
    prctl(PR_SET_NAME, "blxrep-guard");
    write_text("/proc/self/oom_score_adj", "-1000");
    setpriority(PRIO_PROCESS, 0, -20);
    /* On fault: memory that is mapped but was never used, such as most of a large agent's, is not
     * pulled in. */
    mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
}

/* Runs all code that is needed later once, so that its pages are in memory, and locked. */
static void warm_up(struct guard *guard)
{
    volatile char stack[STACK_BYTES];
    for (size_t i = 0; i < sizeof(stack); i += 512)
        stack[i] = (char)i;
    guard->count = 1;
    guard->fds[0] = -1;
    atomic_store(&guard->shared->state[0], AGENT_GUARD_ATTEMPT);
    thaw_all(guard);
    atomic_store(&guard->shared->state[0], AGENT_GUARD_IDLE);
    watch(guard);
    forget(guard);
    obey(guard);
    poll(NULL, 0, 0);
}

_Noreturn void agent_guard_run(int socket_fd, int record_fd, struct agent_guard_shared *shared)
{
    static struct guard guard; /* too large for a stack that is kept in memory */
    guard.shared = shared;
    drop_descriptors(socket_fd, record_fd);
    harden();
    warm_up(&guard);
    answer(&(struct agent_guard_message){.command = AGENT_GUARD_READY});
    for (;;) {
        struct pollfd poller = {.fd = SOCKET_FD, .events = POLLIN};
        int n = poll(&poller, 1, guard.armed ? TICK_MS : -1);
        if (n > 0 && !obey(&guard))
            end(&guard);
        if (guard.armed)
            watch(&guard);
    }
}
