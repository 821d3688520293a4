/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/proof.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/describe.h"

const char *cli_proof_format(const struct blx_tested *tested, char text[CLI_PROOF_CELL_BYTES])
{
    char booted[BLX_UNIT_TEXT_BYTES];
    if (!blx_tested_is_good(tested))
        return "FAILED";
    if (tested->booted_ms == 0)
        return blx_tested_verdict(tested);
    snprintf(text, CLI_PROOF_CELL_BYTES, "%s, boots in %s", blx_tested_verdict(tested),
             blx_duration_format(tested->booted_ms, booted));
    return text;
}

static struct blx_agent_store agent_of(struct blx_store *store, const char *data_dir,
                                       const char *agent_id)
{
    *store = (struct blx_store){.lock_fd = -1};
    blx_text_set(store->data_dir, data_dir);
    return blx_store_agent(store, agent_id);
}

const char *cli_proof_explain(const char *data_dir, const char *agent_id, uint64_t now_realtime_ns,
                              char text[CLI_PROOF_TEXT_BYTES])
{
    struct blx_store store;
    struct blx_tested newest, proven;
    char age[BLX_UNIT_TEXT_BYTES], booted[BLX_UNIT_TEXT_BYTES];
    const struct blx_agent_store agent = agent_of(&store, data_dir, agent_id);
    size_t used = 0;
    text[0] = '\0';
    if (blx_tested_find_newest(agent, &newest, NULL) < 0)
        return text;
    if (!blx_tested_is_good(&newest))
        used = (size_t)snprintf(text, CLI_PROOF_TEXT_BYTES, "the test of %llu failed: %.140s; ",
                                (unsigned long long)newest.checkpoint, newest.reason);
    if (blx_tested_find_proven(agent, &proven, NULL) < 0) {
        snprintf(text + used, CLI_PROOF_TEXT_BYTES - used, "never proven");
        return text;
    }
    uint64_t age_ns =
        now_realtime_ns > proven.begun_realtime_ns ? now_realtime_ns - proven.begun_realtime_ns : 0;
    used += (size_t)snprintf(text + used, CLI_PROOF_TEXT_BYTES - used, "last proven %s ago",
                             cli_seconds_format(age_ns / BLX_NS_PER_S, age));
    if (proven.booted_ms > 0)
        snprintf(text + used, CLI_PROOF_TEXT_BYTES - used, ", boots in %s",
                 blx_duration_format(proven.booted_ms, booted));
    return text;
}

void cli_proof_json(struct blx_json *json, const char *data_dir, const char *agent_id)
{
    struct blx_store store;
    struct blx_tested proven;
    if (blx_tested_find_proven(agent_of(&store, data_dir, agent_id), &proven, NULL) == 0)
        blx_tested_print_json(json, "proven", &proven);
    else
        blx_json_null(json, "proven");
}
