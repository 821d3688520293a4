/* SPDX-License-Identifier: Apache-2.0 */
#include "network.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "counter.h"

static struct fault_counter counter;

void network_arm(unsigned after, bool for_ever)
{
    fault_counter_arm(&counter, after, for_ever);
}

bool network_disarm(void)
{
    return fault_counter_disarm(&counter);
}

/* The linker gives these names; nobody else declares them. */
#define WRAP(type, name, code, parameters, arguments)                                              \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fault_counter_hit(&counter, code) ? -1 : __real_##name arguments;                   \
    }

WRAP(int, socket, EMFILE, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(int, bind, EADDRINUSE, (int fd, const struct sockaddr *to, socklen_t bytes), (fd, to, bytes))
WRAP(int, listen, EADDRINUSE, (int fd, int backlog), (fd, backlog))
WRAP(int, connect, ECONNREFUSED, (int fd, const struct sockaddr *to, socklen_t bytes),
     (fd, to, bytes))
WRAP(int, getsockopt, ENOBUFS, (int fd, int level, int name, void *value, socklen_t *bytes),
     (fd, level, name, value, bytes))
WRAP(int, setsockopt, ENOBUFS, (int fd, int level, int name, const void *value, socklen_t bytes),
     (fd, level, name, value, bytes))
WRAP(int, shutdown, ENOTCONN, (int fd, int how), (fd, how))
WRAP(int, poll, ENOMEM, (struct pollfd * fds, nfds_t count, int timeout), (fds, count, timeout))
WRAP(ssize_t, recv, ECONNRESET, (int fd, void *data, size_t bytes, int flags),
     (fd, data, bytes, flags))
WRAP(ssize_t, send, ECONNRESET, (int fd, const void *data, size_t bytes, int flags),
     (fd, data, bytes, flags))
WRAP(ssize_t, sendmsg, ECONNRESET, (int fd, const struct msghdr *message, int flags),
     (fd, message, flags))
WRAP(ssize_t, sendto, ECONNREFUSED,
     (int fd, const void *data, size_t bytes, int flags, const struct sockaddr *to,
      socklen_t length),
     (fd, data, bytes, flags, to, length))
