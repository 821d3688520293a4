/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/address_private.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "tls/tls.h"
#include "wire/wait.h"

static void cleanup_addrinfo(struct addrinfo **list)
{
    if (*list != NULL)
        freeaddrinfo(*list);
}

static int bad_address(const char *address, const char *why, struct blx_error *err)
{
    return blx_error_set(err, -EINVAL,
                         "'%.80s' is not an address: %s; write HOST:PORT or [IPV6]:PORT", address,
                         why);
}

/* Finds the host and the port in the address; `port` becomes NULL if there is none. NULL, or why it
 * is not an address. */
static const char *find_parts(const char *address, const char **host, size_t *host_bytes,
                              const char **port)
{
    const char *colon = strchr(address, ':');
    *host = address;
    *port = NULL;
    if (address[0] == '[') {
        const char *end = strchr(address, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':'))
            return "its '[' is not closed";
        *host = address + 1;
        *host_bytes = (size_t)(end - *host);
        *port = end[1] == ':' ? end + 2 : NULL;
        return *host_bytes == 0 ? "its host is empty" : NULL;
    }
    if (colon != NULL && strchr(colon + 1, ':') != NULL)
        return "an IPv6 address needs brackets";
    *host_bytes = colon == NULL ? strlen(address) : (size_t)(colon - address);
    *port = colon == NULL ? NULL : colon + 1;
    return *host_bytes == 0 && colon == NULL ? "it is empty" : NULL;
}

static const char *check_port(const char *port)
{
    size_t digits = strspn(port, "0123456789");
    if (digits == 0 || port[digits] != '\0' || digits > 5 || strtol(port, NULL, 10) > 65535)
        return "its port is not a number from 0 to 65535";
    return NULL;
}

int blx_address_split(const char *address, char host[256], char port[8], struct blx_error *err)
{
    const char *host_at = NULL;
    const char *port_at = NULL;
    size_t host_bytes = 0;
    const char *why = find_parts(address, &host_at, &host_bytes, &port_at);
    if (why == NULL && port_at != NULL)
        why = check_port(port_at);
    if (why == NULL && host_bytes >= BLX_HOST_BYTES)
        why = "its host is too long";
    for (size_t i = 0; why == NULL && i < host_bytes; i++) {
        if (host_at[i] <= ' ' || host_at[i] >= 0x7f || host_at[i] == '/')
            why = "its host has a character that is not allowed there";
    }
    if (why != NULL)
        return bad_address(address, why, err);
    memcpy(host, host_at, host_bytes);
    host[host_bytes] = '\0';
    if (port_at == NULL)
        snprintf(port, BLX_PORT_BYTES, "%d", BLX_DEFAULT_PORT);
    else
        blx_text_copy(port, BLX_PORT_BYTES, port_at);
    return 0;
}

bool blx_address_pick(const char *list, size_t index, char one[BLX_ADDRESS_BYTES])
{
    for (; index > 0; index--) {
        list = strchr(list, ',');
        if (list == NULL)
            return false;
        list++;
    }
    list += strspn(list, " ");
    size_t length = strcspn(list, ",");
    while (length > 0 && list[length - 1] == ' ')
        length--;
    snprintf(one, BLX_ADDRESS_BYTES, "%.*s", (int)(length < INT_MAX ? length : INT_MAX), list);
    return true;
}

size_t blx_address_count(const char *list)
{
    size_t count = 1;
    for (const char *at = list; (at = strchr(at, ',')) != NULL; at++)
        count++;
    return count;
}

static int resolve(const char *host, const char *port, int family, int flags,
                   struct addrinfo **list, struct blx_error *err)
{
    const struct addrinfo hints = {
        .ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    int rc = getaddrinfo(host[0] == '\0' ? NULL : host, port, &hints, list);
    if (rc == 0)
        return 0;
    return blx_error_set(err, rc == EAI_AGAIN ? -EAGAIN : -EHOSTUNREACH,
                         "cannot find the host '%s': %s", host, gai_strerror(rc));
}

static int listen_on(const struct addrinfo *at)
{
    BLX_CLEANUP_FD int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    const int on = 1;
    const int off = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    /* "All addresses" includes those of IPv4, even if net.ipv6.bindv6only is set. */
    if (at->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, at->ai_addr, at->ai_addrlen) < 0 || listen(fd, SOMAXCONN) < 0)
        return -errno;
    return blx_take_fd(&fd);
}

