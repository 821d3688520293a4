/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep checkpoint`: has the dispatcher take a checkpoint now, and prints its timestamp. On a
 * terminal it says what it waits for. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/agents.h"
#include "cli/command.h"
#include "cli/control.h"
#include "cli/describe.h"

enum { REPEAT_S = 60 };

struct wait {
    const struct blx_config *config;
    uint64_t told_ns; /* when `text` was told; 0: never */
    char text[2 * BLX_TEXT_BYTES];
};

/* What keeps the checkpoint, without figures: those change all the time. */
static void explain(const struct blx_control_agent *agent, char *text, size_t bytes)
{
    const struct blx_status *status = &agent->status;
    const char *reason = status->reason;
    switch (status->state) {
    case BLX_AGENT_OFFLINE:
        snprintf(text, bytes, "the agent '%s' is not connected", agent->agent_id);
        break;
    case BLX_AGENT_FULL_SYNC:
    case BLX_AGENT_RESCAN:
        snprintf(text, bytes, "the agent '%s' is in a %s%s%s%s", agent->agent_id,
                 status->state == BLX_AGENT_RESCAN ? "rescan" : "full sync",
                 reason[0] != '\0' ? " (" : "", reason, reason[0] != '\0' ? ")" : "");
        break;
    default:
        snprintf(text, bytes, "the agent '%s' has to cut it and to send what changed",
                 agent->agent_id);
    }
}

static void tell(struct wait *wait, const struct blx_control_agent *agent)
{
    char text[sizeof(wait->text)], pass[CLI_PASS_TEXT_BYTES], size[BLX_UNIT_TEXT_BYTES];
    const uint64_t now_ns = blx_clock_ns();
    explain(agent, text, sizeof(text));
    if (strcmp(text, wait->text) == 0 && now_ns - wait->told_ns < REPEAT_S * BLX_NS_PER_S)
        return;
    blx_text_set(wait->text, text);
    wait->told_ns = now_ns;
    cli_pass_format(&agent->status, pass);
    if (strcmp(pass, "-") != 0)
        cli_note("waits: %s: %s", text, pass);
    else if (agent->status.dirty_bytes > 0)
        cli_note("waits: %s: %s", text, blx_size_format(agent->status.dirty_bytes, size));
    else
        cli_note("waits: %s", text);
}

static void look(void *arg)
{
    struct wait *wait = arg;
    BLX_CLEANUP(cli_agents_done) struct cli_agents agents = {0};
    if (cli_agents_collect(wait->config->data_dir, &agents, NULL) < 0 || !agents.running)
        return; /* the answer that is awaited says why */
    for (size_t i = 0; i < agents.count; i++) {
        if (strcmp(agents.list[i].agent_id, wait->config->agent) == 0)
            tell(wait, &agents.list[i]);
    }
}

static void print_json(const struct blx_config *config, const struct blx_control_done *outcome)
{
    struct blx_json json = {.out = stdout};
    blx_json_open(&json, NULL, '{');
    blx_json_string(&json, "agent", config->agent);
    cli_json_timestamp(&json, "checkpoint", outcome->timestamp);
    cli_json_time(&json, "time", outcome->timestamp);
    blx_json_string(&json, "note", outcome->text);
    blx_json_close(&json, '}');
}

enum blx_exit cli_checkpoint(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    struct wait wait = {.config = config};
    const struct cli_waiting waiting = {.tick = look, .arg = &wait};
    struct blx_control_done outcome;
    if (cli_control_checkpoint(config->data_dir, config->agent,
                               isatty(STDERR_FILENO) == 1 ? &waiting : NULL, &outcome, err) < 0)
        return BLX_EXIT_FAILED;
    char text[BLX_TIMESTAMP_TEXT_BYTES];
    blx_timestamp_format(outcome.timestamp, text);
    if (config->json)
        print_json(config, &outcome);
    else
        printf("%s\n", text);
    if (!config->json && outcome.text[0] != '\0')
        cli_note("%s: %s", text, outcome.text);
    return BLX_EXIT_OK;
}
