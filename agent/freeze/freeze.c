/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/freeze/freeze.h"

#include <errno.h>
#include <linux/fs.h>
#include <poll.h>
#include <pthread.h>
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
#include "agent/freeze/record_private.h"
#include "base/assert.h"
#include "base/cleanup.h"
#include "base/units.h"

enum {
    WORKERS_MAX = 32,
    WORKER_STACK_BYTES = 128 * 1024,
    THAW_MS = 5000,      /* a FITHAW that takes longer hangs */
    GUARD_END_MS = 3000, /* a guard that needs longer waits for a filesystem that hangs */
    GUARD_LOOK_MS = 10,
};

static const uint64_t answer_timeout_ns = UINT64_C(5000000000);

/* Used by one thread at a time. Only `shared` is the guard process's, too, and all of it is atomic
 * (guard_private.h). */
struct agent_freezer {
    pid_t guard;
    int socket_fd; /* the guard sees it close when the agent ends */
    uint64_t seq;  /* of the last command */
    struct agent_guard_shared *shared;
    bool armed;
    struct agent_freeze_record record;
    /* The filesystems that the guard is armed with; the descriptors are the caller's. */
    const struct agent_mounts *mounts;
    size_t count; /* of them, AGENT_FREEZE_MAX_FILESYSTEMS at most */
    /* By mount: 0, or why FIFREEZE failed, or -EINPROGRESS: it was not tried. A worker writes its
     * own ones, the caller reads them after the group's end. */
    int rc[AGENT_FREEZE_MAX_FILESYSTEMS];
};

/* The control part of a message, as large as it can get. */
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * AGENT_GUARD_ADD_MAX)];
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
                               const struct agent_mount *mounts, uint32_t count)
{
    *control = (union control){0};
    header->msg_control = control->bytes;
    header->msg_controllen = CMSG_SPACE(sizeof(int) * count);
    struct cmsghdr *c = CMSG_FIRSTHDR(header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * count);
    for (size_t i = 0; i < count; i++)
        memcpy(CMSG_DATA(c) + i * sizeof(int), &mounts[i].fd, sizeof(int));
}

/* Gives the guard a command and waits until it is done. `mounts` only with AGENT_GUARD_ADD. */
static int send_command(struct agent_freezer *freezer, enum agent_guard_command command,
                        const struct agent_mount *mounts, uint32_t count, struct blx_error *err)
{
    struct agent_guard_message message = {
        .command = command, .count = count, .seq = ++freezer->seq};
    struct iovec iov = {.iov_base = &message, .iov_len = sizeof(message)};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    union control control;
    if (mounts != NULL)
        attach_descriptors(&header, &control, mounts, count);
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
        agent_guard_run(pair[1], freezer->record.fd, freezer->shared);
    int r = freezer->guard < 0 ? -errno : 0;
    close(pair[1]);
    if (r < 0)
        return blx_error_errno(err, r, "cannot start the freeze guard");
    return wait_for_answer(freezer, 0, err);
}

