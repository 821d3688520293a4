/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep log`: what was done to whom, and whether the log itself is whole. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "base/when.h"
#include "cli/command.h"
#include "cli/table.h"
#include "store/audit.h"

enum { TEXT_BYTES = 512 };

/* What is printed, and what was found wrong. */
struct view {
    const struct blx_config *config;
    struct cli_table table;
    bool has_line; /* something stands in the JSON array */
    uint64_t lines, faults;
};

static bool is_wanted(const struct view *view, const char *line)
{
    char agent[BLX_NAME_BYTES];
    if (view->config->agent == NULL)
        return true;
    return blx_audit_value(line, "agent", agent, sizeof(agent)) == 0 &&
           strcmp(agent, view->config->agent) == 0;
}

static const char *value_of(const char *line, const char *key, char value[TEXT_BYTES])
{
    return blx_audit_value(line, key, value, TEXT_BYTES) == 0 ? value : "-";
}

static int add_row(struct view *view, const char *line)
{
    char time[TEXT_BYTES], event[TEXT_BYTES], agent[TEXT_BYTES], program[TEXT_BYTES];
    char uid[TEXT_BYTES], text[TEXT_BYTES], who[2 * TEXT_BYTES + 8];
    snprintf(who, sizeof(who), "%s (%s)", value_of(line, "program", program),
             value_of(line, "uid", uid));
    blx_timestamp at, ignored;
    value_of(line, "time", time);
    if (!view->config->utc &&
        blx_when_parse(time, blx_clock_realtime_ns(), &at, &ignored, NULL) == 0)
        blx_when_format(at, BLX_ZONE_LOCAL, time);
    const char *cells[] = {time, value_of(line, "event", event), value_of(line, "agent", agent),
                           who, value_of(line, "text", text)};
    return cli_table_add(&view->table, cells);
}

static int take_line(void *arg, const struct blx_audit_line *line, struct blx_error *err)
{
    struct view *view = arg;
    view->lines++;
    if (line->fault != BLX_AUDIT_GOOD) {
        view->faults++;
        cli_note("'%s', line %" PRIu64 ": %s", line->path, line->number,
                 line->fault == BLX_AUDIT_TORN
                     ? "it ends too early: a crash came while it was written, or it was changed"
                     : "the line before it was changed, or lines were taken out");
    }
    if (!is_wanted(view, line->text) || line->fault == BLX_AUDIT_TORN)
        return 0;
    BLX_CLEANUP_FREE char *text = strdup(line->text);
    if (text == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot print the log");
    blx_text_clean(text);
    if (view->config->json) {
        printf("%s\n%s", view->has_line ? "," : "", text);
        view->has_line = true;
        return 0;
    }
    return add_row(view, text) < 0 ? blx_error_errno(err, -ENOMEM, "cannot print the log") : 0;
}

enum blx_exit cli_log(const struct cli_request *request, struct blx_error *err)
{
    static const char *const head[] = {"TIME", "EVENT", "AGENT", "BY (UID)", "TEXT"};
    const struct blx_config *config = request->config;
    struct view view = {.config = config,
                        .table = {.column_count = sizeof(head) / sizeof(head[0]), .fold_from = 4}};
    cli_table_fit(&view.table, stdout);
    int rc = cli_table_add(&view.table, head);
    if (config->json)
        printf("[");
    if (rc == 0)
        rc = cli_become_owner(config->data_dir, err);
    if (rc == 0)
        rc = blx_audit_each(config->data_dir, take_line, &view, err);
    if (config->json)
        printf("\n]\n");
    else if (rc == 0)
        cli_table_print(&view.table);
    cli_table_done(&view.table);
    if (rc == 0 && config->verify)
        cli_note("%" PRIu64 " line%s, %" PRIu64 " fault%s", view.lines, view.lines == 1 ? "" : "s",
                 view.faults, view.faults == 1 ? "" : "s");
    return rc < 0 || view.faults > 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}
