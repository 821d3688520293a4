/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep prune`: removes the checkpoints that no rule keeps, and rewrites segments. */
#include "store/checkpoint/manifest_file.h"
#include "store/prune/prune.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/describe.h"
#include "cli/table.h"
#include "config/policy.h"
#include "store/archive.h"
#include "store/prune/brake.h"
#include "store/prune/retention.h"
#include "store/prune/rewrite.h"

enum {
    WAIT_MS = 60000, /* how long to wait for a verification or another prune */
    REASONS_BYTES = 128,
};

/* One run over all requested agents. */
struct run {
    const struct blx_config *config;
    const struct blx_store *store;
    struct blx_policies policies; /* owned; their retention counts if no flag sets any */
    struct blx_json *json;        /* NULL: a table for each agent */
    enum blx_exit status;
};

/* "keep-last, keep-daily" */
static const char *list_reasons(uint32_t verdict, char text[REASONS_BYTES])
{
    size_t used = 0;
    text[0] = '\0';
    for (unsigned reason = 0; reason < BLX_KEEP_REASONS && used < REASONS_BYTES; reason++)
        if ((verdict & blx_retention_bit(reason)) != 0)
            used += (size_t)snprintf(text + used, REASONS_BYTES - used, "%s%s",
                                     used == 0 ? "" : ", ", blx_retention_name(reason));
    return verdict == 0 ? "no rule keeps it" : text;
}

static int print_table(const struct blx_retention_plan *plan, const char *agent_id)
{
    static const char *const head[] = {"AGENT", "CHECKPOINT", "ACTION", "REASON"};
    BLX_CLEANUP(cli_table_done)
    struct cli_table table = {.column_count = sizeof(head) / sizeof(head[0]), .fold_from = 3};
    cli_table_fit(&table, stdout);
    int rc = cli_table_add(&table, head);
    for (size_t i = 0; rc == 0 && i < plan->count; i++) {
        char timestamp[BLX_TIMESTAMP_TEXT_BYTES], reasons[REASONS_BYTES];
        blx_timestamp_format(plan->timestamps[i], timestamp);
        const char *cells[] = {agent_id, timestamp, plan->verdicts[i] != 0 ? "keep" : "remove",
                               list_reasons(plan->verdicts[i], reasons)};
        rc = cli_table_add(&table, cells);
    }
    if (rc == 0 && plan->count > 0)
        cli_table_print(&table);
    return rc;
}

static void print_verdict(struct blx_json *json, blx_timestamp timestamp, uint32_t verdict)
{
    blx_json_open(json, NULL, '{');
    cli_json_timestamp(json, "checkpoint", timestamp);
    blx_json_string(json, "action", verdict != 0 ? "keep" : "remove");
    blx_json_open(json, "reasons", '[');
    for (unsigned reason = 0; reason < BLX_KEEP_REASONS; reason++)
        if ((verdict & blx_retention_bit(reason)) != 0)
            blx_json_string(json, NULL, blx_retention_name(reason));
    blx_json_close(json, ']');
    blx_json_close(json, '}');
}

static void print_json(struct blx_json *json, const char *agent_id,
                       const struct blx_retention_plan *plan, const struct blx_prune_report *report,
                       const struct blx_rewrite_report *rewritten)
{
    blx_json_open(json, NULL, '{');
    blx_json_string(json, "agent", agent_id);
    blx_json_open(json, "checkpoints", '[');
    for (size_t i = 0; i < plan->count; i++)
        print_verdict(json, plan->timestamps[i], plan->verdicts[i]);
    blx_json_close(json, ']');
    blx_json_number(json, "removed", report->removed);
    blx_json_number(json, "in_use", report->in_use);
    blx_json_number(json, "rewritten", rewritten->replaced);
    blx_json_number(json, "copied_bytes", rewritten->copied_bytes);
    blx_json_number(json, "freed_bytes", report->freed_bytes + rewritten->freed_bytes);
    blx_json_close(json, '}');
}

static void note_outcome(const char *agent_id, const struct blx_prune_report *report,
                         const struct blx_rewrite_report *rewritten)
{
    char freed[BLX_UNIT_TEXT_BYTES], segments[64] = "";
    if (rewritten->replaced > 0)
        snprintf(segments, sizeof(segments), ", %zu segment%s rewritten", rewritten->replaced,
                 cli_plural(rewritten->replaced));
    cli_note("'%s': %zu checkpoint%s removed%s, %s freed", agent_id, report->removed,
             cli_plural(report->removed), segments,
             blx_size_format(report->freed_bytes + rewritten->freed_bytes, freed));
    if (rewritten->put_off > 0)
        cli_note("'%s': %zu segment%s kept unchanged while a restore or a verification is reading: "
                 "prune again later",
                 agent_id, rewritten->put_off, cli_plural(rewritten->put_off));
    if (rewritten->damaged > 0)
        cli_note("'%s': %zu segment%s kept unchanged because of damage: run `blxrep dispatcher "
                 "verify` to see it",
                 agent_id, rewritten->damaged, cli_plural(rewritten->damaged));
    if (report->in_use > 0)
        cli_note("'%s': %zu checkpoint%s kept while a restore is reading: prune again later",
                 agent_id, report->in_use, cli_plural(report->in_use));
    if (report->pinned > 0)
        cli_note("'%s': %zu checkpoint%s kept that somebody pinned meanwhile", agent_id,
                 report->pinned, cli_plural(report->pinned));
    if (report->no_holes)
        cli_note("'%s': the filesystem cannot punch holes into files, so a segment keeps its size "
                 "until nothing in it is needed",
                 agent_id);
}