int agent_freezer_start(const char *run_dir, struct agent_freezer **freezer, struct blx_error *err)
{
    struct agent_freezer *started = calloc(1, sizeof(*started));
    if (started == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot start the freeze guard");
    started->socket_fd = -1;
    started->guard = -1;
    started->record.fd = -1;
    void *shared = mmap(NULL, sizeof(*started->shared), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        free(started);
        return blx_error_errno(err, -errno, "cannot start the freeze guard");
    }
    started->shared = shared;
    if (run_dir != NULL)
        agent_freeze_record_open(run_dir, &started->record);
    int r = fork_guard(started, err);
    if (r < 0) {
        agent_freezer_stop(started);
        return r;
    }
    *freezer = started;
    return 0;
}

/* One that waits for a filesystem that hangs is left alone: it thaws that, and ends. */
static void wait_for_end(pid_t guard)
{
    for (int ms = 0; ms < GUARD_END_MS; ms += GUARD_LOOK_MS) {
        pid_t ended = waitpid(guard, NULL, WNOHANG);
        if (ended == guard || (ended < 0 && errno != EINTR))
            return;
        poll(NULL, 0, GUARD_LOOK_MS);
    }
}

void agent_freezer_stop(struct agent_freezer *freezer)
{
    if (freezer == NULL)
        return;
    blx_cleanup_fd(&freezer->socket_fd);
    if (freezer->guard > 0) {
        kill(freezer->guard, SIGCONT); /* it could not end while it is stopped */
        wait_for_end(freezer->guard);
    }
    munmap(freezer->shared, sizeof(*freezer->shared));
    agent_freeze_record_close(&freezer->record);
    free(freezer);
}

static int arm(struct agent_freezer *freezer, const struct agent_mounts *mounts, uint64_t limit_ms,
               struct blx_error *err)
{
    struct agent_guard_shared *shared = freezer->shared;
    /* Disarmed first, so that the guard looks at none of this while it changes. */
    int r = freezer->armed ? send_command(freezer, AGENT_GUARD_DISARM, NULL, 0, err) : 0;
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
    freezer->count =
        mounts->count < AGENT_FREEZE_MAX_FILESYSTEMS ? mounts->count : AGENT_FREEZE_MAX_FILESYSTEMS;
    for (size_t i = 0; i < freezer->count; i++) {
        /* Agent and guard thaw in this order: one in a file of a frozen one cannot thaw. */
        blx_assert(i == 0 || mounts->mounts[i].depth >= mounts->mounts[i - 1].depth);
        freezer->rc[i] = -EINPROGRESS;
    }
    if (mounts->count == 0)
        return 0;
    agent_freeze_record_write(&freezer->record, mounts);
    /* It may be armed though its answer did not come in time. Nothing is frozen, so that is
     * harmless until the next try. */
    freezer->armed = true;
    for (size_t i = 0; r == 0 && i < freezer->count; i += AGENT_GUARD_ADD_MAX) {
        size_t left = freezer->count - i;
        r = send_command(freezer, AGENT_GUARD_ADD, &mounts->mounts[i],
                         (uint32_t)(left < AGENT_GUARD_ADD_MAX ? left : AGENT_GUARD_ADD_MAX), err);
    }
    return r < 0 ? r : send_command(freezer, AGENT_GUARD_ARM, NULL, (uint32_t)freezer->count, err);
}

/* The first one to come sets it. */
static void set_once(_Atomic uint64_t *time_ns)
{
    uint64_t unset = 0;
    atomic_compare_exchange_strong(time_ns, &unset, blx_clock_ns());
}

static int freeze_in_helper(void *arg, struct agent_patience_io *io)
{
    (void)arg;
    return ioctl(io->lent_fd, FIFREEZE, 0) < 0 ? -errno : 0;
}

static int thaw_in_helper(void *arg, struct agent_patience_io *io)
{
    (void)arg;
    return ioctl(io->lent_fd, FITHAW, 0) < 0 ? -errno : 0;
}

static void undo_freeze(void *arg, struct agent_patience_io *io)
{
    (void)thaw_in_helper(arg, io);
}

static int call(const struct agent_patience_call *what, const struct agent_mount *mount,
                uint64_t timeout_ms)
{
    struct agent_patience_io io = {.lent_fd = mount->fd};
    char name[AGENT_MOUNT_NAME_BYTES], nothing = 0;
    agent_mount_name(mount->mount_point, name);
    return agent_patience_run(name, what, &nothing, &io, timeout_ms);
}

/* One that is only slow may take longer than the limit: the guard thaws the frozen ones then. */
static int call_freeze(const struct agent_mount *mount, uint64_t limit_ms)
{
    static const struct agent_patience_call freeze = {.run = freeze_in_helper, .undo = undo_freeze};
    uint64_t patience_ms = agent_patience_get_ms();
    return call(&freeze, mount, patience_ms > limit_ms ? patience_ms : limit_ms);
}

/* If there is no process to do it, this one does. */
static int call_thaw(const struct agent_mount *mount)
{
    static const struct agent_patience_call thaw = {.run = thaw_in_helper};
    int r = call(&thaw, mount, THAW_MS);
    if (r == -EAGAIN || r == -EPIPE || r == -EMFILE || r == -ENFILE)
        r = ioctl(mount->fd, FITHAW, 0) < 0 ? -errno : 0;
    return r;
}

/*
 * From here to the end the guard may thaw at any moment: it says so by `fired` and by the state.
 * One that hangs stays an attempt: the helper thaws it if it ever freezes, and so does the guard,
 * which may wait for it as well.
 */
static void freeze_one(struct agent_freezer *freezer, size_t index)
{
    struct agent_guard_shared *shared = freezer->shared;
    set_once(&shared->attempt_started_ns);
    atomic_store(&shared->state[index], AGENT_GUARD_ATTEMPT);
    int r = call_freeze(&freezer->mounts->mounts[index], atomic_load(&shared->limit_ns) / 1000000);
    freezer->rc[index] = r;
    if (r == -ETIME)
        return;
    if (r < 0) {
        atomic_store(&shared->state[index], r == -EBUSY ? AGENT_GUARD_FOREIGN : AGENT_GUARD_IDLE);
        return;
    }
    set_once(&shared->first_frozen_ns);
    /* Fails if the guard has thawed it already. */
    uint32_t expected = AGENT_GUARD_ATTEMPT;
    atomic_compare_exchange_strong(&shared->state[index], &expected, AGENT_GUARD_FROZEN);
}

/* Threads that freeze the filesystems of one depth together; the next depth begins when all of this
 * one are frozen. */
struct crew {
    struct agent_freezer *freezer;
    pthread_t threads[WORKERS_MAX];
    size_t thread_count;
    pthread_mutex_t gate;      /* held by the caller until it is known how many they are */
    pthread_barrier_t barrier; /* all threads and the caller: at the beginning and the end of each
                                * depth */
    unsigned depth;            /* of the group under way; written by the caller between barriers */
    bool over;                 /* as `depth` */
    atomic_size_t next;        /* counts down: those at and above it are taken */
};

/* In reverse mount order, as far as there is one. */
static void freeze_group(struct crew *crew)
{
    struct agent_freezer *freezer = crew->freezer;
    for (;;) {
        size_t next = atomic_load(&crew->next);
        while (next > 0 && !atomic_compare_exchange_weak(&crew->next, &next, next - 1))
            ;
        if (next == 0 || agent_freeze_expired(freezer))
            return;
        if (freezer->mounts->mounts[next - 1].depth == crew->depth)
            freeze_one(freezer, next - 1);
    }
}

static void *worker_main(void *arg)
{
    struct crew *crew = arg;
    pthread_mutex_lock(&crew->gate);
    pthread_mutex_unlock(&crew->gate);
    for (;;) {
        pthread_barrier_wait(&crew->barrier);
        if (crew->over)
            return NULL;
        freeze_group(crew);
        pthread_barrier_wait(&crew->barrier);
    }
}

/* Before anything is frozen. With fewer threads it only takes longer. */
static void crew_start(struct crew *crew)
{
    size_t wanted = crew->freezer->count > 1 ? crew->freezer->count - 1 : 0;
    if (wanted > WORKERS_MAX)
        wanted = WORKERS_MAX;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, WORKER_STACK_BYTES);
    pthread_mutex_init(&crew->gate, NULL);
    pthread_mutex_lock(&crew->gate);
    while (crew->thread_count < wanted &&
           pthread_create(&crew->threads[crew->thread_count], &attributes, worker_main, crew) == 0)
        crew->thread_count++;
    pthread_barrier_init(&crew->barrier, NULL, (unsigned)crew->thread_count + 1);
    pthread_mutex_unlock(&crew->gate);
    pthread_attr_destroy(&attributes);
}

