#include <errno.h>
#include <stdio.h>

#include "cli/command.h"
#include "tls/join.h"

enum blx_exit cli_join(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    const struct blx_join join = {
        .address = config->dispatcher_addr,
        .token = config->token,
        .credentials = config->credentials,
        .replace = config->force,
    };
    char agent_id[BLX_NAME_BYTES];
    if (config->tls.ca != NULL) {
        blx_error_set(err, -EINVAL,
                      "'%s' names the site's own certificates (tls), which the agent uses: there "
                      "is nothing to join for",
                      config->config_path);
        return BLX_EXIT_FAILED;
    }
    if (blx_join(&join, agent_id, err) < 0)
        return BLX_EXIT_FAILED;
    printf("%s\n", config->credentials);
    cli_note("this server is the agent '%s' now: start it with --id=%s", agent_id, agent_id);
    return BLX_EXIT_OK;
}