/* The rules of the flags; if no flag has any, those of the files for this agent. False: there is no
 * rule, so everything is kept. */
static bool find_rules(const struct run *run, const char *agent_id, struct blx_retention *rules)
{
    struct blx_policy_verdict verdict;
    const struct blx_policy_verdict own = {.retention = run->config->retention};
    *rules = run->config->keep;
    if (!blx_retention_is_none(rules))
        return true;
    blx_policies_judge(&run->policies, &own, agent_id, &verdict);
    *rules = blx_retention_with_default(&verdict.retention);
    return !blx_retention_is_none(rules);
}

/* As fast as the disk allows, because somebody waits for it. */
static int rewrite(const struct blx_store *store, const char *agent_id,
                   struct blx_rewrite_report *report, struct blx_error *err)
{
    struct blx_progress progress;
    struct blx_rewrite_request request = {
        .wait_ms = WAIT_MS, .progress = cli_progress, .arg = &progress};
    blx_progress_init(&progress, "rewriting segments", 0);
    int rc = blx_rewrite(blx_store_agent(store, agent_id), &request, report, err);
    blx_progress_done(&progress);
    return rc;
}

/*
 * The daemon's brake (store/prune/brake.h), for rules that nobody has typed: -EAGAIN unless it is
 * confirmed. New rules need no announcement here, since somebody sits in front of them.
 */
static int check_brake(const struct run *run, const char *agent_id,
                       const struct blx_retention *rules, const struct blx_retention_plan *plan,
                       struct blx_error *err)
{
    const struct blx_agent_store agent = blx_store_agent(run->store, agent_id);
    struct blx_prune_mark mark = {0};
    struct blx_policy_verdict verdict;
    const struct blx_policy_verdict own = {.sync_freq_ms = run->config->sync_freq_ms};
    if (!blx_retention_is_none(&run->config->keep))
        return 0;
    int rc = blx_prune_mark_read(agent, &mark, err);
    if (rc < 0)
        return rc;
    blx_policies_judge(&run->policies, &own, agent_id, &verdict);
    const struct blx_brake_case prune = {
        .retention = rules,
        .checkpoints = plan->count,
        .doomed = plan->doomed_count,
        .sync_freq_ms = verdict.sync_freq_ms,
        .now_ns = blx_clock_realtime_ns(),
    };
    if (!run->config->confirm && blx_brake_judge(&prune, &mark) == BLX_BRAKE_HELD)
        return blx_error_set(err, -EAGAIN,
                             "%zu of %zu checkpoints would be removed, far more than usual; look "
                             "at them with --dry-run, then add --confirm",
                             plan->doomed_count, plan->count);
    mark = (struct blx_prune_mark){.rules = blx_brake_rules(rules), .pruned_ns = prune.now_ns};
    blx_prune_mark_write(agent, &mark, NULL); /* a hint; the disk may be full */
    return 0;
}

/* The sum under the table of a dry run. What becomes free depends on what the others still need, so
 * what the checkpoints store is its upper bound. */
static void note_plan(const struct run *run, const char *agent_id,
                      const struct blx_retention_plan *plan)
{
    char size[BLX_UNIT_TEXT_BYTES], time[BLX_WHEN_TEXT_BYTES], age[BLX_UNIT_TEXT_BYTES];
    blx_timestamp oldest = 0;
    uint64_t bytes = 0;
    for (size_t i = 0; i < plan->count; i++) {
        BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
        if (plan->verdicts[i] != 0 && oldest == 0)
            oldest = plan->timestamps[i];
        if (plan->verdicts[i] != 0 || blx_manifest_read(blx_store_agent(run->store, agent_id),
                                                        plan->timestamps[i], &manifest, NULL) < 0)
            continue;
        for (uint32_t v = 0; v < manifest.volume_count; v++)
            bytes += manifest.volumes[v].stored_bytes;
    }
    cli_note(
        "'%s': %zu of %zu checkpoints would be removed, which store %s (some of that may still "
        "be needed)%s%s%s%s%s",
        agent_id, plan->doomed_count, plan->count, blx_size_format(bytes, size),
        oldest != 0 ? "; the oldest that stays is of " : "",
        oldest != 0 ? cli_time_format(run->config, oldest, time) : "", oldest != 0 ? ", " : "",
        oldest != 0 ? cli_age_format(oldest, blx_clock_realtime_ns(), age) : "",
        oldest != 0 ? " ago" : "");
}