static unsigned find_depth(const struct agent_freezer *freezer)
{
    unsigned depth = 0;
    for (size_t i = 0; i < freezer->count; i++)
        if (freezer->mounts->mounts[i].depth > depth)
            depth = freezer->mounts->mounts[i].depth;
    return depth;
}

static void crew_freeze(struct crew *crew)
{
    struct agent_freezer *freezer = crew->freezer;
    for (unsigned depth = find_depth(freezer) + 1; depth-- > 0 && !agent_freeze_expired(freezer);) {
        crew->depth = depth;
        atomic_store(&crew->next, freezer->count);
        pthread_barrier_wait(&crew->barrier);
        freeze_group(crew);
        pthread_barrier_wait(&crew->barrier);
    }
}

static void crew_stop(struct crew *crew)
{
    crew->over = true;
    pthread_barrier_wait(&crew->barrier);
    for (size_t i = 0; i < crew->thread_count; i++)
        pthread_join(crew->threads[i], NULL);
    pthread_barrier_destroy(&crew->barrier);
    pthread_mutex_destroy(&crew->gate);
}

/* The first one in mount order is named. */
static void note_not_frozen(const struct agent_mount *mount, int r,
                            struct agent_freeze_result *result)
{
    if (result->not_frozen[0] != '\0')
        return;
    snprintf(result->not_frozen, sizeof(result->not_frozen), "%.*s",
             (int)sizeof(result->not_frozen) - 1, mount->mount_point);
    if (r == -EBUSY)
        snprintf(result->cause, sizeof(result->cause), "was frozen by somebody else already");
    else
        snprintf(result->cause, sizeof(result->cause), "could not be frozen: %s", strerror(-r));
}

