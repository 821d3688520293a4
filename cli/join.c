/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep agent join`: makes this server an agent, with a token from `enroll --token`. */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/secret.h"
#include "config/agent_file.h"
#include "tls/join.h"

enum { TOKEN_LINE_BYTES = 512 };

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

static int check_usage(const struct blx_config *config, struct blx_error *err)
{
    if (config->token != NULL && config->token_file != NULL)
        return blx_error_set(err, -EINVAL,
                             "--token and --token-file exclude each other: leave out --token");
    if (config->token == NULL && config->token_file == NULL && isatty(STDIN_FILENO) != 1)
        return blx_error_set(err, -EINVAL,
                             "--token-file=FILE is missing, and there is no terminal to ask on: "
                             "--token-file=- reads the token from the standard input");
    return 0;
}

static int read_token(const struct blx_config *config, char token[TOKEN_LINE_BYTES],
                      struct blx_error *err)
{
    if (config->token == NULL)
        return cli_secret_read(config->token_file, "Token: ", token, TOKEN_LINE_BYTES, err);
    snprintf(token, TOKEN_LINE_BYTES, "%s", config->token);
    OPENSSL_cleanse(config->token, strlen(config->token));
    return 0;
}

static int join(const struct blx_config *config, char agent_id[BLX_NAME_BYTES],
                struct blx_error *err)
{
    char token[TOKEN_LINE_BYTES];
    const struct blx_join how = {
        .address = config->dispatcher_addr,
        .token = token,
        .credentials = config->credentials,
        .replace = config->force,
    };
    int rc = read_token(config, token, err);
    if (rc == 0)
        rc = blx_join(&how, agent_id, err);
    OPENSSL_cleanse(token, sizeof(token));
    return rc;
}

enum blx_exit cli_join(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    char agent_id[BLX_NAME_BYTES];
    cli_secret_wipe(request->argc, request->argv, "--token");
    if (check_usage(config, err) < 0)
        return BLX_EXIT_USAGE;
    if (config->tls.ca != NULL) {
        blx_error_set(err, -EINVAL,
                      "'%s' names the site's own certificates (tls), and the agent uses those: "
                      "to join instead, remove tls from the file",
                      config->config_path);
        return BLX_EXIT_FAILED;
    }
    if (join(config, agent_id, err) < 0)
        return BLX_EXIT_FAILED;
    printf("%s\n", config->credentials);
    return configure(config, agent_id, err) < 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}
