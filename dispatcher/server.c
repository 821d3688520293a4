/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/server.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "dispatcher/address.h"
#include "dispatcher/session/session.h"

enum { EXHAUSTED_PAUSE_MS = 100 };

static void log_refusal(struct dispatcher *dispatcher, const char *peer, const char *reason)
{
    unsigned held_back = 0;
    if (dispatcher_rate_allow(&dispatcher->refusals, blx_clock_ns(), &held_back))
        blx_log_warning(
            "refused the connection from %s: %s (%u more were refused since the last such line)",
            peer, reason, held_back);
}

static void start_session(struct dispatcher *dispatcher, int fd,
                          const struct sockaddr_storage *address, socklen_t length)
{
    char peer[BLX_TEXT_BYTES] = "an unknown address";
    struct blx_error err = {0};

    dispatcher_address_format(address, length, peer);
    uint64_t source = dispatcher_address_source(address);
    if (dispatcher_session_start(dispatcher, fd, peer, source, &err) < 0)
        log_refusal(dispatcher, peer, err.message);
}

/* Errors of accept() that concern the connection, not us: it was gone before we came. */
static bool is_peers_fault(int code)
{
    return code == EAGAIN || code == EINTR || code == ECONNABORTED || code == EPROTO ||
           code == ENETDOWN || code == EHOSTDOWN || code == EHOSTUNREACH || code == ENETUNREACH ||
           code == ENOPROTOOPT || code == ENONET || code == EOPNOTSUPP || code == EPERM;
}

/* False if the machine is out of some resource: the caller pauses instead of spinning. */
static bool accept_one(struct dispatcher *dispatcher, int listen_fd)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof(address);
    int fd = accept4(listen_fd, (struct sockaddr *)&address, &length, SOCK_CLOEXEC);
    if (fd >= 0) {
        start_session(dispatcher, fd, &address, length);
        return true;
    }
    if (is_peers_fault(errno))
        return true;
    struct blx_error err = {0};
    blx_error_errno(&err, -errno, "accept");
    log_refusal(dispatcher, "the next peer", err.message);
    return false;
}

/* The time-out of poll(): the pause after an exhaustion, the watchdog's turn, or the next look at
 * the certificates. */
static int patience_ms(const struct dispatcher *dispatcher, bool exhausted)
{
    if (exhausted)
        return EXHAUSTED_PAUSE_MS;
    uint64_t turn_ms = blx_watchdog_wait_ns(&dispatcher->watchdog) / 1000000;
    int look_ms = blx_deadline_poll_ms(dispatcher_identity_due_ns(&dispatcher->identity));
    return look_ms >= 0 && (uint64_t)look_ms < turn_ms ? look_ms
           : turn_ms > INT_MAX                         ? -1
                                                       : (int)turn_ms;
}

static void look_at_certificates(struct dispatcher *dispatcher)
{
    if (dispatcher_identity_look(&dispatcher->identity, blx_clock_ns()) == DISPATCHER_IDENTITY_NEW)
        dispatcher_registry_order_authority(&dispatcher->registry);
}

/* Otherwise accept() would block if the connection that poll() saw is gone. */
static int make_non_blocking(int fd, struct blx_error *err)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return blx_error_errno(err, -errno, "making the listening socket non-blocking");
    return 0;
}

int dispatcher_server_run(struct dispatcher *dispatcher, int listen_fd, int stop_fd,
                          struct blx_error *err)
{
    int rc = make_non_blocking(listen_fd, err);
    bool exhausted = false;
    while (rc == 0) {
        struct pollfd fds[] = {
            {.fd = stop_fd, .events = POLLIN},
            {.fd = exhausted ? -1 : listen_fd, .events = POLLIN},
        };
        blx_watchdog_turn(&dispatcher->watchdog, DISPATCHER_HAND_ACCEPT);
        look_at_certificates(dispatcher);
        int ready = poll(fds, 2, patience_ms(dispatcher, exhausted));
        if (ready < 0 && errno != EINTR)
            rc = blx_error_errno(err, -errno, "waiting for connections");
        if (ready > 0 && fds[0].revents != 0)
            return 0;
        exhausted = ready > 0 && fds[1].revents != 0 && !accept_one(dispatcher, listen_fd);
    }
    return rc;
}
