/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep verify`: checks every stored byte, and has damage healed that the next checkpoint would
 * inherit. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/control.h"
#include "cli/describe.h"
#include "store/rescan_order.h"
#include "store/verify/verify.h"

enum { SHOWN_EXTENTS = 8, INDENT = 4 };

/* Why the damage hurts no checkpoint. */
static const char *harmless(const struct blx_damage *damage)
{
    if (damage->scope == BLX_DAMAGE_UNCOMMITTED)
        return "no readable checkpoint refers to it";
    if (damage->scope == BLX_DAMAGE_STATE)
        return "no data; the next session begins with a full pass";
    return "superseded, no checkpoint needs it";
}

static void print_extents(FILE *out, const struct blx_damage *damage)
{
    uint64_t blocks = 0;
    for (size_t i = 0; i < damage->extent_count; i++)
        blocks += damage->extents[i].block_count;
    if (blocks == 0)
        return;
    char size[BLX_UNIT_TEXT_BYTES];
    fprintf(out, "; holds %s of %s in %zu extent%s (",
            blx_size_format(blocks << damage->block_shift, size), damage->volume,
            damage->extent_count, cli_plural(damage->extent_count));
    for (size_t i = 0; i < damage->extent_count && i < SHOWN_EXTENTS; i++) {
        uint64_t start = damage->extents[i].start_block << damage->block_shift;
        uint64_t bytes = damage->extents[i].block_count << damage->block_shift;
        fprintf(out, "%sbytes %" PRIu64 "-%" PRIu64, i == 0 ? "" : ", ", start, start + bytes - 1);
    }
    fprintf(out, "%s)", damage->extent_count > SHOWN_EXTENTS ? ", ..." : "");
}

static void print_damage(FILE *out, const struct blx_damage *damage)
{
    fprintf(out, "%s: ", damage->file);
    if (damage->bytes > 0)
        fprintf(out, "%" PRIu64 " bytes at %" PRIu64 ": ", damage->bytes, damage->offset_bytes);
    fprintf(out, "%s", damage->cause);
    print_extents(out, damage);
    if (damage->checkpoint_count == 0)
        fprintf(out, "; hurts no checkpoint (%s)\n", harmless(damage));
    else
        fprintf(out, "; hurts %zu checkpoint%s of %s:", damage->checkpoint_count,
                cli_plural(damage->checkpoint_count), damage->agent_id);
    for (size_t i = 0; i < damage->checkpoint_count; i++)
        fprintf(out, " %" PRIu64 "%s", damage->checkpoints[i],
                i + 1 == damage->checkpoint_count ? "\n" : "");
}

static void write_text(FILE *out, const struct blx_verify_report *report)
{
    char size[BLX_UNIT_TEXT_BYTES];
    for (size_t i = 0; i < report->damage_count; i++)
        print_damage(out, &report->damages[i]);
    fprintf(out,
            "%" PRIu64 " agent%s, %" PRIu64 " checkpoint%s, %" PRIu64 " segment%s, %" PRIu64
            " frame%s, %s checked: ",
            report->agents, cli_plural(report->agents), report->checkpoints,
            cli_plural(report->checkpoints), report->segments, cli_plural(report->segments),
            report->frames, cli_plural(report->frames),
            blx_size_format(report->checked_bytes, size));
    if (report->damage_count == 0)
        fprintf(out, "no damage");
    else
        fprintf(out, "%zu damage%s, %zu checkpoint%s hurt", report->damage_count,
                cli_plural(report->damage_count), report->hurt_count,
                cli_plural(report->hurt_count));
    if (report->unreadable_count > 0)
        fprintf(out, "; %zu checkpoint%s lack%s blocks that could not be read from an agent's disk",
                report->unreadable_count, cli_plural(report->unreadable_count),
                report->unreadable_count == 1 ? "s" : "");
    fprintf(out, "\n");
}

static int print_text(const struct blx_verify_report *report, struct blx_error *err)
{
    BLX_CLEANUP_FREE char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        return blx_error_errno(err, -errno, "cannot print what was found");
    write_text(out, report);
    fclose(out);
    cli_say(text, INDENT);
    return 0;
}

static void print_damage_json(struct blx_json *json, const struct blx_damage *damage)
{
    static const char *const scopes[] = {"committed", "uncommitted", "state"};
    blx_json_open(json, NULL, '{');
    blx_json_string(json, "agent", damage->agent_id);
    if (damage->volume[0] != '\0')
        blx_json_string(json, "volume", damage->volume);
    else
        blx_json_null(json, "volume");
    blx_json_string(json, "file", damage->file);
    blx_json_number(json, "offset", damage->offset_bytes);
    blx_json_number(json, "length", damage->bytes);
    blx_json_string(json, "cause", damage->cause);
    blx_json_string(json, "scope", scopes[damage->scope]);
    cli_json_extents(json, "extents", damage->extents, damage->extent_count, damage->block_shift);
    blx_json_open(json, "checkpoints", '[');
    for (size_t i = 0; i < damage->checkpoint_count; i++)
        cli_json_timestamp(json, NULL, damage->checkpoints[i]);
    blx_json_close(json, ']');
    blx_json_close(json, '}');
}

static void print_checkpoints_json(struct blx_json *json, const char *key,
                                   const struct blx_hurt *list, size_t count)
{
    blx_json_open(json, key, '[');
    for (size_t i = 0; i < count; i++) {
        blx_json_open(json, NULL, '{');
        blx_json_string(json, "agent", list[i].agent_id);
        cli_json_timestamp(json, "checkpoint", list[i].checkpoint);
        blx_json_close(json, '}');
    }
    blx_json_close(json, ']');
}

static void print_json(const struct blx_verify_report *report)
{
    struct blx_json json = {.out = stdout};
    blx_json_open(&json, NULL, '{');
    blx_json_number(&json, "agents", report->agents);
    blx_json_number(&json, "checkpoints", report->checkpoints);
    blx_json_number(&json, "segments", report->segments);
    blx_json_number(&json, "frames", report->frames);
    blx_json_number(&json, "checked_bytes", report->checked_bytes);
    blx_json_open(&json, "damages", '[');
    for (size_t i = 0; i < report->damage_count; i++)
        print_damage_json(&json, &report->damages[i]);
    blx_json_close(&json, ']');
    print_checkpoints_json(&json, "hurt", report->hurt, report->hurt_count);
    print_checkpoints_json(&json, "unreadable", report->unreadable, report->unreadable_count);
    blx_json_close(&json, '}');
}

/* Orders a rescan, in the store: a dispatcher that starts later finds it there. */
static void heal(const struct blx_store *store, const char *agent_id)
{
    struct blx_error error = {0};
    struct blx_control_done outcome = {0};
    const char *when = " as soon as the dispatcher runs";
    if (blx_rescan_order_give(blx_store_agent(store, agent_id), "stored data is damaged", &error) <
        0) {
        blx_log_warning(
            "cannot order a rescan of '%s', so its next checkpoint will be hurt, too: %s", agent_id,
            error.message);
        return;
    }
    if (cli_control_rescan(store->data_dir, agent_id, &outcome, &error) == 0)
        when = outcome.text[0] != '\0' ? " as soon as it is connected" : "";
    blx_log_notice("the agent '%s' is asked to send the damaged blocks again%s", agent_id, when);
}

/* Reports the agent's damage to the dispatcher, if one runs: it runs the on-event command. */
static void report_damage(const char *data_dir, const struct blx_verify_report *report,
                          const char *agent_id)
{
    size_t damages = 0, hurt = 0;
    char text[BLX_TEXT_BYTES];
    for (size_t i = 0; i < report->damage_count; i++)
        damages += strcmp(report->damages[i].agent_id, agent_id) == 0;
    for (size_t i = 0; i < report->hurt_count; i++)
        hurt += strcmp(report->hurt[i].agent_id, agent_id) == 0;
    snprintf(text, sizeof(text), "verify found %zu damage%s, %zu checkpoint%s hurt", damages,
             cli_plural(damages), hurt, cli_plural(hurt));
    struct blx_error error = {0};
    int rc = cli_control_damage(data_dir, agent_id, text, &error);
    if (rc < 0 && rc != -ENOTCONN)
        blx_log_warning("cannot report the damage of '%s': %s", agent_id, error.message);
}

/* Acts once for each agent; the damages of an agent follow each other in the report. */
static void follow_up(const struct blx_store *store, const struct blx_verify_report *report)
{
    for (size_t i = 0; i < report->damage_count; i++) {
        const char *agent_id = report->damages[i].agent_id;
        if (i > 0 && strcmp(report->damages[i - 1].agent_id, agent_id) == 0)
            continue;
        report_damage(store->data_dir, report, agent_id);
        if (blx_verify_report_hurts_next(report, agent_id))
            heal(store, agent_id);
    }
}

static enum blx_exit verify(const struct blx_store *store, const struct blx_config *config,
                            struct blx_verify_report *report, struct blx_error *err)
{
    struct blx_progress bar;
    struct blx_verify_progress progress = {.report = cli_progress, .arg = &bar};
    blx_progress_init(&bar, "verifying", 0);
    int rc = blx_verify(store, config->agent, &progress, report, err);
    blx_progress_done(&bar);
    if (rc < 0)
        return BLX_EXIT_FAILED;
    if (config->json)
        print_json(report);
    else
        rc = print_text(report, err);
    follow_up(store, report);
    return rc < 0 || report->damage_count > 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}

enum blx_exit cli_verify(const struct cli_request *request, struct blx_error *err)
{
    BLX_CLEANUP(blx_store_close) struct blx_store store = {.lock_fd = -1};
    BLX_CLEANUP(blx_verify_report_done) struct blx_verify_report report = {0};
    if (cli_store_open(request->config->data_dir, BLX_STORE_READ, &store, err) < 0)
        return BLX_EXIT_FAILED;
    return verify(&store, request->config, &report, err);
}
