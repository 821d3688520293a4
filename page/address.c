/* SPDX-License-Identifier: Apache-2.0 */
#include "page/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tls/tls.h"

#define LOOPBACK "127.0.0.1"

void page_address_name(const char *listen, char name[PAGE_HOST_BYTES])
{
    char host[256], port[8], own[256] = "";
    const bool all = blx_address_split(listen, host, port, NULL) == 0 &&
                     (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0);
    if (all && gethostname(own, sizeof(own) - 1) == 0)
        snprintf(name, PAGE_HOST_BYTES, "%s:%s", own, port);
    else
        snprintf(name, PAGE_HOST_BYTES, "%s%s", listen[0] == ':' ? LOOPBACK : "", listen);
}

const char *page_address_port(const char *listen)
{
    const char *colon = strrchr(listen, ':');
    return colon != NULL ? colon + 1 : listen;
}

bool page_address_is_loopback(const char *listen)
{
    char host[256], port[8];
    struct in_addr four;
    if (blx_address_split(listen, host, port, NULL) < 0)
        return false;
    if (inet_pton(AF_INET, host, &four) == 1)
        return (ntohl(four.s_addr) >> 24) == 127;
    return host[0] == '\0' || strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0;
}

bool page_address_answers(const char *listen)
{
    char host[256], port[8];
    struct addrinfo *found = NULL;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    if (blx_address_split(listen, host, port, NULL) < 0 ||
        getaddrinfo(host[0] != '\0' ? host : LOOPBACK, port, &hints, &found) != 0)
        return false;
    BLX_CLEANUP_FD int fd =
        socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
    bool answers = fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) == 0;
    freeaddrinfo(found);
    return answers;
}
