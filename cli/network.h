/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's way to the network, as the kernel's command line says it to the system that comes
 * after a takeover. Private to the command.
 *
 * Threads: one. Does not block.
 */
#pragma once

#include <net/if.h>
#include <netinet/in.h>

#include "base/error.h"

enum { CLI_NETWORK_SERVERS = 2, CLI_NETWORK_WORDS_BYTES = 512 };

struct cli_network {
    char interface[IF_NAMESIZE]; /* of the default route */
    char hardware[32];           /* "52:54:00:12:34:56" of the network card below it */
    char host[64];
    struct in_addr address, mask, gateway;              /* gateway 0.0.0.0: none is needed */
    char servers[CLI_NETWORK_SERVERS][INET_ADDRSTRLEN]; /* DNS; "": none */
};

/*
 * Looks at the route with the lowest metric to everywhere. -ENETUNREACH if there is none for IPv4,
 * -EOPNOTSUPP if it begins at something that the rescue system does not build, such as a VLAN.
 */
int cli_network_look(struct cli_network *network, struct blx_error *err);

/* The text of /proc/net/route: the interface and the gateway of the default route. -ENETUNREACH. */
int cli_network_find_route(const char *table, struct cli_network *network, struct blx_error *err);

/* The text of a resolv.conf: its first name servers that another machine can reach. Returns how
 * many. */
int cli_network_find_servers(const char *text, struct cli_network *network);

/* "ip=10.0.0.5::10.0.0.1:255.255.255.0:web1::off:10.0.0.2: BOOTIF=01-52-54-00-12-34-56", as the
 * kernel's own documentation and PXELINUX have it. Returns `words`. */
const char *cli_network_format(const struct cli_network *network,
                               char words[CLI_NETWORK_WORDS_BYTES]);
