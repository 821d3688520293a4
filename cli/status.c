/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep status`: whether all agents are protected, once or as a picture that is refreshed. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/agents.h"
#include "cli/command.h"
#include "cli/copies.h"
#include "cli/describe.h"
#include "cli/hosts.h"
#include "cli/machines.h"
#include "cli/mounts.h"
#include "cli/proof.h"
#include "cli/suspicion.h"
#include "cli/screen.h"
#include "cli/status_private.h"
#include "cli/table.h"

enum {
    WRAP_INDENT = 2,
    /* Beside the agents' rows: five sentences, one of them in two lines, the head, "... and 3 more"
     */
    PICTURE_LINES = 10,
};

/* The values that only the agent knows: null while it is not connected. */
static void print_live_json(struct blx_json *json, const struct blx_control_agent *agent)
{
    const struct blx_status *status = &agent->status;
    const struct {
        const char *key;
        uint64_t value;
    } members[] = {{"dirty_bytes", status->dirty_bytes},
                   {"unreadable_bytes", status->unreadable_bytes},
                   {"done_bytes", status->done_bytes},
                   {"total_bytes", status->total_bytes},
                   {"eta_seconds", status->eta_seconds},
                   {"tracked_events", status->tracked_events},
                   {"missed_events", status->missed_events},
                   {"passthrough_commands", status->passthrough_commands},
                   {"unseen_sectors", status->unseen_sectors}};
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        if (status->state == BLX_AGENT_OFFLINE)
            blx_json_null(json, members[i].key);
        else
            blx_json_number(json, members[i].key, members[i].value);
    }
}

static void print_last_json(struct blx_json *json, const struct blx_control_agent *agent,
                            uint64_t now_realtime_ns)
{
    if (agent->last_checkpoint == 0) {
        static const char *const keys[] = {
            "last_checkpoint", "consistency",   "damaged",      "age",
            "freeze_ns",       "changed_bytes", "stored_bytes", "saved_bytes"};
        for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
            blx_json_null(json, keys[i]);
        return;
    }
    cli_json_timestamp(json, "last_checkpoint", agent->last_checkpoint);
    blx_json_string(json, "consistency", blx_consistency_name(agent->last_consistency));
    blx_json_bool(json, "damaged", agent->last_unreadable_bytes > 0);
    blx_json_number(json, "age", blx_protection_age_s(agent, now_realtime_ns));
    blx_json_number(json, "freeze_ns", agent->freeze_ns);
    blx_json_number(json, "changed_bytes", agent->changed_bytes);
    blx_json_number(json, "stored_bytes", agent->stored_bytes);
    blx_json_number(json, "saved_bytes", agent->saved_bytes);
}

/* The dispatcher counts these from its start on. */
static void print_counts_json(struct blx_json *json, const struct blx_control_agent *agent)
{
    blx_json_open(json, "checkpoints", '{');
    for (size_t i = 0; i < BLX_CONSISTENCIES; i++)
        blx_json_number(json, blx_consistency_name((enum blx_consistency)i), agent->checkpoints[i]);
    blx_json_close(json, '}');
    blx_json_number(json, "failed_checkpoints", agent->failed_checkpoints);
    blx_json_number(json, "sessions", agent->sessions);
    blx_json_number(json, "rescans", agent->rescans);
    blx_json_number(json, "total_received_bytes", agent->total_received_bytes);
}

void cli_status_judgement_json(struct blx_json *json, const struct blx_judgement *judgement)
{
    blx_json_bool(json, "protected", judgement->protection == BLX_PROTECTED);
    blx_json_string(json, "protection", blx_protection_name(judgement->protection));
    blx_json_string(json, "why", judgement->text);
    blx_json_open(json, "judgement", '{');
    blx_json_string(json, "reason", blx_reason_name(judgement->reason));
    blx_json_string(json, "object", judgement->object);
    cli_json_time(json, "since", judgement->since);
    blx_json_string(json, "way_out", blx_reason_way_out(judgement->reason));
    blx_json_close(json, '}');
}

static void print_agent_json(struct blx_json *json, const struct cli_agents *agents, size_t at)
{
    const struct blx_control_agent *agent = &agents->list[at];
    uint64_t now_ns = agents->now_realtime_ns;
    struct blx_judgement judgement;
    blx_protection_examine(agent, now_ns, &judgement);
    blx_json_open(json, NULL, '{');
    blx_json_string(json, "id", agent->agent_id);
    cli_status_judgement_json(json, &judgement);
    cli_json_time(json, "paused_since", agent->paused_since);
    cli_json_time(json, "archived_since", agent->archived_since);
    blx_json_string(json, "state", blx_agent_state_name(agent->status.state));
    blx_json_string(json, "peer", agent->peer);
    cli_json_text(json, "dispatcher", cli_agents_find_place(agents, agent->agent_id));
    print_last_json(json, agent, now_ns);
    print_live_json(json, agent);
    blx_json_string(json, "reason", agent->status.reason);
    blx_json_string(json, "note", agent->note);
    blx_json_string(json, "failure", agent->failure);
    cli_json_time(json, "certificate_ends",
                  agent->cert_ends_s == 0 ? 0
                                          : blx_timestamp_from_unix((int64_t)agent->cert_ends_s));
    blx_json_number(json, "quota_state", agent->quota_state);
    blx_json_number(json, "rescan_place", agent->rescan_place);
    blx_json_string(json, "quota", agent->quota);
    blx_json_number(json, "sync_freq_ms", agent->sync_freq_ms);
    if (agent->away_ms == BLX_AWAY_UNKNOWN)
        blx_json_null(json, "away_ms");
    else
        blx_json_number(json, "away_ms", agent->away_ms);
    blx_json_number(json, "connected_ms", agent->connected_ms);
    blx_json_number(json, "received_bytes", agent->received_bytes);
    blx_json_number(json, "rate_bytes_per_s", agent->rate_bytes_per_s);
    print_counts_json(json, agent);
    blx_json_number(json, "volumes", agent->volume_count);
    blx_json_number(json, "volume_bytes", agent->volume_bytes);
    cli_mounts_json(json, agents->data_dir, agent->agent_id);
    cli_proof_json(json, agents->data_dir, agent->agent_id);
    cli_suspicion_json(json, agents->data_dir, agent->agent_id);
    cli_machines_json(json, agents, agent->agent_id);
    cli_copies_json(json, agents, agent->agent_id);
    blx_json_close(json, '}');
}

static void print_json(const struct cli_agents *agents, FILE *out)
{
    struct blx_json json = {.out = out};
    blx_json_open(&json, NULL, '[');
    for (size_t i = 0; i < agents->count; i++)
        print_agent_json(&json, agents, i);
    cli_machines_pulled_json(&json, agents);
    blx_json_close(&json, ']');
}

/* In capitals if somebody should look at it. */
static const char *protection_cell(enum blx_protection protection)
{
    static const char *const cells[BLX_PROTECTIONS] = {
        [BLX_PROTECTED] = "yes",
        [BLX_PROTECTION_ARCHIVED] = "ARCHIVED",
        [BLX_PROTECTION_FIRST_SYNC] = "SYNCING",
        [BLX_PROTECTION_PAUSED] = "PAUSED",
        [BLX_PROTECTION_REVOKED] = "REVOKED",
        [BLX_PROTECTION_NEVER_JOINED] = "NEVER JOINED",
        [BLX_PROTECTION_DAMAGED] = "DAMAGED",
        [BLX_PROTECTION_INCONSISTENT] = "INCONSISTENT",
        [BLX_PROTECTION_LATE] = "LATE",
        [BLX_PROTECTION_NOT_STORED] = "NOT STORED",
        [BLX_PROTECTION_LOST] = "LOST",
    };
    return cells[protection];
}

enum column {
    COLUMN_AGENT,
    COLUMN_PROTECTED,
    COLUMN_STATE,
    COLUMN_CHECKPOINT,
    COLUMN_AGE,
    COLUMN_CONSISTENCY,
    COLUMN_FREEZE,
    COLUMN_SIZE,
    COLUMN_CHANGED,
    COLUMN_STORED,
    COLUMN_BACKLOG,
    COLUMN_RATE,
    COLUMN_PROGRESS,
    COLUMN_WHY,
    COLUMN_COUNT,
};

_Static_assert((int)COLUMN_COUNT <= (int)CLI_TABLE_MAX_COLUMNS, "the status table");

/* The least useful first; the agent and whether it is protected are always shown. */
static const uint8_t spare_columns[] = {COLUMN_SIZE,        COLUMN_STORED,     COLUMN_CHANGED,
                                        COLUMN_FREEZE,      COLUMN_CHECKPOINT, COLUMN_RATE,
                                        COLUMN_CONSISTENCY, COLUMN_STATE,      COLUMN_BACKLOG,
                                        COLUMN_PROGRESS,    COLUMN_AGE};

/* On a terminal also what to do about it. */
static const char *format_why(const struct cli_table *table, const struct blx_judgement *judgement,
                              char text[BLX_JUDGEMENT_TEXT_BYTES])
{
    if (table->max_width > 0 && judgement->protection != BLX_PROTECTED)
        return blx_judgement_format(judgement, text);
    return judgement->text;
}

enum { STORE_TEXT_BYTES = CLI_SUSPICION_TEXT_BYTES + CLI_PROOF_TEXT_BYTES + 4 };

/* What the store tells of an agent that is protected: a signal that stands, and the last proof. */
static const char *explain_store(const struct cli_agents *agents, const char *agent_id,
                                 char text[STORE_TEXT_BYTES])
{
    char proof[CLI_PROOF_TEXT_BYTES], suspicion[CLI_SUSPICION_TEXT_BYTES];
    cli_suspicion_explain(agents->data_dir, agent_id, suspicion);
    cli_proof_explain(agents->data_dir, agent_id, agents->now_realtime_ns, proof);
    bool both = suspicion[0] != '\0' && proof[0] != '\0';
    snprintf(text, STORE_TEXT_BYTES, "%s%s%s", suspicion, both ? "; " : "", proof);
    return text;
}

static int add_row(struct cli_table *table, const struct cli_agents *agents,
                   const struct blx_control_agent *agent)
{
    const uint64_t now_ns = agents->now_realtime_ns;
    struct blx_judgement judgement;
    blx_protection_examine(agent, now_ns, &judgement);
    char last[BLX_TIMESTAMP_TEXT_BYTES] = "-", age[BLX_UNIT_TEXT_BYTES] = "-";
    char volumes[BLX_UNIT_TEXT_BYTES], changed[BLX_UNIT_TEXT_BYTES] = "-",
                                       stored[BLX_UNIT_TEXT_BYTES] = "-";
    char freeze[BLX_UNIT_TEXT_BYTES] = "-", backlog[BLX_UNIT_TEXT_BYTES] = "-";
    char rate[BLX_UNIT_TEXT_BYTES + 4] = "-", size[BLX_UNIT_TEXT_BYTES];
    char progress[96], why[BLX_JUDGEMENT_TEXT_BYTES], known[STORE_TEXT_BYTES];
    char consistency[CLI_CONSISTENCY_TEXT_BYTES] = "-";
    bool has_checkpoint = agent->last_checkpoint != 0;
    if (has_checkpoint) {
        blx_timestamp_format(agent->last_checkpoint, last);
        cli_seconds_format(blx_protection_age_s(agent, now_ns), age);
        blx_size_format(agent->changed_bytes, changed);
        blx_size_format(agent->stored_bytes, stored);
        cli_consistency_format(agent->last_consistency, agent->last_unreadable_bytes, consistency);
    }
    if (has_checkpoint && agent->freeze_ns > 0)
        blx_duration_format(blx_ns_to_ms_up(agent->freeze_ns), freeze);
    if (agent->status.state != BLX_AGENT_OFFLINE)
        blx_size_format(agent->status.dirty_bytes, backlog);
    if (agent->rate_bytes_per_s > 0)
        snprintf(rate, sizeof(rate), "%s/s", blx_size_format(agent->rate_bytes_per_s, size));
    cli_pass_format(&agent->status, progress);
    if (agent->rescan_place > 0)
        snprintf(progress, sizeof(progress), "rescan waits, %u before it", agent->rescan_place - 1);
    const char *const cells[COLUMN_COUNT] = {
        [COLUMN_AGENT] = agent->agent_id,
        [COLUMN_PROTECTED] = protection_cell(judgement.protection),
        [COLUMN_STATE] = blx_agent_state_name(agent->status.state),
        [COLUMN_CHECKPOINT] = last,
        [COLUMN_AGE] = age,
        [COLUMN_CONSISTENCY] = consistency,
        [COLUMN_FREEZE] = freeze,
        [COLUMN_SIZE] = blx_size_format(agent->volume_bytes, volumes),
        [COLUMN_CHANGED] = changed,
        [COLUMN_STORED] = stored,
        [COLUMN_BACKLOG] = backlog,
        [COLUMN_RATE] = rate,
        [COLUMN_PROGRESS] = progress,
        [COLUMN_WHY] = judgement.text[0] == '\0' && agents->data_dir != NULL
                           ? explain_store(agents, agent->agent_id, known)
                           : format_why(table, &judgement, why),
    };
    return cli_table_add(table, cells);
}

const char *cli_status_colour(enum blx_protection protection)
{
    if (protection == BLX_PROTECTED || protection == BLX_PROTECTION_ARCHIVED)
        return CLI_GREEN;
    bool expected = protection == BLX_PROTECTION_FIRST_SYNC ||
                    protection == BLX_PROTECTION_NEVER_JOINED ||
                    protection == BLX_PROTECTION_PAUSED || protection == BLX_PROTECTION_REVOKED;
    return expected ? CLI_YELLOW : CLI_RED;
}

static const char *paint_row(void *arg, size_t row)
{
    const struct cli_agents *agents = arg;
    if (row == 0)
        return CLI_BOLD;
    enum blx_protection protection =
        blx_protection_judge(&agents->list[row - 1], agents->now_realtime_ns);
    return protection == BLX_PROTECTED ? NULL : cli_status_colour(protection);
}

/* "; the oldest checkpoint is 3 m 20 s old" */
static void print_oldest(const struct cli_agents *agents, const char *before, FILE *out)
{
    char age[BLX_UNIT_TEXT_BYTES];
    const struct blx_control_agent *oldest = NULL;
    for (size_t i = 0; i < agents->count; i++) {
        const struct blx_control_agent *agent = &agents->list[i];
        if (agent->last_checkpoint != 0 && agent->archived_since == 0 &&
            (oldest == NULL || agent->last_checkpoint < oldest->last_checkpoint))
            oldest = agent;
    }
    if (oldest != NULL)
        fprintf(out, "%s checkpoint is %s old", before,
                cli_seconds_format(blx_protection_age_s(oldest, agents->now_realtime_ns), age));
}

static void print_troubles(const struct cli_agents *agents, FILE *out)
{
    static const char *const words[BLX_PROTECTIONS] = {
        [BLX_PROTECTED] = "protected",           [BLX_PROTECTION_ARCHIVED] = "archived",
        [BLX_PROTECTION_FIRST_SYNC] = "syncing", [BLX_PROTECTION_PAUSED] = "paused",
        [BLX_PROTECTION_REVOKED] = "revoked",    [BLX_PROTECTION_NEVER_JOINED] = "never joined",
        [BLX_PROTECTION_DAMAGED] = "damaged",    [BLX_PROTECTION_INCONSISTENT] = "inconsistent",
        [BLX_PROTECTION_LATE] = "late",          [BLX_PROTECTION_NOT_STORED] = "not stored",
        [BLX_PROTECTION_LOST] = "lost",
    };
    const char *between = ":";
    for (int protection = BLX_PROTECTION_LOST; protection > BLX_PROTECTION_ARCHIVED; protection--) {
        size_t tally = cli_agents_tally(agents, (enum blx_protection)protection);
        if (tally == 0)
            continue;
        fprintf(out, "%s %zu %s", between, tally, words[protection]);
        between = ",";
    }
}

/* Nobody expects anything of an agent that is archived. */
static size_t count_wanted(const struct cli_agents *agents)
{
    return agents->count - cli_agents_tally(agents, BLX_PROTECTION_ARCHIVED);
}

/* The first line, which alone answers the question whether all is well. */
static void write_headline(const struct cli_agents *agents, FILE *out)
{
    size_t well = cli_agents_tally(agents, BLX_PROTECTED);
    size_t wanted = count_wanted(agents);
    if (agents->count == 0) {
        fprintf(out, "no agent has connected yet");
    } else if (!agents->running) {
        fprintf(out, "NOTHING is being protected, no dispatcher runs");
        print_oldest(agents, "; the oldest", out);
    } else if (wanted == 0) {
        fprintf(out, "NOTHING is being protected, every agent is archived");
    } else if (well == wanted && wanted == 1) {
        fprintf(out, "the only agent is protected");
        print_oldest(agents, ", its last", out);
    } else if (well == wanted) {
        fprintf(out, "all %zu agents protected", wanted);
        print_oldest(agents, ", the oldest", out);
    } else {
        fprintf(out, "%zu of %zu agent%s NOT protected", wanted - well, wanted, cli_plural(wanted));
        print_troubles(agents, out);
        print_oldest(agents, "; the oldest", out);
    }
}

static void print_headline(const struct cli_agents *agents, const struct cli_screen *screen,
                           FILE *out)
{
    BLX_CLEANUP_FREE char *line = NULL;
    size_t bytes = 0;
    FILE *text = open_memstream(&line, &bytes);
    if (text == NULL)
        return;
    write_headline(agents, text);
    fclose(text);
    bool painted = screen->has_colours && agents->count > 0;
    if (painted)
        fputs(cli_status_colour(blx_protection_judge(&agents->list[0], agents->now_realtime_ns)),
              out);
    blx_text_wrap(out, line, 0, WRAP_INDENT, screen->columns);
    if (painted)
        fputs(CLI_PLAIN, out);
}

/* What is wrong with the store, in capitals, as for an agent. */
static const char *store_word(const struct blx_control_dispatcher *dispatcher)
{
    static const char *const words[] = {[BLX_TROUBLE_NONE] = "",
                                        [BLX_TROUBLE_FULL] = ", FULL",
                                        [BLX_TROUBLE_READ_ONLY] = ", READ-ONLY",
                                        [BLX_TROUBLE_DENIED] = ", ANOTHER USER'S",
                                        [BLX_TROUBLE_GONE] = ", GONE",
                                        [BLX_TROUBLE_FAILED] = ", FAILS",
                                        [BLX_TROUBLE_DAMAGED] = ", DAMAGED"};
    if (dispatcher->trouble.kind == BLX_TROUBLE_NONE && blx_data_is_nearly_full(dispatcher))
        return ", NEARLY FULL";
    return words[dispatcher->trouble.kind];
}

static void print_dispatcher(const struct cli_agents *agents, const struct cli_screen *screen,
                             FILE *out)
{
    char text[BLX_TEXT_BYTES], rate[BLX_UNIT_TEXT_BYTES];
    const struct blx_control_dispatcher *dispatcher = &agents->dispatcher;
    const char *word = store_word(dispatcher);
    bool is_bad = word[0] != '\0';
    uint64_t rate_bytes_per_s = 0;
    if (!agents->running || dispatcher->data_bytes == 0)
        return;
    for (size_t i = 0; i < agents->count; i++)
        rate_bytes_per_s += agents->list[i].rate_bytes_per_s;
    if (is_bad && screen->has_colours)
        fputs(CLI_RED, out);
    fprintf(out, "data directory: %s%s, %s/s coming in%s\n",
            blx_data_explain(dispatcher, BLX_DATA_INODES_IF_FEW, text), word,
            blx_size_format(rate_bytes_per_s, rate),
            is_bad && screen->has_colours ? CLI_PLAIN : "");
}

static void print_certificates(const struct cli_agents *agents, FILE *out)
{
    const struct blx_control_dispatcher *dispatcher = &agents->dispatcher;
    const uint64_t now_ns = agents->now_realtime_ns;
    char end[BLX_TEXT_BYTES];
    if (!agents->running)
        return;
    if (blx_end_judge(dispatcher->ca_ends_s, BLX_CA_WARNING_DAYS, now_ns) != BLX_END_FAR)
        fprintf(out, "certificates ENDING: the CA %s, replace it with renew-ca\n",
                blx_end_explain(dispatcher->ca_ends_s, now_ns, end));
    else if (blx_end_judge(dispatcher->cert_ends_s, BLX_CERT_WARNING_DAYS, now_ns) != BLX_END_FAR)
        fprintf(out, "certificates ENDING: the dispatcher's %s\n",
                blx_end_explain(dispatcher->cert_ends_s, now_ns, end));
    if (dispatcher->ca_rolls)
        fprintf(out,
                "certificates: the CA is being replaced, %" PRIu32
                " agent%s still need%s the old one (retire-ca)\n",
                dispatcher->ca_stayed, cli_plural(dispatcher->ca_stayed),
                dispatcher->ca_stayed == 1 ? "s" : "");
}

static void print_stale(const struct cli_agents *agents, const struct cli_screen *screen, FILE *out)
{
    char line[BLX_TEXT_BYTES + 32];
    if (agents->stale[0] == '\0')
        return;
    snprintf(line, sizeof(line), "configuration: %s", agents->stale);
    blx_text_wrap(out, line, 0, WRAP_INDENT, screen->columns);
}

/* `max_lines`: 0 means no limit. */
static int print_table(struct cli_agents *agents, const struct cli_screen *screen, size_t max_lines,
                       FILE *out, struct blx_error *err)
{
    static const char *const head[COLUMN_COUNT] = {
        "AGENT", "PROTECTED", "STATE",  "CHECKPOINT", "AGE",  "CONSISTENCY", "FREEZE",
        "SIZE",  "CHANGED",   "STORED", "BACKLOG",    "RATE", "PROGRESS",    "WHY"};
    BLX_CLEANUP(cli_table_done)
    struct cli_table table = {.column_count = COLUMN_COUNT,
                              .out = out,
                              .max_width = screen->columns,
                              .max_lines = max_lines,
                              .fold_from = COLUMN_WHY,
                              .spare = spare_columns,
                              .spare_count = sizeof(spare_columns),
                              .paint = screen->has_colours ? paint_row : NULL,
                              .paint_arg = agents};
    int rc = cli_table_add(&table, head);
    for (size_t i = 0; rc == 0 && i < agents->count; i++)
        rc = add_row(&table, agents, &agents->list[i]);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot list the agents");
    size_t printed = agents->count > 0 ? cli_table_print(&table) : 0;
    if (printed < agents->count)
        fprintf(out, "... and %zu more\n", agents->count - printed);
    return 0;
}

int cli_status_print(struct cli_agents *agents, const struct cli_screen *screen, size_t max_lines,
                     FILE *out, struct blx_error *err)
{
    cli_agents_sort(agents);
    print_headline(agents, screen, out);
    print_dispatcher(agents, screen, out);
    print_certificates(agents, out);
    cli_hosts_print(agents, out);
    print_stale(agents, screen, out);
    int rc = print_table(agents, screen, max_lines, out, err);
    cli_machines_print(agents, NULL, out);
    cli_copies_print(agents, out);
    if (agents->data_dir != NULL)
        cli_mounts_print(agents->data_dir, NULL, out);
    return rc;
}

static int draw(void *arg, const struct cli_screen *screen, FILE *out, struct blx_error *err)
{
    const struct blx_config *config = arg;
    BLX_CLEANUP(cli_agents_done) struct cli_agents agents = {0};
    int rc = cli_agents_collect(config->data_dir, &agents, err);
    if (rc < 0)
        return rc;
    if (config->json) {
        print_json(&agents, out);
        return 0;
    }
    size_t lines = PICTURE_LINES + cli_mounts_count(config->data_dir) +
                   cli_machines_count(&agents) + cli_hosts_print(&agents, NULL) +
                   cli_copies_count(&agents);
    size_t max_lines = screen->rows > lines + 1 ? screen->rows - lines - 1 : 1;
    return cli_status_print(&agents, screen, screen->is_terminal ? max_lines : 0, out, err);
}

/* The exit status of --check. */
static enum blx_exit check(const struct cli_agents *agents)
{
    if (!agents->running)
        return BLX_EXIT_NO_ANSWER;
    if (agents->count == 0 && agents->pulled_count > 0) /* it is there for copies alone */
        return BLX_EXIT_OK;
    return blx_protection_is_well(&agents->dispatcher, agents->list, agents->count,
                                  agents->now_realtime_ns)
               ? BLX_EXIT_OK
               : BLX_EXIT_FAILED;
}

/* The agent of this machine is meant, and not a dispatcher. */
static bool asks_agent(const struct cli_request *request)
{
    if (request->side != NULL)
        return strcmp(request->side, "agent") == 0;
    return request->config->data_dir == NULL && cli_find_mode(request) == BLX_MODE_AGENT;
}

enum blx_exit cli_status(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    if (asks_agent(request))
        return cli_status_self(request, err);
    if (config->data_dir == NULL) {
        blx_config_missing("data-dir", BLX_COMMAND_STATUS, config, err);
        if (cli_find_mode(request) == BLX_MODE_NONE)
            blx_error_prefix(err, "`blxrep agent status` asks the agent of this server; for a "
                                  "dispatcher");
        return BLX_EXIT_USAGE;
    }
    BLX_CLEANUP(cli_agents_done) struct cli_agents agents = {0};
    struct cli_screen screen;
    int rc = 0;
    if (config->watch)
        return cli_screen_watch(CLI_STATUS_PERIOD_MS, draw, (void *)(uintptr_t)config, err) < 0
                   ? BLX_EXIT_FAILED
                   : BLX_EXIT_OK;
    if (cli_agents_collect(config->data_dir, &agents, err) < 0)
        return config->check ? BLX_EXIT_NO_ANSWER : BLX_EXIT_FAILED;
    if (agents.note[0] != '\0')
        cli_note("%s", agents.note);
    if (config->json && agents.stale[0] != '\0')
        cli_note("%s", agents.stale);
    if (config->json && cli_agents_are_of_standby(&agents))
        cli_note("this dispatcher is a standby: these are the agents as the dispatcher that has "
                 "'%s' told of them",
                 config->data_dir);
    cli_screen_look(&screen);
    if (config->json)
        print_json(&agents, stdout);
    else
        rc = cli_status_print(&agents, &screen, 0, stdout, err);
    if (rc < 0)
        return BLX_EXIT_FAILED;
    return config->check ? check(&agents) : BLX_EXIT_OK;
}
