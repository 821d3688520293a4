/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep policy`: which settings hold for an agent, where each one comes from, and which ones
 * stand in a file that the dispatcher has not read. */
#include "config/policy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/control.h"
#include "cli/table.h"

enum { VALUE_BYTES = 512, ANSWER_TIMEOUT_MS = 30000 };

/* The settings of one agent, as one place tells them. */
struct rules {
    struct blx_policy_verdict verdict;
    struct blx_control_verdict told[BLX_POLICY_KEYS]; /* where each one comes from */
};

struct view {
    const struct blx_config *config;
    struct rules in_files;
    bool has_files;        /* false: they cannot be read, which `problem` tells */
    struct rules in_force; /* as the dispatcher says */
    bool is_asked;         /* it did */
    struct blx_error problem;
    char stale[BLX_TEXT_BYTES]; /* the dispatcher's remark */
};

/* What holds, as far as anybody can tell. */
static const struct rules *rules_of(const struct view *view)
{
    return view->is_asked ? &view->in_force : &view->in_files;
}

/* The files say otherwise than the dispatcher does. That counts only if it has seen that they have
 * changed: otherwise its command line outranks them, or these are not its files. */
static bool is_pending(const struct view *view, enum blx_policy_key key)
{
    bool by_flag =
        key == BLX_POLICY_SYNC_FREQ && view->in_files.told[key].source == BLX_VERDICT_DEFAULT;
    return view->is_asked && view->has_files && view->stale[0] != '\0' && !by_flag &&
           !blx_policy_verdict_agrees(&view->in_force.verdict, &view->in_files.verdict, key);
}

static void format_retention(const struct blx_retention *retention, char text[VALUE_BYTES])
{
    size_t used = (size_t)snprintf(text, VALUE_BYTES, "%s",
                                   blx_retention_is_none(retention) ? "everything is kept" : "");
    for (unsigned rule = 0; rule < BLX_KEEP_RULES && used < VALUE_BYTES; rule++) {
        char value[BLX_UNIT_TEXT_BYTES];
        if (retention->keep[rule] == 0)
            continue;
        if (blx_retention_unit(rule) == BLX_RETENTION_NUMBER)
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

static void format_test(const struct blx_policy_test *test, char text[VALUE_BYTES])
{
    char every[BLX_UNIT_TEXT_BYTES], within[BLX_UNIT_TEXT_BYTES], hours[BLX_HOURS_TEXT_BYTES];
    if (test->every_ms == 0) {
        snprintf(text, VALUE_BYTES, "never");
        return;
    }
    blx_hours_format(&test->hours, hours);
    size_t used = (size_t)snprintf(
        text, VALUE_BYTES, "every: %s%s%s, level: %" PRIu64 ", within: %s",
        blx_duration_format(test->every_ms, every), hours[0] != '\0' ? ", at: " : "", hours,
        test->level, blx_duration_format(test->within_ms, within));
    if (test->expect[0] != '\0')
        used += (size_t)snprintf(text + used, VALUE_BYTES - used, ", expect: %.150s", test->expect);
    if (test->command[0] != '\0')
        snprintf(text + used, VALUE_BYTES - used, ", command: %.150s", test->command);
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
    case BLX_POLICY_RESTORE_TEST:
        format_test(&verdict->test, text);
        return;
    case BLX_POLICY_ENCRYPTION:
        snprintf(text, VALUE_BYTES, "%s", blx_policy_encryption_name(verdict->encryption));
        return;
    case BLX_POLICY_SUSPICIOUS:
        snprintf(text, VALUE_BYTES, "sensitivity: %s", blx_sensitivity_name(verdict->suspicious));
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

static int read_files(const struct blx_config *config, struct rules *rules, struct blx_error *err)
{
    BLX_CLEANUP_POLICIES struct blx_policies policies = {0};
    const struct blx_policy_verdict own = {.sync_freq_ms = config->sync_freq_ms,
                                           .retention = config->retention};
    int rc = blx_policies_read(config->policy_dir, &policies, err);
    if (rc < 0)
        return rc;
    blx_policies_judge(&policies, &own, config->agent, &rules->verdict);
    for (unsigned key = 0; key < BLX_POLICY_KEYS; key++) {
        struct blx_control_verdict *told = &rules->told[key];
        const char *pattern = "";
        const struct blx_policy *policy =
            blx_policies_find(&policies, key, config->agent, &pattern);
        if (policy != NULL) {
            told->source = BLX_VERDICT_POLICY;
            blx_text_set(told->file, policy->path);
            blx_text_set(told->pattern, pattern);
        } else if (is_configured(config, key)) {
            told->source = BLX_VERDICT_CONFIG;
            blx_text_set(told->file, config->config_path != NULL ? config->config_path : "");
        }
    }
    return 0;
}

static int take_answer(struct blx_conn *conn, struct view *view, struct blx_message *answer,
                       struct blx_error *err)
{
    for (;;) {
        int rc = blx_conn_recv(conn, ANSWER_TIMEOUT_MS, answer, err);
        if (rc == 0 && answer->type == BLX_MESSAGE_CONTROL_VERDICT) {
            rc = blx_policy_verdict_take(&answer->control_verdict, &view->in_force.verdict, err);
            if (rc == 0)
                view->in_force.told[answer->control_verdict.key] = answer->control_verdict;
        } else if (rc == 0 && answer->type == BLX_MESSAGE_CONTROL_STALE) {
            blx_text_set(view->stale, answer->control_stale.text);
        } else {
            return rc;
        }
        if (rc < 0)
            return rc;
    }
}

/* -ENOTCONN: no dispatcher runs. */
static int ask_dispatcher(struct view *view, struct blx_error *err)
{
    const char *data_dir = view->config->data_dir;
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_POLICY};
    struct blx_conn *conn = NULL;
    int rc = cli_become_owner(data_dir, err);
    if (rc == 0)
        rc = cli_control_connect(data_dir, &conn, err);
    if (rc < 0)
        return rc;
    blx_text_set(message.control_policy.agent_id, view->config->agent);
    rc = blx_conn_send(conn, &message, err);
    if (rc == 0)
        rc = take_answer(conn, view, &message, err);
    blx_conn_free(conn);
    if (rc < 0)
        blx_error_prefix(err, "the dispatcher on '%s' did not tell its settings", data_dir);
    else if (message.type != BLX_MESSAGE_CONTROL_DONE)
        rc = cli_control_unexpected(data_dir, message.type, err);
    view->is_asked = rc == 0;
    return rc;
}

static const char *source_cell(const struct blx_control_verdict *told)
{
    return told->source == BLX_VERDICT_DEFAULT ? "default"
           : told->file[0] != '\0'             ? told->file
                                               : "command line";
}

static int print_table(const struct view *view, struct blx_error *err)
{
    static const char *const head[] = {"SETTING", "VALUE", "FROM", "PATTERN"};
    BLX_CLEANUP(cli_table_done)
    struct cli_table table = {.column_count = sizeof(head) / sizeof(head[0]), .fold_from = 1};
    const struct rules *rules = rules_of(view);
    cli_table_fit(&table, stdout);
    int rc = cli_table_add(&table, head);
    for (unsigned key = 0; rc == 0 && key < BLX_POLICY_KEYS; key++) {
        char value[VALUE_BYTES];
        format_value(&rules->verdict, key, value);
        const char *const cells[] = {blx_policy_key_name(key), value,
                                     source_cell(&rules->told[key]), rules->told[key].pattern};
        rc = cli_table_add(&table, cells);
    }
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot list the settings");
    cli_table_print(&table);
    return 0;
}

static void print_test_json(struct blx_json *json, const struct blx_policy_test *test)
{
    char hours[BLX_HOURS_TEXT_BYTES];
    if (test->every_ms == 0) {
        blx_json_null(json, "value");
        return;
    }
    blx_json_open(json, "value", '{');
    blx_json_number(json, "every", test->every_ms);
    blx_json_string(json, "at", blx_hours_format(&test->hours, hours));
    blx_json_number(json, "within", test->within_ms);
    blx_json_string(json, "expect", test->expect);
    blx_json_string(json, "command", test->command);
    blx_json_number(json, "level", test->level);
    blx_json_close(json, '}');
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
    } else if (key == BLX_POLICY_RESTORE_TEST) {
        print_test_json(json, &verdict->test);
    } else if (key == BLX_POLICY_ENCRYPTION) {
        blx_json_string(json, "value", blx_policy_encryption_name(verdict->encryption));
    } else if (key == BLX_POLICY_SUSPICIOUS) {
        blx_json_open(json, "value", '{');
        blx_json_string(json, "sensitivity", blx_sensitivity_name(verdict->suspicious));
        blx_json_close(json, '}');
    } else if (key == BLX_POLICY_SYNC_FREQ && verdict->sync_freq_ms != 0) {
        blx_json_number(json, "value", verdict->sync_freq_ms);
    } else if (key == BLX_POLICY_BANDWIDTH_LIMIT && verdict->bandwidth_limit[0] != '\0') {
        blx_json_string(json, "value", verdict->bandwidth_limit);
    } else {
        blx_json_null(json, "value");
    }
}

static void print_rule_json(struct blx_json *json, const struct rules *rules,
                            enum blx_policy_key key)
{
    static const char *const sources[] = {[BLX_VERDICT_DEFAULT] = "default",
                                          [BLX_VERDICT_CONFIG] = "config",
                                          [BLX_VERDICT_POLICY] = "policy"};
    const struct blx_control_verdict *told = &rules->told[key];
    print_value_json(json, &rules->verdict, key);
    blx_json_string(json, "source", sources[told->source]);
    if (told->source == BLX_VERDICT_POLICY) {
        blx_json_string(json, "file", told->file);
        blx_json_string(json, "pattern", told->pattern);
    }
}

static void print_json(const struct view *view)
{
    struct blx_json json = {.out = stdout};
    blx_json_open(&json, NULL, '{');
    for (unsigned key = 0; key < BLX_POLICY_KEYS; key++) {
        blx_json_open(&json, blx_policy_key_name(key), '{');
        print_rule_json(&json, rules_of(view), key);
        if (is_pending(view, key)) {
            blx_json_open(&json, "pending", '{');
            print_rule_json(&json, &view->in_files, key);
            blx_json_close(&json, '}');
        }
        blx_json_close(&json, '}');
    }
    blx_json_close(&json, '}');
}

/* What is not in force although a file says it, on stderr. */
static void note_differences(const struct view *view)
{
    bool differs = false;
    if (!view->is_asked)
        return;
    if (!view->has_files)
        cli_note("the files cannot be loaded again: %s", view->problem.message);
    for (unsigned key = 0; key < BLX_POLICY_KEYS; key++) {
        char value[VALUE_BYTES];
        if (!is_pending(view, key))
            continue;
        differs = true;
        format_value(&view->in_files.verdict, key, value);
        cli_note("NOT in force: %s: %s (%s): systemctl reload blxrep-dispatcher",
                 blx_policy_key_name(key), value, source_cell(&view->in_files.told[key]));
    }
    if (!differs && view->stale[0] != '\0')
        cli_note("%s", view->stale);
}

/* The files are read first: the data directory's owner may not read them. */
enum blx_exit cli_policy(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    struct view view = {.config = config};
    struct blx_error cause = {0};
    int files_rc = read_files(config, &view.in_files, &view.problem);
    view.has_files = files_rc == 0;
    int rc = config->data_dir != NULL ? ask_dispatcher(&view, &cause) : -ENOTCONN;
    if (rc < 0 && rc != -ENOTCONN && rc != -ENOENT) {
        blx_error_copy(err, rc, &cause);
        return BLX_EXIT_FAILED;
    }
    if (!view.is_asked && !view.has_files) {
        blx_error_copy(err, files_rc, &view.problem);
        return BLX_EXIT_USAGE;
    }
    if (!view.is_asked && config->data_dir != NULL)
        cli_note("no dispatcher runs on '%s': these are the files' settings", config->data_dir);
    rc = 0;
    if (config->json)
        print_json(&view);
    else
        rc = print_table(&view, err);
    note_differences(&view);
    return rc < 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}
