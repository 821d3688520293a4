/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/address.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tls/tls.h"

enum { HOST_BYTES = 256, PORT_BYTES = 8 };

/* The name by which others are likely to know this machine. */
static void own_host(char host[HOST_BYTES])
{
    const struct addrinfo hints = {.ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    if (gethostname(host, HOST_BYTES) < 0)
        snprintf(host, HOST_BYTES, "HOST");
    host[HOST_BYTES - 1] = '\0';
    if (getaddrinfo(host, NULL, &hints, &list) != 0)
        return;
    if (list->ai_canonname != NULL && strcmp(list->ai_canonname, "localhost") != 0)
        snprintf(host, HOST_BYTES, "%s", list->ai_canonname);
    freeaddrinfo(list);
}

bool cli_address_guess(const struct blx_config *config, char address[CLI_ADDRESS_BYTES])
{
    char host[HOST_BYTES], port[PORT_BYTES];
    if (config->dispatcher_addr != NULL) {
        snprintf(address, CLI_ADDRESS_BYTES, "%s", config->dispatcher_addr);
        return false;
    }
    if (blx_address_split(config->listen, host, port, NULL) < 0)
        snprintf(port, sizeof(port), "%d", BLX_DEFAULT_PORT);
    own_host(host);
    snprintf(address, CLI_ADDRESS_BYTES, "%s:%s", host, port);
    return true;
}
