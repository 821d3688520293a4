/* SPDX-License-Identifier: Apache-2.0 */
/* The processes that make foreign calls in the agent's stead (patience.h). */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/disk/patience_private.h"
#include "base/cleanup.h"
#include "base/io.h"

enum { SOCKET_FD = 3, FIRST_FREE_FD = 4 };

/* The control part of a message with one descriptor. */
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

int agent_helper_send(int socket_fd, uint32_t word, int fd, int flags)
{
    union control control = {.bytes = {0}};
    struct iovec iov = {.iov_base = &word, .iov_len = sizeof(word)};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    }
    while (sendmsg(socket_fd, &message, MSG_NOSIGNAL | flags) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

int agent_helper_receive(int socket_fd, uint32_t *word, int *fd, int flags)
{
    union control control;
    struct iovec iov = {.iov_base = word, .iov_len = sizeof(*word)};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    ssize_t got;
    *fd = -1;
    do
        got = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC | flags);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == ECONNRESET ? -EPIPE : -errno;
    const struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
        c->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(fd, CMSG_DATA(c), sizeof(*fd));
    return got == sizeof(*word) ? 0 : -EPIPE;
}

static void drop(int *fd)
{
    blx_cleanup_fd(fd);
    *fd = -1;
}

/* Before the caller goes on nothing is held here that it may want to see closed. */
static int tell(int socket_fd, bool gives, bool keeps, struct agent_patience_io *io)
{
    int rc = 0;
    if (gives && io->taken_fd >= 0)
        rc = agent_helper_send(socket_fd, AGENT_HELPER_TAKEN, io->taken_fd, 0);
    drop(&io->taken_fd);
    if (!keeps)
        drop(&io->lent_fd);
    return rc < 0 ? rc : agent_helper_send(socket_fd, AGENT_HELPER_ENDED, -1, 0);
}

/* False: the agent has ended. */
static bool answer(struct agent_helper_place *place, int socket_fd, struct agent_patience_io *io)
{
    unsigned expected = AGENT_HELPER_RUNNING;
    bool owes = place->rc == 0 && place->call.undo != NULL;
    bool in_time = atomic_compare_exchange_strong(&place->state, &expected, AGENT_HELPER_DONE);
    if (!in_time && owes)
        place->call.undo(place->arg, io);
    owes = owes && in_time;
    int rc = tell(socket_fd, in_time, owes, io);
    uint32_t word;
    int none;
    if (rc == 0 && owes)
        rc = agent_helper_receive(socket_fd, &word, &none, 0);
    if (rc < 0 && owes)
        place->call.undo(place->arg, io);
    drop(&io->lent_fd);
    return rc == 0;
}

/* Lets go of what a call has kept, unless the next one comes soon. */
static void rest(int socket_fd, struct agent_helper_place *place, void (**let_go)(void))
{
    struct pollfd next = {.fd = socket_fd, .events = POLLIN};
    if (*let_go == NULL || poll(&next, 1, AGENT_PATIENCE_REST_MS) > 0)
        return;
    (*let_go)();
    *let_go = NULL;
    atomic_store(&place->keeps, false);
}

static _Noreturn void help(int socket_fd, struct agent_helper_place *place)
{
    uint32_t word;
    struct agent_patience_io io = {.taken_fd = -1, .data = place->data};
    void (*let_go)(void) = NULL;
    bool goes_on = true;
    while (goes_on && agent_helper_receive(socket_fd, &word, &io.lent_fd, 0) == 0) {
        if (let_go != NULL && let_go != place->call.rest)
            let_go(); /* the next call may hang */
        let_go = place->call.rest;
        place->rc = place->call.run(place->arg, &io);
        atomic_store(&place->keeps, let_go != NULL);
        goes_on = answer(place, socket_fd, &io);
        rest(socket_fd, place, &let_go);
    }
    _exit(0);
}

/* Leaves nothing of the agent's open but the socket. */
static void drop_descriptors(int socket_fd)
{
    if (socket_fd != SOCKET_FD && dup2(socket_fd, SOCKET_FD) < 0)
        _exit(1);
    blx_close_from(FIRST_FREE_FD);
}

_Noreturn void agent_helper_nurse(int socket_fd, struct agent_helper_place *places)
{
    sigset_t all;
    sigfillset(&all); /* the agent's end is the end, not a signal to its group */
    sigprocmask(SIG_SETMASK, &all, NULL);
    signal(SIGCHLD, SIG_IGN); /* nobody waits for a helper */
    drop_descriptors(socket_fd);
    prctl(PR_SET_NAME, "blxrep-helper");
    uint32_t index;
    int fd;
    while (agent_helper_receive(SOCKET_FD, &index, &fd, 0) == 0) {
        if (fork() == 0) {
            close(SOCKET_FD);
            help(fd, &places[index]);
        }
        blx_cleanup_fd(&fd);
    }
    _exit(0);
}
