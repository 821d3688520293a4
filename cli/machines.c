/* SPDX-License-Identifier: Apache-2.0 */
/* Other machines, for `status` and `show`. */
#include "cli/machines.h"

#include <inttypes.h>
#include <string.h>

#include "base/units.h"
#include "base/when.h"
#include "cli/describe.h"

static const char *const state_names[BLX_HANDOVER_STATES] = {
    [BLX_HANDOVER_WAITING] = "waiting",
    [BLX_HANDOVER_SETTLED] = "settled",
    [BLX_HANDOVER_UNDONE] = "undone",
};

static bool is_about(const char *agent_id, const char *wanted)
{
    return wanted == NULL || strcmp(agent_id, wanted) == 0;
}

static void print_restore(const struct blx_control_restore *restore, FILE *out)
{
    char done[BLX_UNIT_TEXT_BYTES], size[BLX_UNIT_TEXT_BYTES], rate[BLX_UNIT_TEXT_BYTES];
    char sent[BLX_UNIT_TEXT_BYTES], since[BLX_UNIT_TEXT_BYTES], eta[BLX_UNIT_TEXT_BYTES];
    fprintf(out, "restoring for %s: checkpoint %" PRIu64 " of %s to the machine at %s",
            blx_duration_format(restore->connected_ms, since), restore->checkpoint,
            restore->agent_id, restore->peer);
    if (restore->number > 0)
        fprintf(out, ", %s (%" PRIu32 " of %" PRIu32 "): %s of %s, %s sent, %s/s", restore->volume,
                restore->number, restore->volume_count, blx_size_format(restore->done_bytes, done),
                blx_size_format(restore->volume_bytes, size),
                blx_size_format(restore->sent_bytes, sent),
                blx_size_format(restore->rate_bytes_per_s, rate));
    if (restore->eta_seconds > 0)
        fprintf(out, ", %s left", blx_duration_format((uint64_t)restore->eta_seconds * 1000, eta));
    fprintf(out, "%s\n", restore->takes_over ? "; it takes over" : "");
}

static void print_handover(const struct blx_control_handover *handover, FILE *out)
{
    char ago[BLX_UNIT_TEXT_BYTES], since[BLX_WHEN_TEXT_BYTES];
    blx_when_format(handover->since, BLX_ZONE_LOCAL, since);
    if (handover->state == BLX_HANDOVER_UNDONE)
        fprintf(out, "%s: readmitted; the machine that restored it from %s at %s is refused",
                handover->agent_id, handover->peer, since);
    else
        fprintf(out, "%s: restored onto another machine, from %s at %s%s", handover->agent_id,
                handover->peer, since,
                handover->state == BLX_HANDOVER_WAITING ? ", which has not come yet" : "");
    if (handover->refused > 0)
        fprintf(out, "; a machine at %s was REFUSED %s ago", handover->refused_peer,
                blx_duration_format(handover->refused_ms, ago));
    if (handover->refused > 0 && handover->state != BLX_HANDOVER_UNDONE)
        fprintf(out, " (if it is the right one: readmit)");
    fprintf(out, "\n");
}

static void print_pulled(const struct blx_control_pulled *copy, uint64_t now_s, FILE *out)
{
    char ago[BLX_UNIT_TEXT_BYTES];
    fprintf(out, "%s: a copy from %s", copy->agent_id, copy->source);
    if (copy->checkpoint != 0)
        fprintf(out, ", up to %" PRIu64, copy->checkpoint);
    if (copy->looked_s == 0)
        fprintf(out, "; not all of it is here yet\n");
    else
        fprintf(
            out, "; complete as of %s ago\n",
            blx_duration_format((now_s > copy->looked_s ? now_s - copy->looked_s : 0) * 1000, ago));
}

void cli_machines_print(const struct cli_agents *agents, const char *agent_id, FILE *out)
{
    for (size_t i = 0; i < agents->restore_count; i++)
        if (is_about(agents->restores[i].agent_id, agent_id))
            print_restore(&agents->restores[i], out);
    for (size_t i = 0; i < agents->handover_count; i++)
        if (is_about(agents->handovers[i].agent_id, agent_id))
            print_handover(&agents->handovers[i], out);
    for (size_t i = 0; i < agents->pulled_count; i++)
        if (is_about(agents->pulled[i].agent_id, agent_id))
            print_pulled(&agents->pulled[i], agents->now_realtime_ns / BLX_NS_PER_S, out);
}

size_t cli_machines_count(const struct cli_agents *agents)
{
    return agents->restore_count + agents->handover_count + agents->pulled_count;
}

static void print_restore_json(struct blx_json *json, const struct blx_control_restore *restore)
{
    blx_json_open(json, NULL, '{');
    blx_json_string(json, "peer", restore->peer);
    cli_json_timestamp(json, "checkpoint", restore->checkpoint);
    blx_json_string(json, "volume", restore->volume);
    blx_json_number(json, "number", restore->number);
    blx_json_number(json, "volumes", restore->volume_count);
    blx_json_number(json, "volume_bytes", restore->volume_bytes);
    blx_json_number(json, "done_bytes", restore->done_bytes);
    blx_json_number(json, "sent_bytes", restore->sent_bytes);
    blx_json_number(json, "rate_bytes_per_s", restore->rate_bytes_per_s);
    blx_json_number(json, "connected_ms", restore->connected_ms);
    if (restore->eta_seconds > 0)
        blx_json_number(json, "eta_seconds", restore->eta_seconds);
    else
        blx_json_null(json, "eta_seconds");
    blx_json_bool(json, "takes_over", restore->takes_over);
    blx_json_close(json, '}');
}

static void print_handover_json(struct blx_json *json, const struct blx_control_handover *handover)
{
    blx_json_open(json, "handover", '{');
    blx_json_string(json, "state", state_names[handover->state]);
    cli_json_time(json, "since", handover->since);
    cli_json_timestamp(json, "checkpoint", handover->checkpoint);
    blx_json_string(json, "peer", handover->peer);
    blx_json_number(json, "refused", handover->refused);
    blx_json_string(json, "refused_peer", handover->refused_peer);
    if (handover->refused > 0)
        blx_json_number(json, "refused_ms", handover->refused_ms);
    else
        blx_json_null(json, "refused_ms");
    blx_json_close(json, '}');
}

void cli_machines_json(struct blx_json *json, const struct cli_agents *agents, const char *agent_id)
{
    const struct blx_control_handover *handover = NULL;
    blx_json_open(json, "restores", '[');
    for (size_t i = 0; i < agents->restore_count; i++)
        if (is_about(agents->restores[i].agent_id, agent_id))
            print_restore_json(json, &agents->restores[i]);
    blx_json_close(json, ']');
    for (size_t i = 0; i < agents->handover_count; i++)
        if (is_about(agents->handovers[i].agent_id, agent_id))
            handover = &agents->handovers[i];
    if (handover != NULL)
        print_handover_json(json, handover);
    else
        blx_json_null(json, "handover");
}

void cli_machines_pulled_json(struct blx_json *json, const struct cli_agents *agents)
{
    for (size_t i = 0; i < agents->pulled_count; i++) {
        const struct blx_control_pulled *copy = &agents->pulled[i];
        blx_json_open(json, NULL, '{');
        blx_json_string(json, "id", copy->agent_id);
        blx_json_string(json, "copy_of", copy->source);
        cli_json_timestamp(json, "last_checkpoint", copy->checkpoint);
        cli_json_time(json, "looked",
                      copy->looked_s == 0 ? 0 : blx_timestamp_from_unix((int64_t)copy->looked_s));
        blx_json_close(json, '}');
    }
}
