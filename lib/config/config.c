/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "base/version.h"
#include "config/option_private.h"

void blx_config_done(struct blx_config *config)
{
    for (size_t i = 0; blx_option_at(i) != NULL; i++)
        blx_option_clear(blx_option_at(i), config);
    for (size_t i = 0; i < config->source.agent_count; i++)
        free(config->source.agents[i]);
    free(config->source.agents);
    for (size_t i = 0; i < config->object_store.agent_count; i++)
        free(config->object_store.agents[i]);
    free(config->object_store.agents);
    char *texts[] = {config->config_path,
                     config->id,
                     config->dispatcher_addr,
                     config->data_dir,
                     config->listen,
                     config->credentials,
                     config->run_dir,
                     config->save_file,
                     config->shutdown,
                     config->pre_freeze,
                     config->post_thaw,
                     config->tls.ca,
                     config->tls.cert,
                     config->tls.key,
                     config->agent,
                     config->checkpoint,
                     config->compare,
                     config->output,
                     config->check_key,
                     config->print_key,
                     config->start,
                     config->end,
                     config->token,
                     config->to,
                     config->cache_dir,
                     config->metrics_listen,
                     config->page_listen,
                     config->on_event,
                     config->on_heartbeat,
                     config->policy_dir,
                     config->encryption_key,
                     config->token_file,
                     config->state_dir,
                     config->mountpoint,
                     config->writable,
                     config->action,
                     config->from,
                     config->copier,
                     config->copier_credentials,
                     config->source.addr,
                     config->source.credentials,
                     config->object_store.url,
                     config->object_store.region,
                     config->object_store.credentials,
                     config->object_store.ca,
                     config->object_store.recovery_key,
                     config->kept,
                     config->vnc,
                     config->overlay,
                     config->expect,
                     config->test_command,
                     config->kernel_dir,
                     config->kernel_package,
                     config->pxe_dir,
                     config->rescue_dir};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        free(texts[i]);
    *config = (struct blx_config){0};
}

struct blx_tls_files blx_config_agent_files(const struct blx_config *config)
{
    const char *bundle = config->credentials;
    if (config->tls.ca == NULL)
        return (struct blx_tls_files){.ca = bundle, .cert = bundle, .key = bundle};
    return (struct blx_tls_files){
        .ca = config->tls.ca, .cert = config->tls.cert, .key = config->tls.key};
}

