/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/suspicion.h"

#include <errno.h>
#include <stdio.h>

#include "base/text.h"
#include "cli/command.h"
#include "cli/describe.h"
#include "store/checkpoint/pin.h"

bool cli_suspicion_read(struct blx_agent_store agent, blx_timestamp checkpoint,
                        struct blx_suspicion *suspicion)
{
    struct blx_error err = {0};
    int rc = blx_suspicion_read(agent, checkpoint, suspicion, &err);
    if (rc < 0 && rc != -ENOENT)
        cli_note("%s", err.message);
    return rc == 0;
}

static struct blx_agent_store agent_of(struct blx_store *store, const char *data_dir,
                                       const char *agent_id)
{
    *store = (struct blx_store){.lock_fd = -1};
    blx_text_set(store->data_dir, data_dir);
    return blx_store_agent(store, agent_id);
}

const char *cli_suspicion_explain(const char *data_dir, const char *agent_id,
                                  char text[CLI_SUSPICION_TEXT_BYTES])
{
    struct blx_store store;
    struct blx_suspicion newest;
    blx_timestamp pinned = 0;
    const struct blx_agent_store agent = agent_of(&store, data_dir, agent_id);
    text[0] = '\0';
    if (blx_pin_find_automatic(agent, &pinned, NULL, NULL) == 0 && pinned != 0 &&
        blx_suspicion_find_newest(agent, &newest, NULL) == 0)
        snprintf(text, CLI_SUSPICION_TEXT_BYTES,
                 "suspicious since %llu (a signal, no verdict); the last calm checkpoint is "
                 "pinned: unpin %llu if all is well",
                 (unsigned long long)newest.since, (unsigned long long)pinned);
    return text;
}

void cli_suspicion_json(struct blx_json *json, const char *data_dir, const char *agent_id)
{
    struct blx_store store;
    struct blx_suspicion newest;
    blx_timestamp pinned = 0;
    const struct blx_agent_store agent = agent_of(&store, data_dir, agent_id);
    if (blx_suspicion_find_newest(agent, &newest, NULL) == 0)
        blx_suspicion_print_json(json, "suspicious", &newest);
    else
        blx_json_null(json, "suspicious");
    if (blx_pin_find_automatic(agent, &pinned, NULL, NULL) < 0)
        pinned = 0;
    cli_json_timestamp(json, "automatic_pin", pinned);
}
