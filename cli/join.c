/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep agent join`: makes this server an agent, with a token from `enroll --token`. */
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/secret.h"
#include "config/agent_file.h"
#include "tls/join.h"

enum { TOKEN_LINE_BYTES = 512 };

/* What the configuration file says itself, without this command's flags. */
static int read_file(const char *path, struct blx_config *file, struct blx_error *err)
{
    char flag[PATH_MAX + sizeof("--config=")];
    char *words[] = {(char[]){"join"}, flag};
    enum blx_config_result result;
    snprintf(flag, sizeof(flag), "--config=%s", path);
    return blx_config_load(BLX_COMMAND_AGENT, 2, words, file, &result, err);
}

/* A line that the agent's file must have, and that only a person can write there. */
static void wish(FILE *out, const char *key, const char *value)
{
    fprintf(out, "%s%s: \"%s\"", ftell(out) > 0 ? ", " : "", key, value);
}

static bool differs(const char *has, const char *wanted)
{
    return has != NULL && strcmp(has, wanted) != 0;
}

/* Adds to an existing file what it lacks; what contradicts is left, and wished for. */
static int complete(const struct blx_config *config, struct blx_agent_settings settings,
                    FILE *wishes, struct blx_error *err)
{
    BLX_CLEANUP_CONFIG struct blx_config file = {0};
    int rc = read_file(config->config_path, &file, err);
    if (rc < 0)
        return rc;
    if (differs(file.id, settings.id))
        wish(wishes, "id", settings.id);
    if (differs(file.dispatcher_addr, settings.dispatcher_addr))
        wish(wishes, "dispatcher-addr", settings.dispatcher_addr);
    if (differs(file.credentials, config->credentials))
        wish(wishes, "credentials", config->credentials);
    for (size_t i = 0; file.device_count > 0 && i < settings.device_count; i++) {
        bool has = false;
        for (size_t j = 0; j < file.device_count; j++)
            has = has || strcmp(file.devices[j], settings.devices[i]) == 0;
        if (!has)
            wish(wishes, "device", settings.devices[i]);
    }
    settings.credentials = NULL;
    if (file.id != NULL)
        settings.id = NULL;
    if (file.dispatcher_addr != NULL)
        settings.dispatcher_addr = NULL;
    if (file.device_count > 0)
        settings.device_count = 0;
    else if (settings.device_count == 0)
        wish(wishes, "device", "/dev/vda");
    if (settings.id == NULL && settings.dispatcher_addr == NULL && settings.device_count == 0)
        return 0;
    rc = blx_agent_file_complete(config->config_path, &settings, err);
    if (rc == 0)
        printf("%s\n", config->config_path);
    return rc;
}

/* Makes a file, if the devices are known; without them it would be of no use. */
static int begin(const struct blx_config *config, const struct blx_agent_settings *settings,
                 FILE *wishes, struct blx_error *err)
{
    if (settings->device_count > 0) {
        int rc = blx_agent_file_write(BLX_DEFAULT_CONFIG_PATH, settings, err);
        if (rc == 0)
            printf("%s\n", BLX_DEFAULT_CONFIG_PATH);
        return rc;
    }
    wish(wishes, "id", settings->id);
    wish(wishes, "dispatcher-addr", settings->dispatcher_addr);
    wish(wishes, "device", "/dev/vda");
    if (settings->credentials != NULL)
        wish(wishes, "credentials", config->credentials);
    return 0;
}

/* Gives the daemon's file what it needs to start without flags, and says what comes next. */
static int configure(const struct blx_config *config, const char *agent_id, struct blx_error *err)
{
    const char *path = config->config_path != NULL ? config->config_path : BLX_DEFAULT_CONFIG_PATH;
    const struct blx_agent_settings settings = {
        .id = agent_id,
        .dispatcher_addr = config->dispatcher_addr,
        .credentials =
            differs(config->credentials, BLX_DEFAULT_CREDENTIALS_PATH) ? config->credentials : NULL,
        .devices = config->devices,
        .device_count = config->device_count};
    BLX_CLEANUP_FREE char *missing = NULL;
    size_t bytes = 0;
    FILE *wishes = open_memstream(&missing, &bytes);
    if (wishes == NULL)
        return blx_error_errno(err, -errno, "cannot configure the agent '%s'", agent_id);
    int rc = config->config_path != NULL ? complete(config, settings, wishes, err)
                                         : begin(config, &settings, wishes, err);
    fclose(wishes);
    if (rc < 0)
        return rc;
    cli_note("this server is now the agent '%s'", agent_id);
    if (bytes > 0)
        cli_note("next: write into '%s': %s", path, missing);
    cli_note("%s systemctl enable --now blxrep-agent", bytes > 0 ? "then:" : "next:");
    return 0;
}

/* Whether a disk is there that the word means: a path or a pattern of paths. */
static bool is_there(const char *word)
{
    glob_t found;
    struct stat st;
    if (strcmp(word, "all") == 0)
        return true;
    if (glob(word, GLOB_NOSORT, NULL, &found) != 0)
        return false;
    bool there = false;
    for (size_t i = 0; i < found.gl_pathc; i++)
        there = there || (stat(found.gl_pathv[i], &st) == 0 && S_ISBLK(st.st_mode));
    globfree(&found);
    return there;
}

/* Before the token is used up. */
static int check_devices(const struct blx_config *config, struct blx_error *err)
{
    for (size_t i = 0; !config->force && i < config->device_count; i++) {
        if (!is_there(config->devices[i]))
            return blx_error_set(err, -ENODEV,
                                 "there is no block device '%s': `lsblk` lists the disks; --force "
                                 "joins all the same, for one that comes later",
                                 config->devices[i]);
    }
    return 0;
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
    if (check_devices(config, err) < 0 || join(config, agent_id, err) < 0)
        return BLX_EXIT_FAILED;
    printf("%s\n", config->credentials);
    return configure(config, agent_id, err) < 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}
