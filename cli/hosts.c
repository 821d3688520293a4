/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/hosts.h"

#include <string.h>

#include "base/timestamp.h"
#include "base/when.h"
#include "cli/describe.h"

static const char *format_role(enum blx_host_role role)
{
    switch (role) {
    case BLX_HOST_STANDBY:
        return "is a STANDBY";
    case BLX_HOST_SHARES:
        return "shares the data directory";
    default:
        return "has the data directory alone";
    }
}

/* How many agents it has now; only of those that share the directory is this known. */
static size_t count_agents(const struct cli_agents *agents, const struct blx_control_host *host)
{
    size_t count = 0;
    for (size_t i = 0; i < agents->place_count; i++)
        count += strcmp(agents->places[i].host, host->name) == 0;
    for (size_t i = 0; host == &agents->hosts[0] && i < agents->count; i++)
        count += agents->list[i].status.state != BLX_AGENT_OFFLINE &&
                 cli_agents_find_place(agents, agents->list[i].agent_id) == NULL;
    return count;
}

size_t cli_hosts_print(const struct cli_agents *agents, FILE *out)
{
    char since[BLX_WHEN_TEXT_BYTES];
    for (size_t i = 0; out != NULL && i < agents->host_count; i++) {
        const struct blx_control_host *host = &agents->hosts[i];
        const char *verb = host->role == BLX_HOST_STANDBY ? "would listen on" : "listens on";
        blx_when_format(host->since, BLX_ZONE_LOCAL, since);
        fprintf(out, "dispatcher '%s'%s %s since %s and %s '%s'", host->name,
                i == 0 ? " (this one)" : "", format_role(host->role), since, verb, host->listen);
        if (host->role == BLX_HOST_SHARES) {
            size_t count = count_agents(agents, host);
            fprintf(out, ": %zu agent%s", count, cli_plural(count));
        }
        fputs("\n", out);
    }
    return agents->host_count;
}
