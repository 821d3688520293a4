/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/address.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

int dispatcher_address_format(const struct sockaddr_storage *address, socklen_t length,
                              char text[BLX_TEXT_BYTES])
{
    char host[64], port[8];
    struct sockaddr_storage plain = *address;

    /* An IPv4 peer of an IPv6 socket is better known by its IPv4 address. */
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    if (address->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = v6->sin6_port};
        memcpy(&v4.sin_addr, &v6->sin6_addr.s6_addr[12], sizeof(v4.sin_addr));
        memcpy(&plain, &v4, sizeof(v4));
        length = sizeof(v4);
    }
    int rc = getnameinfo((struct sockaddr *)&plain, length, host, sizeof(host), port, sizeof(port),
                         NI_NUMERICHOST | NI_NUMERICSERV);
    if (rc != 0)
        return -EAFNOSUPPORT;
    snprintf(text, BLX_TEXT_BYTES, plain.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    return 0;
}

uint64_t dispatcher_address_source(const struct sockaddr_storage *address)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    /* No IPv6 address begins with these 32 bits. */
    static const uint64_t is_v4 = UINT64_C(0xffffffff) << 32;
    uint64_t source = 0;
    if (address->ss_family == AF_INET)
        return is_v4 | ntohl(v4->sin_addr.s_addr);
    if (address->ss_family != AF_INET6)
        return 0;
    bool mapped = IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
    for (int i = 0; i < (mapped ? 4 : 8); i++)
        source = source << 8 | v6->sin6_addr.s6_addr[mapped ? 12 + i : i];
    return mapped ? is_v4 | source : source;
}

int dispatcher_address_format_local(int fd, char text[BLX_TEXT_BYTES], struct blx_error *err)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        return blx_error_errno(err, -errno, "asking for the address of the listening socket");
    int rc = dispatcher_address_format(&address, length, text);
    return rc < 0 ? blx_error_errno(err, rc, "writing the address of the listening socket") : 0;
}
