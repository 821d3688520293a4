/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/patience.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent/disk/patience_private.h"
#include "base/assert.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/units.h"

enum {
    PLACES = 128, /* calls under way, with those that hang */
    NAME_BYTES = 256,
    END_MS = 1000,
};

/*
 *     ABSENT -fork-> IDLE -run-> BUSY -in time-> IDLE
 *                                    BUSY -too late-> STUCK -answers-> IDLE
 *     any -the process has died-> ABSENT
 */
enum helper_state { ABSENT, IDLE, BUSY, STUCK };

struct helper {
    enum helper_state state;
    int socket_fd;
    char name[NAME_BYTES];
    uint64_t begun_ns;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Guarded by `lock`. The socket and the place of a BUSY helper are its caller's alone. */
static struct helper helpers[PLACES];
static int nursery_fd = -1;
/* Written once, by the first start. */
static struct agent_helper_place *places;
static int end_fd = -1; /* an eventfd that is written once and never read */
static _Atomic uint64_t patience_ms = AGENT_PATIENCE_DEFAULT_MS;

static void lose_locked(struct helper *helper)
{
    close(helper->socket_fd);
    helper->state = ABSENT;
}

/* The memory stays mapped: the nursery reads it in a moment, and helpers that hang use it later. */
static void forget_helpers_locked(void)
{
    for (size_t i = 0; i < PLACES; i++)
        if (helpers[i].state != ABSENT)
            lose_locked(&helpers[i]);
    blx_cleanup_fd(&nursery_fd);
    blx_cleanup_fd(&end_fd);
    nursery_fd = end_fd = -1;
    places = NULL;
}

/* In the child of every fork: the helpers are its parent's. It gets its own if it asks for some. */
static void forget_in_child(void)
{
    pthread_mutex_init(&lock, NULL);
    forget_helpers_locked();
}

static int make_shared_locked(void)
{
    static bool is_registered; /* in a child as well */
    if (places != NULL)
        return 0;
    if (!is_registered && pthread_atfork(NULL, NULL, forget_in_child) != 0)
        return -ENOMEM;
    is_registered = true;
    void *shared = mmap(NULL, PLACES * sizeof(struct agent_helper_place), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (shared == MAP_FAILED)
        return -errno;
    places = shared;
    end_fd = eventfd(0, EFD_CLOEXEC);
    return 0;
}

static int start_locked(void)
{
    int pair[2] = {-1, -1};
    int rc = make_shared_locked();
    if (rc < 0 || nursery_fd >= 0)
        return rc;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    struct agent_helper_place *shared = places;
    pid_t pid = fork();
    if (pid == 0)
        agent_helper_nurse(pair[1], shared);
    rc = pid < 0 ? -errno : 0;
    close(pair[1]);
    if (rc < 0)
        close(pair[0]);
    else
        nursery_fd = pair[0];
    return rc;
}

int agent_patience_start(void)
{
    pthread_mutex_lock(&lock);
    int rc = start_locked();
    pthread_mutex_unlock(&lock);
    return rc;
}

/* ABSENT to IDLE. */
static int fork_helper_locked(size_t index)
{
    int pair[2] = {-1, -1};
    int rc = start_locked();
    if (rc < 0)
        return rc;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    rc = agent_helper_send(nursery_fd, (uint32_t)index, pair[1], MSG_DONTWAIT);
    if (rc < 0) { /* the nursery was killed: another one */
        close(blx_take_fd(&nursery_fd));
        rc = start_locked();
        if (rc == 0)
            rc = agent_helper_send(nursery_fd, (uint32_t)index, pair[1], MSG_DONTWAIT);
    }
    close(pair[1]);
    if (rc < 0) {
        close(pair[0]);
        return rc;
    }
    atomic_store(&places[index].keeps, false);
    helpers[index].socket_fd = pair[0];
    helpers[index].state = IDLE;
    return 0;
}

/* STUCK to IDLE, for those that have answered. */
static void sweep_locked(void)
{
    for (size_t i = 0; i < PLACES; i++) {
        struct helper *helper = &helpers[i];
        uint32_t word;
        int fd;
        if (helper->state != STUCK)
            continue;
        int rc = agent_helper_receive(helper->socket_fd, &word, &fd, MSG_DONTWAIT);
        if (rc == -EAGAIN)
            continue;
        blx_cleanup_fd(&fd);
        char elapsed[BLX_UNIT_TEXT_BYTES];
        uint64_t elapsed_ns = blx_clock_ns() - helper->begun_ns;
        blx_log_notice("%s answers again (after %s)", helper->name,
                       blx_duration_format(elapsed_ns / BLX_NS_PER_MS, elapsed));
        helper->state = IDLE;
        if (rc < 0)
            lose_locked(helper);
    }
}

static const struct helper *find_stuck_locked(const char *name)
{
    for (size_t i = 0; i < PLACES; i++)
        if (helpers[i].state == STUCK && strncmp(helpers[i].name, name, NAME_BYTES - 1) == 0)
            return &helpers[i];
    return NULL;
}

/* Whether it may begin with a call of that name. One that has kept something of another name may
 * hang when it lets go of it, as whatever that names. */
static bool is_free_locked(size_t index, const char *name)
{
    const struct helper *helper = &helpers[index];
    return helper->state == IDLE &&
           (!atomic_load(&places[index].keeps) || strncmp(helper->name, name, NAME_BYTES - 1) == 0);
}

/* The first that is free; otherwise a new one in the first place where there is none; if there is
 * no such place, whoever is idle. */
static int take_locked(const char *name, size_t *index)
{
    size_t absent = PLACES, idle = PLACES, keeping = PLACES;
    for (size_t i = PLACES; i-- > 0;) {
        absent = helpers[i].state == ABSENT ? i : absent;
        idle = is_free_locked(i, name) ? i : idle;
        keeping = helpers[i].state == IDLE ? i : keeping;
    }
    int rc = 0;
    if (idle == PLACES && absent == PLACES)
        idle = keeping;
    if (idle == PLACES && absent < PLACES) {
        rc = fork_helper_locked(absent);
        idle = absent;
    }
    if (rc == -EMFILE || rc == -ENFILE)
        return rc;
    if (idle == PLACES || rc < 0)
        return -EAGAIN;
    struct helper *helper = &helpers[idle];
    helper->state = BUSY;
    helper->begun_ns = blx_clock_ns();
    snprintf(helper->name, sizeof(helper->name), "%s", name);
    *index = idle;
    return 0;
}

/* Whether an answer is there before the time is over. */
static bool wait_for(const struct helper *helper, uint64_t timeout_ms)
{
    uint64_t deadline_ns = blx_deadline_in_ms(timeout_ms);
    bool ends = false;
    for (;;) {
        struct pollfd fds[] = {
            {.fd = helper->socket_fd, .events = POLLIN},
            {.fd = ends ? -1 : end_fd, .events = POLLIN},
        };
        int ready = poll(fds, 2, blx_deadline_poll_ms(deadline_ns));
        if (ready > 0 && fds[0].revents != 0)
            return true;
        if (ready > 0) {
            ends = true;
            uint64_t last_ns = blx_deadline_in_ms(END_MS);
            deadline_ns = deadline_ns < last_ns ? deadline_ns : last_ns;
        } else if (ready == 0 && blx_deadline_left_ms(deadline_ns) == 0) {
            return false;
        }
    }
}

static int take_answer(size_t index, void *arg, struct agent_patience_io *io)
{
    struct agent_helper_place *place = &places[index];
    uint32_t word = AGENT_HELPER_TAKEN;
    int fd = -1, rc = 0;
    bool lost = false; /* a descriptor for which there was no number */
    while (rc == 0 && word == AGENT_HELPER_TAKEN) {
        int one;
        rc = agent_helper_receive(helpers[index].socket_fd, &word, &one, 0);
        if (rc == 0 && word == AGENT_HELPER_TAKEN && one < 0)
            lost = true;
        fd = one >= 0 ? one : fd;
    }
    if (rc < 0) {
        blx_cleanup_fd(&fd);
        return rc;
    }
    memcpy(arg, place->arg, place->call.arg_bytes);
    if (io != NULL && io->data != NULL)
        memcpy(io->data, place->data, io->data_bytes);
    if (io != NULL)
        io->taken_fd = fd;
    else
        blx_cleanup_fd(&fd);
    if (place->rc == 0 && place->call.undo != NULL)
        rc = agent_helper_send(helpers[index].socket_fd, AGENT_HELPER_SETTLED, -1, 0);
    if (rc == 0 && lost)
        rc = -EMFILE;
    if (rc == 0)
        rc = place->rc == -ETIME ? -ETIMEDOUT : place->rc; /* it has answered, whatever it says */
    return rc;
}

/* Gives the call to the helper, and waits. -EPIPE: the helper has died. */
static int run_in(size_t index, const struct agent_patience_call *call, void *arg,
                  struct agent_patience_io *io, uint64_t timeout_ms)
{
    struct agent_helper_place *place = &places[index];
    const struct helper *helper = &helpers[index];
    place->call = *call;
    memcpy(place->arg, arg, call->arg_bytes);
    atomic_store(&place->state, AGENT_HELPER_RUNNING);
    int rc =
        agent_helper_send(helper->socket_fd, AGENT_HELPER_BEGIN, io != NULL ? io->lent_fd : -1, 0);
    if (rc < 0)
        return -EPIPE;
    unsigned expected = AGENT_HELPER_RUNNING;
    if (!wait_for(helper, timeout_ms) &&
        atomic_compare_exchange_strong(&place->state, &expected, AGENT_HELPER_ABANDONED))
        return -ETIME;
    return take_answer(index, arg, io);
}

static void settle(size_t index, int rc)
{
    struct helper *helper = &helpers[index];
    bool died = false;
    if (rc == -EPIPE) {
        struct pollfd end = {.fd = helper->socket_fd};
        died = poll(&end, 1, 0) > 0 && (end.revents & POLLHUP) != 0;
    }
    pthread_mutex_lock(&lock);
    if (died)
        lose_locked(helper);
    else
        helper->state = rc == -ETIME ? STUCK : IDLE;
    pthread_mutex_unlock(&lock);
}

int agent_patience_run(const char *name, const struct agent_patience_call *call, void *arg,
                       struct agent_patience_io *io, uint64_t timeout_ms)
{
    size_t index = 0;
    blx_assert(call->arg_bytes <= AGENT_PATIENCE_ARG_BYTES);
    if (io != NULL)
        io->taken_fd = -1;
    pthread_mutex_lock(&lock);
    sweep_locked();
    const struct helper *stuck = find_stuck_locked(name);
    int rc = stuck != NULL ? -ETIME : take_locked(name, &index);
    pthread_mutex_unlock(&lock);
    if (rc < 0)
        return rc;
    rc = run_in(index, call, arg, io, timeout_ms);
    settle(index, rc);
    if (rc == -ETIME)
        blx_log_warning("%s does not answer: it is left alone until it does", name);
    return rc;
}

uint64_t agent_patience_ask(const char *name)
{
    pthread_mutex_lock(&lock);
    sweep_locked();
    const struct helper *helper = find_stuck_locked(name);
    uint64_t since_ns = helper != NULL ? helper->begun_ns : 0;
    pthread_mutex_unlock(&lock);
    return since_ns != 0 ? blx_clock_ns() - since_ns : 0;
}

bool agent_patience_explain(const char *prefix, char *text, size_t bytes)
{
    const struct helper *longest = NULL;
    char name[NAME_BYTES] = "";
    uint64_t since_ns = 0;
    pthread_mutex_lock(&lock);
    sweep_locked();
    for (size_t i = 0; i < PLACES; i++) {
        if (helpers[i].state == STUCK && strncmp(helpers[i].name, prefix, strlen(prefix)) == 0 &&
            (longest == NULL || helpers[i].begun_ns < longest->begun_ns))
            longest = &helpers[i];
    }
    if (longest != NULL) {
        snprintf(name, sizeof(name), "%s", longest->name);
        since_ns = longest->begun_ns;
    }
    pthread_mutex_unlock(&lock);
    if (since_ns == 0)
        return false;
    uint64_t elapsed_ns = blx_clock_ns() - since_ns;
    time_t since = (time_t)((blx_clock_realtime_ns() - elapsed_ns) / BLX_NS_PER_S);
    struct tm when;
    char clock[16];
    localtime_r(&since, &when);
    strftime(clock, sizeof(clock), "%H:%M:%S", &when);
    snprintf(text, bytes, "%s does not answer since %s", name, clock);
    return true;
}

void agent_patience_set_ms(uint64_t timeout_ms)
{
    atomic_store(&patience_ms, timeout_ms);
}

uint64_t agent_patience_get_ms(void)
{
    return atomic_load(&patience_ms);
}

void agent_patience_stop(void)
{
    pthread_mutex_lock(&lock);
    forget_helpers_locked();
    pthread_mutex_unlock(&lock);
}

void agent_patience_end(void)
{
    if (end_fd >= 0)
        (void)eventfd_write(end_fd, 1); /* the first write to an eventfd cannot fail */
}

void agent_patience_prepare(size_t calls)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < PLACES; i++)
        calls -= helpers[i].state == IDLE && !atomic_load(&places[i].keeps) && calls > 0;
    for (size_t i = 0; i < PLACES && calls > 0; i++)
        if (helpers[i].state == ABSENT && fork_helper_locked(i) == 0)
            calls--;
    pthread_mutex_unlock(&lock);
}
