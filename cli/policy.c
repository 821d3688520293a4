/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep policy`: which settings hold for an agent, and where each one comes from. */
#include "config/policy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/table.h"

enum { VALUE_BYTES = 512 };

/* The settings of one agent. */
struct view {
    const struct blx_config *config;
    struct blx_policies policies; /* owned */
    struct blx_policy_verdict verdict;
};

static void format_retention(const struct blx_retention *retention, char text[VALUE_BYTES])
{
    size_t used = (size_t)snprintf(text, VALUE_BYTES, "%s",
                                   blx_retention_is_none(retention) ? "everything is kept" : "");
    for (unsigned rule = 0; rule < BLX_KEEP_RULES && used < VALUE_BYTES; rule++) {
        char value[BLX_UNIT_TEXT_BYTES];
        if (retention->keep[rule] == 0)
            continue;
        if (rule < BLX_KEEP_COUNTED)
            snprintf(value, sizeof(value), "%" PRIu64, retention->keep[rule]);
        else
            blx_duration_format(retention->keep[rule], value);
        used += (size_t)snprintf(text + used, VALUE_BYTES - used, "%s%s: %s", used > 0 ? ", " : "",
                                 blx_retention_name(rule), value);
    }
}

static void format_quota(const struct blx_quota *quota, char text[VALUE_BYTES])
{
    size_t used = (size_t)snprintf(text, VALUE_BYTES, "%s", blx_quota_is_none(quota) ? "none" : "");
    for (int kind = 0; kind < BLX_QUOTA_KINDS && used < VALUE_BYTES; kind++) {
        char value[BLX_UNIT_TEXT_BYTES];
        if (quota->of[kind] == 0)
            continue;
        if (kind == BLX_QUOTA_BYTES || kind == BLX_QUOTA_BYTES_A_DAY)
            blx_size_format(quota->of[kind], value);
        else
            snprintf(value, sizeof(value), "%" PRIu64, quota->of[kind]);
        used += (size_t)snprintf(text + used, VALUE_BYTES - used, "%s%s: %s", used > 0 ? ", " : "",
                                 blx_quota_name((enum blx_quota_kind)kind), value);
    }
}

/* The pattern after `at`, the first one after NULL; NULL after the last. */
static const char *next_exclude(const struct blx_policy_verdict *verdict, const char *at)
{
    const char *next = at == NULL ? verdict->exclude : at + strlen(at) + 1;
    return next < verdict->exclude + verdict->exclude_bytes ? next : NULL;
}

static void format_excludes(const struct blx_policy_verdict *verdict, char text[VALUE_BYTES])
{
    size_t used =
        (size_t)snprintf(text, VALUE_BYTES, "%s", verdict->exclude_bytes == 0 ? "nothing" : "");
    for (const char *at = NULL; (at = next_exclude(verdict, at)) != NULL && used < VALUE_BYTES;)
        used += (size_t)snprintf(text + used, VALUE_BYTES - used, "%s%s", used > 0 ? ", " : "", at);
}

static void format_value(const struct blx_policy_verdict *verdict, enum blx_policy_key key,
                         char text[VALUE_BYTES])
{
    char period[BLX_UNIT_TEXT_BYTES];
    switch (key) {
    case BLX_POLICY_RETENTION:
        format_retention(&verdict->retention, text);
        return;
    case BLX_POLICY_QUOTA:
        format_quota(&verdict->quota, text);
        return;
    case BLX_POLICY_EXCLUDE:
        format_excludes(verdict, text);
        return;
    case BLX_POLICY_BANDWIDTH_LIMIT:
        snprintf(text, VALUE_BYTES, "%.*s", VALUE_BYTES - 1,
                 verdict->bandwidth_limit[0] != '\0' ? verdict->bandwidth_limit : "none");
        return;
    case BLX_POLICY_ENCRYPTION:
        snprintf(text, VALUE_BYTES, "%s", blx_policy_encryption_name(verdict->encryption));
        return;
    default:
        snprintf(text, VALUE_BYTES, "%s",
                 verdict->sync_freq_ms == 0 ? "the dispatcher's own --sync-freq"
                                            : blx_duration_format(verdict->sync_freq_ms, period));
    }
}

/* True if the dispatcher's own configuration has the key. */
static bool is_configured(const struct blx_config *config, enum blx_policy_key key)
{
    return (key == BLX_POLICY_SYNC_FREQ && config->sync_freq_ms != 0) ||
           (key == BLX_POLICY_RETENTION && !blx_retention_is_none(&config->retention));
}

static int print_table(const struct view *view, struct blx_error *err)
{
    static const char *const head[] = {"SETTING", "VALUE", "FROM", "PATTERN"};
    BLX_CLEANUP(cli_table_done)
    struct cli_table table = {.column_count = sizeof(head) / sizeof(head[0]), .fold_from = 1};
    cli_table_fit(&table, stdout);
    int rc = cli_table_add(&table, head);
    for (unsigned key = 0; rc == 0 && key < BLX_POLICY_KEYS; key++) {
        char value[VALUE_BYTES];
        const char *pattern = "";
        const struct blx_policy *policy =
            blx_policies_find(&view->policies, key, view->config->agent, &pattern);
        format_value(&view->verdict, key, value);
        const char *const cells[] = {blx_policy_key_name(key), value,
                                     policy != NULL                     ? policy->path
                                     : is_configured(view->config, key) ? view->config->config_path
                                                                        : "default",
                                     pattern};
        rc = cli_table_add(&table, cells);
    }
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot list the settings");
    cli_table_print(&table);
    return 0;
}

static void print_value_json(struct blx_json *json, const struct blx_policy_verdict *verdict,
                             enum blx_policy_key key)
{
    if (key == BLX_POLICY_RETENTION) {
        blx_json_open(json, "value", '{');
        for (unsigned rule = 0; rule < BLX_KEEP_RULES; rule++) {
            if (verdict->retention.keep[rule] > 0)
                blx_json_number(json, blx_retention_name(rule), verdict->retention.keep[rule]);
        }
        blx_json_close(json, '}');
    } else if (key == BLX_POLICY_QUOTA) {
        blx_json_open(json, "value", '{');
        for (int kind = 0; kind < BLX_QUOTA_KINDS; kind++) {
            if (verdict->quota.of[kind] > 0)
                blx_json_number(json, blx_quota_name((enum blx_quota_kind)kind),
                                verdict->quota.of[kind]);
        }
        blx_json_close(json, '}');
    } else if (key == BLX_POLICY_EXCLUDE) {
        blx_json_open(json, "value", '[');
        for (const char *at = NULL; (at = next_exclude(verdict, at)) != NULL;)
            blx_json_string(json, NULL, at);
        blx_json_close(json, ']');
    } else if (key == BLX_POLICY_ENCRYPTION) {
        blx_json_string(json, "value", blx_policy_encryption_name(verdict->encryption));
    } else if (key == BLX_POLICY_SYNC_FREQ && verdict->sync_freq_ms != 0) {
        blx_json_number(json, "value", verdict->sync_freq_ms);
    } else if (key == BLX_POLICY_BANDWIDTH_LIMIT && verdict->bandwidth_limit[0] != '\0') {
        blx_json_string(json, "value", verdict->bandwidth_limit);
    } else {
        blx_json_null(json, "value");
    }
}

static void print_json(const struct view *view)
{
    struct blx_json json = {.out = stdout};
    blx_json_open(&json, NULL, '{');
    for (unsigned key = 0; key < BLX_POLICY_KEYS; key++) {
        const char *pattern = NULL;
        const struct blx_policy *policy =
            blx_policies_find(&view->policies, key, view->config->agent, &pattern);
        blx_json_open(&json, blx_policy_key_name(key), '{');
        print_value_json(&json, &view->verdict, key);
        blx_json_string(&json, "source",
                        policy != NULL                     ? "policy"
                        : is_configured(view->config, key) ? "config"
                                                           : "default");
        if (policy != NULL) {
            blx_json_string(&json, "file", policy->path);
            blx_json_string(&json, "pattern", pattern);
        }
        blx_json_close(&json, '}');
    }
    blx_json_close(&json, '}');
}

/* Reads only the files: it needs no dispatcher, and shows a change before the dispatcher is
 * reloaded. */
enum blx_exit cli_policy(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    const struct blx_policy_verdict own = {.sync_freq_ms = config->sync_freq_ms,
                                           .retention = config->retention};
    struct view view = {.config = config};
    if (blx_policies_read(config->policy_dir, &view.policies, err) < 0)
        return BLX_EXIT_USAGE;
    blx_policies_judge(&view.policies, &own, config->agent, &view.verdict);
    int rc = 0;
    if (config->json)
        print_json(&view);
    else
        rc = print_table(&view, err);
    blx_policies_done(&view.policies);
    return rc < 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}
