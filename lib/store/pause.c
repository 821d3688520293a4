/* SPDX-License-Identifier: Apache-2.0 */
#include "store/pause.h"

#include "store/standing_private.h"

static const char name[] = "paused";

int blx_pause_begin(struct blx_agent_store agent, blx_timestamp since, struct blx_error *err)
{
    return blx_standing_begin(agent, name, since, err);
}

int blx_pause_end(struct blx_agent_store agent, struct blx_error *err)
{
    return blx_standing_end(agent, name, err);
}

int blx_pause_look(struct blx_agent_store agent, blx_timestamp *since, struct blx_error *err)
{
    return blx_standing_look(agent, name, since, err);
}