static int apply_defaults(struct blx_config *config, struct blx_error *err)
{
    for (size_t i = 0; blx_option_at(i) != NULL; i++) {
        const struct blx_option *option = blx_option_at(i);
        int rc =
            option->fallback == NULL ? 0 : blx_option_set(option, option->fallback, config, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* The default file need not exist; a file that was named must. */
static int apply_file(const char *named, struct blx_config *config, struct blx_error *err)
{
    const char *path = named != NULL ? named : BLX_DEFAULT_CONFIG_PATH;
    struct blx_error cause = {0};
    int rc = blx_config_file_apply(path, config, &config->config_lines, &cause);
    if (rc == -ENOENT && named == NULL)
        return 0;
    if (rc < 0)
        return blx_error_copy(err, rc, &cause);
    config->config_path = strdup(path);
    return config->config_path != NULL ? 0
                                       : blx_error_errno(err, -ENOMEM, "cannot keep '%s'", path);
}

static void drop_flag_only(enum blx_command command, struct blx_config *config)
{
    for (size_t i = 0; blx_option_at(i) != NULL; i++) {
        if ((blx_option_at(i)->flag_only_for & command) != 0)
            blx_option_clear(blx_option_at(i), config);
    }
}

/* The flags are read twice: first to learn which file to read, then to override its values. */
int blx_config_load(enum blx_command command, int argc, char **argv, struct blx_config *config,
                    enum blx_config_result *result, struct blx_error *err)
{
    struct blx_flags flags = {.command = command, .argc = argc, .argv = argv};
    BLX_CLEANUP_CONFIG struct blx_config first = {0};
    BLX_CLEANUP_CONFIG struct blx_config loaded = {0};
    enum blx_config_result asked = BLX_CONFIG_RUN;
    int rc = blx_flags_apply(&flags, &first, &asked, err);
    if (rc == 0 && asked != BLX_CONFIG_RUN) {
        *result = asked;
        return 0;
    }
    if (rc == 0)
        rc = apply_defaults(&loaded, err);
    if (rc == 0)
        rc = apply_file(first.config_path, &loaded, err);
    drop_flag_only(command, &loaded);
    if (rc == 0)
        rc = blx_flags_apply(&flags, &loaded, &asked, err);
    if (rc < 0)
        return rc;
    *config = loaded;
    loaded = (struct blx_config){0};
    *result = BLX_CONFIG_RUN;
    return 0;
}

int blx_config_missing(const char *name, enum blx_command command, const struct blx_config *config,
                       struct blx_error *err)
{
    const struct blx_option *option = blx_option_find_for(name, strlen(name), command);
    const struct blx_option_info *info = &option->info;
    if (!info->in_file)
        return blx_error_set(err, -EINVAL, "missing --%s: give --%s=%s (%s)", name, name,
                             info->argument, info->help);
    if (config->config_path == NULL)
        return blx_error_set(
            err, -EINVAL, "missing --%s: give --%s=%s (%s), or write %s: %s into '%s'", name, name,
            info->argument, info->help, name, option->example, BLX_DEFAULT_CONFIG_PATH);
    return blx_error_set(err, -EINVAL,
                         "'%s', line %u, key '%s': missing (%s); add the line  %s: %s  or give "
                         "--%s=%s",
                         config->config_path, config->config_lines + 1, name, info->help, name,
                         option->example, name, info->argument);
}

static int check_freeze(const struct blx_config *config, struct blx_error *err)
{
    if (config->freeze_budget_ms < config->freeze_limit_ms)
        return 0;
    char budget[BLX_UNIT_TEXT_BYTES], limit[BLX_UNIT_TEXT_BYTES];
    return blx_error_set(err, -EINVAL,
                         "freeze-budget (%s) is not below freeze-limit (%s), so no freeze could "
                         "succeed: lower the first or raise the second",
                         blx_duration_format(config->freeze_budget_ms, budget),
                         blx_duration_format(config->freeze_limit_ms, limit));
}

int blx_config_require(enum blx_command command, const struct blx_config *config,
                       struct blx_error *err)
{
    enum {
        AGENT = BLX_COMMAND_AGENT,
        PIN = BLX_COMMAND_PIN | BLX_COMMAND_UNPIN,
        PAUSE = BLX_COMMAND_PAUSE | BLX_COMMAND_RESUME,
        STORED = BLX_COMMAND_ENROLL | BLX_COMMAND_SHOW | BLX_COMMAND_RESTORE |
                 BLX_COMMAND_CHECKPOINT | BLX_COMMAND_RESCAN | BLX_COMMAND_REVOKE | PIN |
                 BLX_COMMAND_INFO | BLX_COMMAND_MOUNT | PAUSE | BLX_COMMAND_FILES |
                 BLX_COMMAND_REMOVE | BLX_COMMAND_ARCHIVE | BLX_COMMAND_BOOT | BLX_COMMAND_TEST |
                 BLX_COMMAND_RENAME | BLX_COMMAND_READMIT | BLX_COMMAND_MOVE,
        ONE_AGENT = STORED | BLX_COMMAND_POLICY,
        STORE = BLX_COMMAND_DISPATCHER | BLX_COMMAND_TEST_EVENT | BLX_COMMAND_VERIFY |
                BLX_COMMAND_PRUNE | BLX_COMMAND_RENEW | BLX_COMMAND_RENEW_CA |
                BLX_COMMAND_RETIRE_CA | BLX_COMMAND_TESTER | BLX_COMMAND_COPY | BLX_COMMAND_ADOPT |
                BLX_COMMAND_PAGE | BLX_COMMAND_PAGE_SERVER | BLX_COMMAND_FETCH | STORED,
    };
    const struct {
        const char *name;
        uint64_t commands;
        bool given;
    } wanted[] = {
        {"mode", BLX_COMMAND_START, config->mode != BLX_MODE_NONE},
        {"id", AGENT, config->id != NULL},
        {"dispatcher-addr", AGENT | BLX_COMMAND_JOIN | BLX_COMMAND_PULL,
         config->dispatcher_addr != NULL},
        {"device", AGENT, config->device_count > 0},
        {"agent", ONE_AGENT, config->agent != NULL || config->copier != NULL},
        {"checkpoint",
         BLX_COMMAND_RESTORE | BLX_COMMAND_INFO | BLX_COMMAND_FILES | BLX_COMMAND_BOOT | PIN,
         config->checkpoint != NULL},
        {"to", BLX_COMMAND_RENAME | BLX_COMMAND_MOVE, config->to != NULL},
        {"on-event", BLX_COMMAND_TEST_EVENT, config->on_event != NULL},
        {"data-dir", STORE, config->data_dir != NULL},
        {"sync-freq", BLX_COMMAND_DISPATCHER, config->sync_freq_ms > 0},
        {"output", BLX_COMMAND_PULL, config->output != NULL || config->files},
        {"mountpoint", BLX_COMMAND_MOUNT, config->mountpoint != NULL},
        {"action", BLX_COMMAND_OBJECT_STORE, config->action != NULL},
        {"from", BLX_COMMAND_ADOPT, config->from != NULL},
        {"output", BLX_COMMAND_MOVE_GPT, config->output != NULL},
        {"rescue", BLX_COMMAND_TAKEOVER, config->rescue_dir != NULL},
    };
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        if ((wanted[i].commands & command) != 0 && !wanted[i].given)
            return blx_config_missing(wanted[i].name, command, config, err);
    }
    if (config->copier != NULL && config->agent != NULL)
        return blx_error_set(err, -EINVAL,
                             "--agent and --copier exclude each other: give the one that is meant");
    if ((command & BLX_COMMAND_MOUNT) != 0 && config->writable != NULL &&
        config->checkpoint == NULL)
        return blx_error_set(err, -EINVAL,
                             "--writable needs one checkpoint: give --checkpoint=TIMESTAMP, or "
                             "--checkpoint=latest");
    if ((command & BLX_COMMAND_OBJECT_STORE) != 0 && strcmp(config->action, "check") != 0)
        return blx_error_set(err, -EINVAL, "unknown action '%.40s': write object-store check",
                             config->action);
    if ((command & BLX_COMMAND_RESCUE_IMAGE) != 0 && config->output == NULL &&
        config->pxe_dir == NULL)
        return blx_error_set(err, -EINVAL,
                             "missing --output: give --output=FILE for an ISO, or --pxe=DIR for a "
                             "kernel and an initrd");
    return (command & AGENT) != 0 ? check_freeze(config, err) : 0;
}

int blx_config_begin(const struct blx_config_program *program, int argc, char **argv, FILE *out,
                     struct blx_config *config, enum blx_config_result *result,
                     struct blx_error *err)
{
    int rc = blx_config_load(program->command, argc, argv, config, result, err);
    if (rc < 0)
        return rc;
    switch (*result) {
    case BLX_CONFIG_HELP:
        blx_config_print_help(program->command, &program->help, out);
        return 0;
    case BLX_CONFIG_VERSION:
        fprintf(out, "%s %s\n", program->name, BLX_VERSION);
        return 0;
    default:
        return blx_config_require(program->command, config, err);
    }
}

bool blx_config_copies_agent(const struct blx_config_object_store *store, const char *agent_id)
{
    for (size_t i = 0; i < store->agent_count; i++) {
        if (fnmatch(store->agents[i], agent_id, 0) == 0)
            return true;
    }
    return store->agent_count == 0;
}
