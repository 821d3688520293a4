/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints what the configuration reader makes of a command line, as JSON, for examples.py. argv[1]
 * names the command: "agent", "dispatcher", "start"; the rest are its flags. Ends as the programs
 * do: 2 on wrong usage, the error on stderr.
 */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "config/config.h"

static void print_text(struct blx_json *json, const char *key, const char *value)
{
    if (value != NULL)
        blx_json_string(json, key, value);
}

static void print_tls(struct blx_json *json, const struct blx_config_tls *tls)
{
    if (tls->ca == NULL)
        return;
    blx_json_open(json, "tls", '{');
    blx_json_string(json, "ca", tls->ca);
    blx_json_string(json, "cert", tls->cert);
    blx_json_string(json, "key", tls->key);
    blx_json_close(json, '}');
}

static void print_retention(struct blx_json *json, const struct blx_retention *retention)
{
    if (blx_retention_is_none(retention))
        return;
    blx_json_open(json, "retention", '{');
    for (unsigned rule = 0; rule < BLX_KEEP_RULES; rule++)
        if (retention->keep[rule] > 0)
            blx_json_number(json, blx_retention_name(rule), retention->keep[rule]);
    blx_json_close(json, '}');
}

static void print_bandwidth(struct blx_json *json, const struct blx_bandwidth *limit)
{
    blx_json_open(json, "bandwidth-limit", '[');
    for (uint32_t i = 0; i < limit->rule_count; i++) {
        const struct blx_bandwidth_rule *rule = &limit->rules[i];
        blx_json_open(json, NULL, '[');
        blx_json_number(json, NULL, rule->days);
        blx_json_number(json, NULL, rule->hours.from_minute);
        blx_json_number(json, NULL, rule->hours.end_minute);
        blx_json_number(json, NULL, rule->bytes_per_second);
        blx_json_close(json, ']');
    }
    blx_json_close(json, ']');
}

static void print_config(const struct blx_config *config)
{
    static const char *const modes[] = {NULL, "agent", "dispatcher"};
    struct blx_json json = {.out = stdout};
    blx_json_open(&json, NULL, '{');
    print_text(&json, "mode", modes[config->mode]);
    print_text(&json, "id", config->id);
    print_text(&json, "dispatcher-addr", config->dispatcher_addr);
    blx_json_open(&json, "device", '[');
    for (size_t i = 0; i < config->device_count; i++)
        blx_json_string(&json, NULL, config->devices[i]);
    blx_json_close(&json, ']');
    blx_json_open(&json, "exclude", '[');
    for (size_t i = 0; i < config->exclude_count; i++)
        blx_json_string(&json, NULL, config->excludes[i]);
    blx_json_close(&json, ']');
    blx_json_open(&json, "admit", '[');
    for (size_t i = 0; i < config->admit_count; i++)
        blx_json_string(&json, NULL, config->admitted[i]);
    blx_json_close(&json, ']');
    print_text(&json, "policy-dir", config->policy_dir);
    print_text(&json, "data-dir", config->data_dir);
    blx_json_bool(&json, "standby", config->standby);
    blx_json_bool(&json, "shared", config->shared);
    print_text(&json, "listen", config->listen);
    print_text(&json, "metrics-listen", config->metrics_listen);
    print_text(&json, "page-listen", config->page_listen);
    blx_json_number(&json, "memory-limit", config->memory_limit_bytes);
    blx_json_number(&json, "rewrite-rate", config->rewrite_bytes_per_second);
    blx_json_number(&json, "test-jobs", config->test_jobs);
    print_text(&json, "on-event", config->on_event);
    print_text(&json, "on-heartbeat", config->on_heartbeat);
    blx_json_number(&json, "heartbeat-freq", config->heartbeat_freq_ms);
    print_text(&json, "credentials", config->credentials);
    print_text(&json, "encryption-key", config->encryption_key);
    print_text(&json, "run-dir", config->run_dir);
    print_tls(&json, &config->tls);
    print_retention(&json, &config->retention);
    blx_json_number(&json, "sync-freq", config->sync_freq_ms);
    print_text(&json, "compression", blx_codec_name(config->compression));
    print_bandwidth(&json, &config->bandwidth_limit);
    blx_json_bool(&json, "skip-free-space", config->skip_free_space);
    print_text(&json, "rescan-priority",
               config->rescan_priority == BLX_RESCAN_GENTLE ? "gentle" : "fast");
    blx_json_number(&json, "rescan-cpus", config->rescan_cpus);
    print_text(&json, "pre-freeze", config->pre_freeze);
    print_text(&json, "post-thaw", config->post_thaw);
    blx_json_number(&json, "hook-timeout", config->hook_timeout_ms);
    blx_json_number(&json, "prune-grace", config->prune_grace_ms);
    blx_json_number(&json, "freeze-budget", config->freeze_budget_ms);
    blx_json_number(&json, "freeze-limit", config->freeze_limit_ms);
    blx_json_number(&json, "disk-timeout", config->disk_timeout_ms);
    blx_json_number(&json, "freeze-buffer", config->freeze_buffer_bytes);
    blx_json_bool(&json, "freeze", config->freeze);
    print_text(&json, "log-format", config->log_format == BLX_LOG_JSON ? "json" : "text");
    blx_json_bool(&json, "verbose", config->verbose);
    blx_json_close(&json, '}');
}

/* The table, for the comparison with the help texts, man pages and completions. */
static void print_table(void)
{
    struct blx_json json = {.out = stdout};
    blx_json_open(&json, NULL, '[');
    for (size_t i = 0; blx_config_option(i) != NULL; i++) {
        const struct blx_option_info *info = blx_config_option(i);
        blx_json_open(&json, NULL, '{');
        blx_json_string(&json, "name", info->name);
        print_text(&json, "argument", info->argument);
        blx_json_number(&json, "commands", info->commands);
        blx_json_bool(&json, "in_file", info->in_file);
        blx_json_close(&json, '}');
    }
    blx_json_close(&json, ']');
}

static enum blx_command command_of(const char *name)
{
    if (strcmp(name, "agent") == 0)
        return BLX_COMMAND_AGENT;
    if (strcmp(name, "dispatcher") == 0)
        return BLX_COMMAND_DISPATCHER;
    return BLX_COMMAND_START;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "table") == 0) {
        print_table();
        return BLX_EXIT_OK;
    }
    if (argc < 2)
        return BLX_EXIT_USAGE;
    enum blx_command command = command_of(argv[1]);
    BLX_CLEANUP_CONFIG struct blx_config config = {0};
    enum blx_config_result result;
    struct blx_error err = {0};
    int rc = blx_config_load(command, argc - 1, argv + 1, &config, &result, &err);
    if (rc == 0 && result == BLX_CONFIG_HELP) {
        blx_config_print_help(
            command, &(struct blx_help){.usage = argv[1], .description = "A test."}, stdout);
        return BLX_EXIT_OK;
    }
    if (rc == 0)
        rc = blx_config_require(command, &config, &err);
    if (rc < 0) {
        fprintf(stderr, "%s\n", err.message);
        return BLX_EXIT_USAGE;
    }
    print_config(&config);
    return BLX_EXIT_OK;
}
