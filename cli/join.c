/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep join`: makes this server an agent, with a token from `blxrep enroll --token`. */
#include <errno.h>
#include <stdio.h>

#include "cli/command.h"
#include "config/agent_file.h"
#include "tls/join.h"

/* Writes the settings that the daemon needs to start without flags, unless there are some. */
static int configure(const struct blx_config *config, const char *agent_id, struct blx_error *err)
{
    if (config->device_count == 0) {
        cli_note("this server is now the agent '%s': start blxrep-agent with --id=%s", agent_id,
                 agent_id);
        return 0;
    }
    if (config->config_path != NULL) {
        cli_note("this server is now the agent '%s'; the existing '%s' was not changed: make sure "
                 "that it has id: \"%s\" and names the devices",
                 agent_id, config->config_path, agent_id);
        return 0;
    }
    int rc = blx_agent_file_write(BLX_DEFAULT_CONFIG_PATH, agent_id, config->dispatcher_addr,
                                  config->devices, config->device_count, err);
    if (rc == 0)
        printf("%s\n", BLX_DEFAULT_CONFIG_PATH);
    return rc;
}

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
                      "'%s' names the site's own certificates (tls), and the agent uses those: "
                      "to join instead, remove tls from the file",
                      config->config_path);
        return BLX_EXIT_FAILED;
    }
    if (blx_join(&join, agent_id, err) < 0)
        return BLX_EXIT_FAILED;
    printf("%s\n", config->credentials);
    return configure(config, agent_id, err) < 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}
