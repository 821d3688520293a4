#include "network.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>

static atomic_bool armed;
static bool lasting;
static unsigned allowed;
static atomic_uint calls;

void network_arm(unsigned after, bool for_ever)
{
    allowed = after;
    lasting = for_ever;
    atomic_store(&calls, 0);
    atomic_store(&armed, true);
}

bool network_disarm(void)
{
    atomic_store(&armed, false);
    return atomic_load(&calls) > allowed;
}

static bool fails(int code)
{
    if (!atomic_load(&armed))
        return false;
    unsigned call = atomic_fetch_add(&calls, 1);
    if (lasting ? call < allowed : call != allowed)
        return false;
    errno = code;
    return true;
}

/* The linker gives these names; nobody else declares them. */
#define WRAP(type, name, code, parameters, arguments)                                              \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fails(code) ? -1 : __real_##name arguments;                                         \
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
