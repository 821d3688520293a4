/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep status` on a protected server: what its agent tells of itself. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/describe.h"
#include "cli/self.h"
#include "cli/status_private.h"
#include "cli/table.h"

enum { WRAP_INDENT = 2, LINE_BYTES = 1024 };

__attribute__((format(printf, 3, 4))) static void say(const struct cli_screen *screen, FILE *out,
                                                      const char *format, ...)
{
    char line[LINE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    blx_text_clean(line);
    blx_text_wrap(out, line, 0, WRAP_INDENT, screen->columns);
}

static void print_headline(const struct cli_self *self, const struct cli_screen *screen, FILE *out)
{
    char text[BLX_JUDGEMENT_TEXT_BYTES];
    const struct blx_judgement *judgement = &self->judgement;
    const bool well = judgement->protection == BLX_PROTECTED;
    if (screen->has_colours)
        fputs(cli_status_colour(judgement->protection), out);
    if (well && judgement->text[0] == '\0')
        say(screen, out, "this server ('%s') is protected", self->agent.agent_id);
    else
        say(screen, out, "this server ('%s') is %sprotected: %s", self->agent.agent_id,
            well ? "" : "NOT ", blx_judgement_format(judgement, text));
    if (screen->has_colours)
        fputs(CLI_PLAIN, out);
}

static void print_connection(const struct cli_self *self, const struct cli_screen *screen,
                             FILE *out)
{
    const struct blx_control_self *more = &self->more;
    const bool connected = self->agent.status.state != BLX_AGENT_OFFLINE;
    char since[BLX_UNIT_TEXT_BYTES], ago[BLX_UNIT_TEXT_BYTES];
    say(screen, out, "dispatcher: '%s', %sconnected for %s",
        connected && self->agent.peer[0] != '\0' ? self->agent.peer : more->dispatcher_addr,
        connected ? "" : "NOT ",
        blx_duration_format(connected ? self->agent.connected_ms : self->agent.away_ms, since));
    if (connected && self->agent.peer[0] != '\0' &&
        strcmp(self->agent.peer, more->dispatcher_addr) != 0)
        say(screen, out, "dispatchers, in the order in which they are tried: '%s'",
            more->dispatcher_addr);
    if (more->refusal[0] != '\0')
        say(screen, out, "last refusal: %s ago: %s", blx_duration_format(more->refusal_ms, ago),
            more->refusal);
}

static void print_checkpoint(const struct cli_self *self, const struct cli_screen *screen,
                             FILE *out)
{
    const struct blx_control_agent *agent = &self->agent;
    char time[BLX_WHEN_TEXT_BYTES], age[BLX_UNIT_TEXT_BYTES], frozen[BLX_UNIT_TEXT_BYTES];
    char consistency[CLI_CONSISTENCY_TEXT_BYTES], backlog[BLX_UNIT_TEXT_BYTES];
    if (agent->last_checkpoint == 0) {
        say(screen, out, "last checkpoint: none yet");
    } else {
        blx_when_format(agent->last_time, BLX_ZONE_LOCAL, time);
        cli_seconds_format(blx_protection_age_s(agent, self->now_realtime_ns), age);
        if (self->more.knows_checkpoint)
            say(screen, out, "last checkpoint: %" PRIu64 ", of %s, %s ago, %s, frozen for %s",
                agent->last_checkpoint, time, age,
                cli_consistency_format(agent->last_consistency, agent->last_unreadable_bytes,
                                       consistency),
                blx_duration_format(blx_ns_to_ms_up(agent->freeze_ns), frozen));
        else
            say(screen, out,
                "last checkpoint: %" PRIu64 ", of %s, %s ago, taken before this agent started",
                agent->last_checkpoint, time, age);
    }
    say(screen, out, "waiting to be sent: %s", blx_size_format(agent->status.dirty_bytes, backlog));
}

static void print_warnings(const struct cli_self *self, const struct cli_screen *screen, FILE *out)
{
    const int64_t days = blx_days_until(self->more.cert_ends_s, self->now_realtime_ns);
    if (self->more.cert_ends_s != 0 && days < BLX_CERT_WARNING_DAYS)
        say(screen, out, "certificate: ENDS in %" PRId64 " day%s", days,
            cli_plural((uint64_t)(days > 0 ? days : 0)));
    if (self->more.left_over > 0)
        say(screen, out,
            "disks: %" PRIu32 " more than one agent can have are NOT protected: exclude some, or "
            "start a second agent",
            self->more.left_over);
}

enum column {
    COLUMN_DISK,
    COLUMN_STATE,
    COLUMN_SIZE,
    COLUMN_BACKLOG,
    COLUMN_UNREADABLE,
    COLUMN_WRITES,
    COLUMN_MISSED,
    COLUMN_PROGRESS,
    COLUMN_WHY,
    COLUMN_COUNT,
};

_Static_assert((int)COLUMN_COUNT <= (int)CLI_TABLE_MAX_COLUMNS, "the table of disks");

static const uint8_t spare_columns[] = {COLUMN_WRITES, COLUMN_SIZE, COLUMN_BACKLOG,
                                        COLUMN_PROGRESS};

/* In capitals if somebody should look at it. A disk in a pass is not told as protected: the next
 * checkpoint lacks it. */
static const char *state_cell(const struct blx_control_disk *disk)
{
    if (disk->state == BLX_DISK_PROTECTED && disk->total_bytes > 0)
        return "SYNCING";
    return disk->state == BLX_DISK_REFUSED ? "REFUSED" : blx_disk_state_name(disk->state);
}

static int add_row(struct cli_table *table, const struct blx_control_disk *disk)
{
    char size[BLX_UNIT_TEXT_BYTES] = "-", backlog[BLX_UNIT_TEXT_BYTES] = "-";
    char unreadable[BLX_UNIT_TEXT_BYTES] = "-", writes[32] = "-", missed[32] = "-";
    char progress[CLI_PASS_TEXT_BYTES] = "-", path[BLX_TEXT_BYTES], text[BLX_TEXT_BYTES];
    if (disk->size_bytes > 0)
        blx_size_format(disk->size_bytes, size);
    if (disk->state == BLX_DISK_PROTECTED) {
        const struct blx_status pass = {.state = BLX_AGENT_FULL_SYNC,
                                        .done_bytes = disk->done_bytes,
                                        .total_bytes = disk->total_bytes};
        blx_size_format(disk->dirty_bytes, backlog);
        snprintf(writes, sizeof(writes), "%" PRIu64, disk->tracked_events);
        cli_pass_format(&pass, progress);
    }
    if (disk->unreadable_bytes > 0)
        blx_size_format(disk->unreadable_bytes, unreadable);
    if (disk->missed_events > 0)
        snprintf(missed, sizeof(missed), "%" PRIu64, disk->missed_events);
    blx_text_set(path, disk->path);
    blx_text_clean(path);
    blx_text_set(text, disk->text);
    blx_text_clean(text);
    const char *const cells[COLUMN_COUNT] = {
        [COLUMN_DISK] = path,
        [COLUMN_STATE] = state_cell(disk),
        [COLUMN_SIZE] = size,
        [COLUMN_BACKLOG] = backlog,
        [COLUMN_UNREADABLE] = unreadable,
        [COLUMN_WRITES] = writes,
        [COLUMN_MISSED] = missed,
        [COLUMN_PROGRESS] = progress,
        [COLUMN_WHY] = text[0] != '\0' ? text : "-",
    };
    return cli_table_add(table, cells);
}

static int print_disks(const struct cli_self *self, const struct cli_screen *screen, FILE *out,
                       struct blx_error *err)
{
    static const char *const head[COLUMN_COUNT] = {
        "DISK", "STATE", "SIZE", "BACKLOG", "UNREADABLE", "WRITES", "MISSED", "PROGRESS", "WHY"};
    BLX_CLEANUP(cli_table_done)
    struct cli_table table = {.column_count = COLUMN_COUNT,
                              .out = out,
                              .max_width = screen->columns,
                              .fold_from = COLUMN_WHY,
                              .spare = spare_columns,
                              .spare_count = sizeof(spare_columns)};
    int rc = self->disk_count > 0 ? cli_table_add(&table, head) : 0;
    for (size_t i = 0; rc == 0 && i < self->disk_count; i++)
        rc = add_row(&table, &self->disks[i]);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot list the disks");
    if (self->disk_count > 0)
        cli_table_print(&table);
    return 0;
}

int cli_status_print_self(const struct cli_self *self, const struct cli_screen *screen, FILE *out,
                          struct blx_error *err)
{
    print_headline(self, screen, out);
    print_connection(self, screen, out);
    print_checkpoint(self, screen, out);
    print_warnings(self, screen, out);
    return print_disks(self, screen, out, err);
}

static void print_disk_json(struct blx_json *json, const struct blx_control_disk *disk)
{
    blx_json_open(json, NULL, '{');
    blx_json_string(json, "device", disk->path);
    blx_json_string(json, "state", blx_disk_state_name(disk->state));
    blx_json_string(json, "why", disk->text);
    blx_json_number(json, "size", disk->size_bytes);
    blx_json_number(json, "dirty_bytes", disk->dirty_bytes);
    blx_json_number(json, "unreadable_bytes", disk->unreadable_bytes);
    blx_json_number(json, "done_bytes", disk->done_bytes);
    blx_json_number(json, "total_bytes", disk->total_bytes);
    blx_json_number(json, "tracked_events", disk->tracked_events);
    blx_json_number(json, "missed_events", disk->missed_events);
    blx_json_close(json, '}');
}

static void print_last_json(struct blx_json *json, const struct cli_self *self)
{
    const struct blx_control_agent *agent = &self->agent;
    cli_json_timestamp(json, "last_checkpoint", agent->last_checkpoint);
    if (agent->last_checkpoint == 0)
        blx_json_null(json, "age");
    else
        blx_json_number(json, "age", blx_protection_age_s(agent, self->now_realtime_ns));
    if (self->more.knows_checkpoint) {
        blx_json_string(json, "consistency", blx_consistency_name(agent->last_consistency));
        blx_json_bool(json, "damaged", agent->last_unreadable_bytes > 0);
        blx_json_number(json, "freeze_ns", agent->freeze_ns);
        blx_json_string(json, "note", agent->note);
        return;
    }
    static const char *const keys[] = {"consistency", "damaged", "freeze_ns", "note"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        blx_json_null(json, keys[i]);
}

static void print_refusal_json(struct blx_json *json, const struct blx_control_self *more)
{
    if (more->refusal[0] == '\0') {
        blx_json_null(json, "last_refusal");
        return;
    }
    blx_json_open(json, "last_refusal", '{');
    blx_json_string(json, "text", more->refusal);
    blx_json_number(json, "ago_ms", more->refusal_ms);
    blx_json_close(json, '}');
}

static void print_json(const struct cli_self *self, FILE *out)
{
    struct blx_json json = {.out = out};
    const struct blx_control_agent *agent = &self->agent;
    const struct blx_control_self *more = &self->more;
    blx_json_open(&json, NULL, '{');
    blx_json_number(&json, "version", 1);
    blx_json_string(&json, "mode", "agent");
    blx_json_string(&json, "id", agent->agent_id);
    cli_status_judgement_json(&json, &self->judgement);
    cli_json_time(&json, "paused_since", agent->paused_since);
    blx_json_string(&json, "state", blx_agent_state_name(agent->status.state));
    blx_json_string(&json, "dispatcher", more->dispatcher_addr);
    cli_json_text(&json, "connected_to", agent->peer[0] != '\0' ? agent->peer : NULL);
    blx_json_number(&json, "connected_ms", agent->connected_ms);
    blx_json_number(&json, "away_ms", agent->away_ms);
    blx_json_number(&json, "sync_freq_ms", agent->sync_freq_ms);
    print_refusal_json(&json, more);
    print_last_json(&json, self);
    blx_json_number(&json, "dirty_bytes", agent->status.dirty_bytes);
    blx_json_string(&json, "reason", agent->status.reason);
    blx_json_string(&json, "failure", agent->failure);
    blx_json_bool(&json, "encrypts", more->encrypts);
    blx_json_string(&json, "software", more->software);
    blx_json_number(&json, "uptime_ms", more->uptime_ms);
    if (more->cert_ends_s == 0)
        blx_json_null(&json, "certificate_ends");
    else
        cli_json_time(&json, "certificate_ends",
                      blx_timestamp_from_unix((int64_t)more->cert_ends_s));
    blx_json_number(&json, "left_over_disks", more->left_over);
    blx_json_open(&json, "disks", '[');
    for (size_t i = 0; i < self->disk_count; i++)
        print_disk_json(&json, &self->disks[i]);
    blx_json_close(&json, ']');
    blx_json_close(&json, '}');
}

static int draw(void *arg, const struct cli_screen *screen, FILE *out, struct blx_error *err)
{
    const struct blx_config *config = arg;
    BLX_CLEANUP(cli_self_done) struct cli_self self = {.disks = NULL};
    int rc = cli_self_collect(config->run_dir, &self, err);
    if (rc < 0)
        return rc;
    if (!config->json)
        return cli_status_print_self(&self, screen, out, err);
    print_json(&self, out);
    return 0;
}

static bool is_well(const struct cli_self *self)
{
    return self->judgement.protection == BLX_PROTECTED &&
           blx_days_until(self->more.cert_ends_s, self->now_realtime_ns) >= BLX_CERT_WARNING_DAYS;
}

enum blx_exit cli_status_self(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    BLX_CLEANUP(cli_self_done) struct cli_self self = {.disks = NULL};
    struct cli_screen screen;
    int rc = 0;
    if (config->watch)
        return cli_screen_watch(CLI_STATUS_PERIOD_MS, draw, (void *)(uintptr_t)config, err) < 0
                   ? BLX_EXIT_FAILED
                   : BLX_EXIT_OK;
    if (cli_self_collect(config->run_dir, &self, err) < 0)
        return config->check ? BLX_EXIT_NO_ANSWER : BLX_EXIT_FAILED;
    cli_screen_look(&screen);
    if (config->json)
        print_json(&self, stdout);
    else
        rc = cli_status_print_self(&self, &screen, stdout, err);
    return rc < 0 || (config->check && !is_well(&self)) ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}