/* Listens on the first address of the list that works. An address whose port is taken is an error:
 * it is not skipped. */
static int listen_first(const struct addrinfo *list)
{
    int rc = -EADDRNOTAVAIL;
    for (const struct addrinfo *at = list; at != NULL; at = at->ai_next) {
        rc = listen_on(at);
        if (rc >= 0 || rc == -EADDRINUSE)
            break;
    }
    return rc;
}

static int listen_error(const char *address, const char *port, int rc, struct blx_error *err)
{
    if (rc == -EADDRINUSE)
        return blx_error_set(err, rc,
                             "cannot listen on '%s': port %s is taken by another program; stop it "
                             "or choose another with --listen=HOST:PORT",
                             address, port);
    if (rc == -EADDRNOTAVAIL)
        return blx_error_set(err, rc, "cannot listen on '%s': this machine has no such address",
                             address);
    return blx_error_errno(err, rc, "cannot listen on '%s'", address);
}

int blx_address_listen(const char *address, struct blx_error *err)
{
    char host[BLX_HOST_BYTES];
    char port[BLX_PORT_BYTES];
    int rc = blx_address_split(address, host, port, err);
    if (rc < 0)
        return rc;
    BLX_CLEANUP(cleanup_addrinfo) struct addrinfo *list = NULL;
    if (host[0] != '\0') {
        rc = resolve(host, port, AF_UNSPEC, AI_PASSIVE, &list, err);
        if (rc == 0)
            rc = listen_first(list);
    } else {
        const struct sockaddr_in6 all6 = {.sin6_family = AF_INET6,
                                          .sin6_port = htons((uint16_t)atoi(port))};
        const struct addrinfo both = {.ai_family = AF_INET6,
                                      .ai_addr = (struct sockaddr *)(uintptr_t)&all6,
                                      .ai_addrlen = sizeof(all6)};
        rc = listen_first(&both);
        /* The machine has no IPv6. */
        if (rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL) {
            rc = resolve(host, port, AF_INET, AI_PASSIVE, &list, err);
            if (rc == 0)
                rc = listen_first(list);
        }
    }
    return rc < 0 ? listen_error(address, port, rc, err) : rc;
}

static int dial_one(const struct addrinfo *to, uint64_t deadline_ns)
{
    BLX_CLEANUP_FD int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, to->ai_addr, to->ai_addrlen) < 0) {
        if (errno != EINPROGRESS)
            return -errno;
        int rc = blx_wait_fd(fd, POLLOUT, deadline_ns);
        if (rc < 0)
            return rc;
        int failure = 0;
        socklen_t length = sizeof(failure);
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &length) < 0)
            return -errno;
        if (failure != 0)
            return -failure;
    }
    return blx_take_fd(&fd);
}

/* Each address gets its share of the time that is left, so that a silent first address does not use
 * up the others' time. */
static int dial_all(const struct addrinfo *list, uint64_t deadline_ns)
{
    uint64_t left = 0;
    for (const struct addrinfo *at = list; at != NULL; at = at->ai_next)
        left++;
    int rc = -EHOSTUNREACH;
    for (const struct addrinfo *at = list; at != NULL; at = at->ai_next, left--) {
        uint64_t now = blx_clock_ns();
        uint64_t until = deadline_ns;
        if (deadline_ns != BLX_FOR_EVER && deadline_ns > now)
            until = now + (deadline_ns - now) / left;
        rc = dial_one(at, until);
        if (rc >= 0)
            return rc;
    }
    return rc;
}

int blx_address_dial(const char *address, uint64_t deadline_ns, char host[BLX_HOST_BYTES],
                     struct blx_error *err)
{
    char port[BLX_PORT_BYTES];
    int rc = blx_address_split(address, host, port, err);
    if (rc < 0)
        return rc;
    if (host[0] == '\0' || strtol(port, NULL, 10) == 0)
        return bad_address(address, "it has no host or no port to connect to", err);
    BLX_CLEANUP(cleanup_addrinfo) struct addrinfo *list = NULL;
    rc = resolve(host, port, AF_UNSPEC, AI_ADDRCONFIG, &list, err);
    if (rc < 0)
        return rc;
    rc = dial_all(list, deadline_ns);
    if (rc == -ECONNREFUSED)
        return blx_error_set(err, rc,
                             "cannot connect to '%s': nothing listens there; is the dispatcher "
                             "running, and is the port right?",
                             address);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot connect to '%s'", address);
    return rc;
}
