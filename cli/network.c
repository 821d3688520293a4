/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/network.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#define TAKE_THE_ISO "boot the ISO of `blxrep dispatcher rescue-image` instead"

enum { TEXT_BYTES = 64 * 1024, ROUTE_UP = 1, ROUTE_GATEWAY = 2 };

static const char *next_line(const char *text)
{
    const char *end = strchr(text, '\n');
    return end != NULL ? end + 1 : text + strlen(text);
}

int cli_network_find_route(const char *table, struct cli_network *network, struct blx_error *err)
{
    unsigned best = UINT_MAX;
    for (const char *line = next_line(table); *line != '\0'; line = next_line(line)) {
        char interface[IF_NAMESIZE];
        unsigned destination, gateway, flags, metric, mask;
        /* The kernel prints addresses as numbers of its own byte order. */
        if (sscanf(line, "%15s %x %x %x %*d %*u %u %x", interface, &destination, &gateway, &flags,
                   &metric, &mask) != 6)
            continue;
        if (destination != 0 || mask != 0 || (flags & ROUTE_UP) == 0 || metric >= best)
            continue;
        best = metric;
        blx_text_set(network->interface, interface);
        network->gateway.s_addr = (flags & ROUTE_GATEWAY) != 0 ? gateway : 0;
    }
    if (best == UINT_MAX)
        return blx_error_set(err, -ENETUNREACH,
                             "this machine has no default route for IPv4, so the rescue system "
                             "would not reach the dispatcher: " TAKE_THE_ISO);
    return 0;
}

int cli_network_find_servers(const char *text, struct cli_network *network)
{
    int count = 0;
    for (const char *line = text; *line != '\0' && count < CLI_NETWORK_SERVERS;
         line = next_line(line)) {
        char server[INET_ADDRSTRLEN];
        struct in_addr address;
        if (sscanf(line, "nameserver %15s", server) != 1 ||
            inet_pton(AF_INET, server, &address) != 1 || (ntohl(address.s_addr) >> 24) == 127)
            continue;
        blx_text_set(network->servers[count], server);
        count++;
    }
    return count;
}

/* The file's text, or "". */
static char *read_text(const char *path)
{
    char *text = calloc(1, TEXT_BYTES);
    if (text != NULL && blx_file_read_small(AT_FDCWD, path, text, TEXT_BYTES - 1) < 0)
        text[0] = '\0';
    return text;
}

/* A resolver on the machine itself, such as systemd's, has its servers in a file of its own. */
static int find_servers(struct cli_network *network)
{
    static const char *const paths[] = {"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        BLX_CLEANUP_FREE char *text = read_text(paths[i]);
        if (text == NULL)
            return -ENOMEM;
        if (cli_network_find_servers(text, network) > 0)
            break;
    }
    return 0;
}

static int find_address(struct cli_network *network, struct blx_error *err)
{
    struct ifaddrs *all = NULL;
    bool is_found = false;
    if (getifaddrs(&all) != 0)
        return blx_error_errno(err, -errno, "cannot list this machine's addresses");
    for (const struct ifaddrs *one = all; one != NULL && !is_found; one = one->ifa_next) {
        if (one->ifa_addr == NULL || one->ifa_netmask == NULL ||
            one->ifa_addr->sa_family != AF_INET || strcmp(one->ifa_name, network->interface) != 0)
            continue;
        struct sockaddr_in address, mask;
        memcpy(&address, one->ifa_addr, sizeof(address));
        memcpy(&mask, one->ifa_netmask, sizeof(mask));
        network->address = address.sin_addr;
        network->mask = mask.sin_addr;
        is_found = true;
    }
    freeifaddrs(all);
    if (!is_found)
        return blx_error_set(
            err, -ENETUNREACH,
            "'%s', which the default route begins at, has no IPv4 address: " TAKE_THE_ISO,
            network->interface);
    return 0;
}

static bool is_there(const char *interface, const char *name)
{
    char path[PATH_MAX];
    return blx_path_format(path, sizeof(path), NULL, "/sys/class/net/%s/%s", interface, name) ==
               0 &&
           access(path, F_OK) == 0;
}

/* The card itself, or one that a bridge or a bond has. */
static bool find_card(const char *interface, char card[IF_NAMESIZE])
{
    char path[PATH_MAX];
    if (is_there(interface, "device")) {
        blx_text_copy(card, IF_NAMESIZE, interface);
        return true;
    }
    if ((!is_there(interface, "bridge") && !is_there(interface, "bonding")) ||
        blx_path_format(path, sizeof(path), NULL, "/sys/class/net/%s", interface) < 0)
        return false;
    BLX_CLEANUP_DIR DIR *folder = opendir(path);
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        static const char lower[] = "lower_";
        const char *name = entry->d_name + sizeof(lower) - 1;
        if (strncmp(entry->d_name, lower, sizeof(lower) - 1) != 0 || !is_there(name, "device"))
            continue;
        blx_text_copy(card, IF_NAMESIZE, name);
        return true;
    }
    return false;
}

static int find_hardware(struct cli_network *network, struct blx_error *err)
{
    char card[IF_NAMESIZE], path[PATH_MAX];
    if (!find_card(network->interface, card))
        return blx_error_set(err, -EOPNOTSUPP,
                             "the default route begins at '%s', which is no network card, bridge "
                             "or bond: the rescue system does not build such a one; " TAKE_THE_ISO,
                             network->interface);
    int rc = blx_path_format(path, sizeof(path), err, "/sys/class/net/%s/address", card);
    if (rc < 0)
        return rc;
    ssize_t got =
        blx_file_read_small(AT_FDCWD, path, network->hardware, sizeof(network->hardware) - 1);
    network->hardware[got > 0 ? got : 0] = '\0';
    network->hardware[strcspn(network->hardware, "\n")] = '\0';
    return network->hardware[0] != '\0' ? 0 : blx_error_set(err, -EIO, "cannot read '%s'", path);
}

int cli_network_look(struct cli_network *network, struct blx_error *err)
{
    *network = (struct cli_network){0};
    BLX_CLEANUP_FREE char *table = read_text("/proc/net/route");
    if (table == NULL || find_servers(network) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot look at the network");
    if (gethostname(network->host, sizeof(network->host) - 1) != 0)
        network->host[0] = '\0';
    int rc = cli_network_find_route(table, network, err);
    if (rc == 0)
        rc = find_address(network, err);
    return rc == 0 ? find_hardware(network, err) : rc;
}

const char *cli_network_format(const struct cli_network *network,
                               char words[CLI_NETWORK_WORDS_BYTES])
{
    char address[INET_ADDRSTRLEN], mask[INET_ADDRSTRLEN], gateway[INET_ADDRSTRLEN] = "";
    char hardware[sizeof(network->hardware)];
    inet_ntop(AF_INET, &network->address, address, sizeof(address));
    inet_ntop(AF_INET, &network->mask, mask, sizeof(mask));
    if (network->gateway.s_addr != 0)
        inet_ntop(AF_INET, &network->gateway, gateway, sizeof(gateway));
    blx_text_set(hardware, network->hardware);
    for (char *colon = hardware; (colon = strchr(colon, ':')) != NULL;)
        *colon = '-';
    snprintf(words, CLI_NETWORK_WORDS_BYTES, "ip=%s::%s:%s:%s::off:%s:%s BOOTIF=01-%s", address,
             gateway, mask, network->host, network->servers[0], network->servers[1], hardware);
    return words;
}