static int add_up(const struct agent_freezer *freezer, struct agent_freeze_result *result,
                  struct blx_error *err)
{
    for (size_t i = 0; i < freezer->count; i++)
        if (freezer->rc[i] == -ETIME)
            return blx_error_set(err, -ETIMEDOUT, "the filesystem on '%s' hangs while it is frozen",
                                 freezer->mounts->mounts[i].mount_point);
    result->first_frozen_at_ns = atomic_load(&freezer->shared->first_frozen_ns);
    for (size_t i = 0; i < freezer->mounts->count; i++) {
        int r = i < freezer->count ? freezer->rc[i] : -EMFILE;
        const struct agent_mount *mount = &freezer->mounts->mounts[i];
        if (r == -EINPROGRESS || agent_freeze_expired(freezer))
            return blx_error_set(
                err, -ETIMEDOUT,
                "freezing the filesystems took longer than the limit of %llu ms (at '%s')",
                (unsigned long long)atomic_load(&freezer->shared->limit_ns) / 1000000,
                mount->mount_point);
        if (r == -EPERM)
            return blx_error_set(
                err, r,
                "cannot freeze the filesystem on '%s': not permitted; the agent needs the "
                "capability CAP_SYS_ADMIN",
                mount->mount_point);
        if (r < 0)
            note_not_frozen(mount, r, result);
        result->frozen += r == 0;
        result->foreign += r == -EBUSY;
        result->unsupported += r < 0 && r != -EBUSY;
    }
    return 0;
}

int agent_freeze(struct agent_freezer *freezer, const struct agent_mounts *mounts,
                 uint64_t limit_ms, struct agent_freeze_result *result, struct blx_error *err)
{
    *result = (struct agent_freeze_result){0};
    int r = arm(freezer, mounts, limit_ms, err);
    if (r < 0)
        return r;
    agent_patience_prepare(freezer->count < WORKERS_MAX ? freezer->count : WORKERS_MAX);
    struct crew crew = {.freezer = freezer};
    crew_start(&crew);
    crew_freeze(&crew);
    result->frozen_at_ns = blx_clock_ns();
    r = add_up(freezer, result, err);
    if (r < 0) {
        uint64_t held_ns = 0;
        crew_stop(&crew);
        agent_thaw(freezer, &held_ns, NULL);
        result->frozen = 0;
        return r;
    }
    crew_stop(&crew);
    return 0;
}

bool agent_freeze_holds(const struct agent_freezer *freezer, size_t index)
{
    return index < freezer->count &&
           atomic_load(&freezer->shared->state[index]) == AGENT_GUARD_FROZEN;
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
    int r = call_thaw(mount);
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
    for (size_t i = 0; freezer->mounts != NULL && i < freezer->count; i++) {
        int r = thaw_one(freezer, i, err);
        stuck |= (r < 0 && r != -ECANCELED) || freezer->rc[i] == -ETIME;
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
    if (!stuck)
        agent_freeze_record_clear(&freezer->record);
    /* A guard that is gone is found at the next freeze: now everything is thawed. */
    if (freezer->armed && !stuck && send_command(freezer, AGENT_GUARD_DISARM, NULL, 0, NULL) == 0)
        freezer->armed = false;
    return first;
}
