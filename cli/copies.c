/* SPDX-License-Identifier: Apache-2.0 */
/* Copies elsewhere, for `status` and `show`. */
#include "cli/copies.h"

#include <inttypes.h>
#include <string.h>

#include "base/units.h"
#include "base/when.h"
#include "cli/command.h"
#include "cli/describe.h"

static uint64_t now_s(const struct cli_agents *agents)
{
    return agents->now_realtime_ns / BLX_NS_PER_S;
}

static uint64_t age_s(const struct cli_agents *agents, blx_timestamp checkpoint)
{
    uint64_t then_s = (uint64_t)blx_timestamp_to_unix(checkpoint);
    return now_s(agents) > then_s ? now_s(agents) - then_s : 0;
}

static bool is_bad(const struct blx_control_copy *copy)
{
    return copy->late || copy->strange > 0 || (copy->wants_lock && !copy->locked);
}

/* "LOCKED UNTIL 2026-12-30 06:00 +0100", or why not. */
static void print_lock(const struct blx_control_copy *copy, FILE *out)
{
    char until[BLX_WHEN_TEXT_BYTES];
    if (!copy->locked) {
        fprintf(out, "NOT LOCKED: %s", copy->not_locked);
        return;
    }
    blx_when_format(blx_timestamp_from_unix((int64_t)copy->locked_until_s), BLX_ZONE_LOCAL, until);
    fprintf(out, "LOCKED UNTIL %s%s", until,
            copy->some_may ? " (governance: some may lift it)" : "");
}

static void print_copy(const struct cli_agents *agents, const struct blx_control_copy *copy,
                       FILE *out)
{
    char age[BLX_UNIT_TEXT_BYTES];
    fprintf(out, "%s: ", copy->agent_id);
    if (copy->late)
        fprintf(out, "its copy is LATE, a checkpoint has been waiting for %s; ",
                cli_seconds_format(copy->waiting_s, age));
    if (copy->newest == 0)
        fprintf(out, "NOT COPIED to %s", copy->place);
    else
        fprintf(out, "copied to %s up to %" PRIu64 ", %s ago; ", copy->place, copy->newest,
                cli_seconds_format(age_s(agents, copy->newest), age));
    if (copy->newest != 0)
        print_lock(copy, out);
    if (copy->failure[0] != '\0')
        fprintf(out, "; the last try failed: %s", copy->failure);
    if (copy->strange > 0)
        fprintf(out, "; %" PRIu64 " newer checkpoint%s there did NOT come from this data directory",
                copy->strange, cli_plural(copy->strange));
    fprintf(out, "\n");
}

static const struct blx_control_copy *find(const struct cli_agents *agents, const char *agent_id)
{
    for (size_t i = 0; i < agents->copy_count; i++)
        if (strcmp(agents->copies[i].agent_id, agent_id) == 0)
            return &agents->copies[i];
    return NULL;
}

void cli_copies_print_one(const struct cli_agents *agents, const char *agent_id, FILE *out)
{
    const struct blx_control_copy *copy = find(agents, agent_id);
    if (copy != NULL)
        print_copy(agents, copy, out);
}

/* The one that is locked for the shortest time, and the oldest one. */
static void print_summary(const struct cli_agents *agents, FILE *out)
{
    const struct blx_control_copy *oldest = NULL, *loosest = NULL;
    char age[BLX_UNIT_TEXT_BYTES];
    size_t copied = 0, locked = 0;
    for (size_t i = 0; i < agents->copy_count; i++) {
        const struct blx_control_copy *copy = &agents->copies[i];
        copied += copy->newest != 0;
        locked += copy->locked;
        if (copy->newest != 0 && (oldest == NULL || copy->newest < oldest->newest))
            oldest = copy;
        if (copy->locked && (loosest == NULL || copy->locked_until_s < loosest->locked_until_s))
            loosest = copy;
    }
    fprintf(out, "copies: %zu of %zu agent%s copied to %s", copied, agents->copy_count,
            cli_plural(agents->copy_count), agents->copies[0].place);
    if (oldest != NULL)
        fprintf(out, ", the oldest %s ago", cli_seconds_format(age_s(agents, oldest->newest), age));
    if (loosest != NULL) {
        fprintf(out, "; %zu ", locked);
        print_lock(loosest, out);
    }
    if (locked < copied)
        fprintf(out, "; %zu NOT LOCKED", copied - locked);
    fprintf(out, "\n");
}

void cli_copies_print(const struct cli_agents *agents, FILE *out)
{
    size_t printed = 0;
    if (agents->copy_count == 1) {
        print_copy(agents, &agents->copies[0], out);
        return;
    }
    if (agents->copy_count == 0)
        return;
    print_summary(agents, out);
    for (size_t i = 0; i < agents->copy_count && printed < CLI_COPIES_LINES; i++) {
        if (!is_bad(&agents->copies[i]))
            continue;
        print_copy(agents, &agents->copies[i], out);
        printed++;
    }
}

size_t cli_copies_count(const struct cli_agents *agents)
{
    size_t bad = 0;
    for (size_t i = 0; i < agents->copy_count; i++)
        bad += is_bad(&agents->copies[i]);
    if (agents->copy_count < 2)
        return agents->copy_count;
    return 1 + (bad < CLI_COPIES_LINES ? bad : CLI_COPIES_LINES);
}

static void json_seconds(struct blx_json *json, const char *key, uint64_t seconds)
{
    cli_json_time(json, key, seconds == 0 ? 0 : blx_timestamp_from_unix((int64_t)seconds));
}

void cli_copies_json(struct blx_json *json, const struct cli_agents *agents, const char *agent_id)
{
    const struct blx_control_copy *copy = find(agents, agent_id);
    if (copy == NULL) {
        blx_json_null(json, "copy");
        return;
    }
    blx_json_open(json, "copy", '{');
    blx_json_string(json, "place", copy->place);
    cli_json_timestamp(json, "checkpoint", copy->newest);
    if (copy->newest != 0)
        blx_json_number(json, "age", age_s(agents, copy->newest));
    else
        blx_json_null(json, "age");
    json_seconds(json, "copied", copy->copied_s);
    json_seconds(json, "tried", copy->tried_s);
    blx_json_bool(json, "late", copy->late);
    blx_json_number(json, "waiting", copy->waiting_s);
    blx_json_bool(json, "locked", copy->locked);
    json_seconds(json, "locked_until", copy->locked ? copy->locked_until_s : 0);
    blx_json_bool(json, "lock_wanted", copy->wants_lock);
    blx_json_bool(json, "lock_can_be_lifted", copy->some_may);
    blx_json_string(json, "not_locked", copy->not_locked);
    blx_json_string(json, "failure", copy->failure);
    blx_json_number(json, "strange", copy->strange);
    blx_json_close(json, '}');
}