static void record(const struct run *run, const char *agent_id,
                   const struct blx_retention_plan *plan, const struct blx_prune_report *report)
{
    char text[128];
    snprintf(text, sizeof(text), "%zu of these removed by hand, %zu still in use", report->removed,
             report->in_use);
    const struct blx_audit_entry entry = {.event = "prune",
                                          .agent = agent_id,
                                          .text = text,
                                          .checkpoints = plan->doomed,
                                          .checkpoint_count = plan->doomed_count};
    cli_audit(run->config->data_dir, &entry);
}

static int prune_agent(struct run *run, const char *agent_id, struct blx_error *err)
{
    BLX_CLEANUP(blx_retention_plan_done) struct blx_retention_plan plan = {0};
    struct blx_prune_report report = {0};
    struct blx_rewrite_report rewritten = {0};
    struct blx_retention rules;
    if (!find_rules(run, agent_id, &rules)) {
        cli_note("'%s': no rule applies to this agent, so all its checkpoints are kept", agent_id);
        return 0;
    }
    int rc = blx_retention_plan_make(blx_store_agent(run->store, agent_id), &rules,
                                     blx_clock_realtime_ns(), &plan, err);
    if (rc < 0)
        return rc;
    if (run->json == NULL && print_table(&plan, agent_id) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot list the checkpoints");
    struct blx_prune_request request = {
        .checkpoints = plan.doomed, .count = plan.doomed_count, .wait_ms = WAIT_MS};
    if (!run->config->dry_run) {
        rc = check_brake(run, agent_id, &rules, &plan, err);
        if (rc < 0)
            return rc;
        rc = blx_prune(blx_store_agent(run->store, agent_id), &request, &report, err);
        if (rc == 0)
            rc = rewrite(run->store, agent_id, &rewritten, err);
        note_outcome(agent_id, &report, &rewritten);
        if (report.removed > 0)
            record(run, agent_id, &plan, &report);
    }
    if (run->config->dry_run && run->json == NULL)
        note_plan(run, agent_id, &plan);
    if (run->json != NULL)
        print_json(run->json, agent_id, &plan, &report, &rewritten);
    return rc;
}

/* If one agent cannot be pruned, the others still are. */
static void try_agent(struct run *run, const char *agent_id)
{
    struct blx_error err = {0};
    if (prune_agent(run, agent_id, &err) == 0)
        return;
    cli_note("cannot prune the agent '%s': %s", agent_id, err.message);
    run->status = BLX_EXIT_FAILED;
}

/* Its data is to be kept, so it is pruned only if it is named. */
static bool is_archived(const struct run *run, const char *agent_id)
{
    blx_timestamp since = 0;
    if (blx_archive_look(blx_store_agent(run->store, agent_id), &since, NULL) != 1)
        return false;
    cli_note("'%s' is archived, so its checkpoints are kept: --agent=%s prunes it all the same",
             agent_id, agent_id);
    return true;
}

static int prune_all(struct run *run, struct blx_error *err)
{
    char **ids = NULL;
    size_t count = 0;
    int rc = 0;
    if (run->config->agent == NULL)
        rc = blx_store_list_agents(run->store, &ids, &count, err);
    if (rc == 0 && run->json != NULL)
        blx_json_open(run->json, NULL, '[');
    if (rc == 0 && run->config->agent != NULL)
        try_agent(run, run->config->agent);
    for (size_t i = 0; i < count; i++)
        if (!is_archived(run, ids[i]))
            try_agent(run, ids[i]);
    if (rc == 0 && run->json != NULL)
        blx_json_close(run->json, ']');
    blx_store_free_agents(ids, count);
    return rc;
}

static bool has_rules(const struct run *run)
{
    bool has = !blx_retention_is_none(&run->config->keep) ||
               !blx_retention_is_none(&run->config->retention);
    for (size_t i = 0; i < run->policies.count; i++)
        has = has || !blx_retention_is_none(&run->policies.list[i].settings.retention);
    return has;
}

static int read_rules(struct run *run, struct blx_error *err)
{
    int rc = blx_policies_read(run->config->policy_dir, &run->policies, err);
    if (rc < 0 || has_rules(run))
        return rc;
    return blx_error_set(err, -EINVAL,
                         "no rule says what to keep, so nothing is removed: give --keep-last, "
                         "--keep-hourly, --keep-daily, --keep-weekly, --keep-monthly or "
                         "--keep-yearly with a number above 0, or write  retention: "
                         "{ keep-last: 10 }  into the configuration file or a policy");
}

enum blx_exit cli_prune(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    BLX_CLEANUP(blx_store_close) struct blx_store store = {.lock_fd = -1};
    struct blx_json json = {.out = stdout};
    struct run run = {.config = config, .store = &store, .json = config->json ? &json : NULL};
    if (read_rules(&run, err) < 0)
        run.status = BLX_EXIT_USAGE;
    else if (cli_store_open(config->data_dir, BLX_STORE_READ, &store, err) < 0 ||
             prune_all(&run, err) < 0)
        run.status = BLX_EXIT_FAILED;
    blx_policies_done(&run.policies);
    return run.status;
}
