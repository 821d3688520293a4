/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep pause` and `blxrep resume`: set and remove an agent's pause. */
#include "store/pause.h"

#include "cli/order.h"

static int end_pause(struct blx_agent_store agent, blx_timestamp now, struct blx_error *err)
{
    (void)now;
    return blx_pause_end(agent, err);
}

enum blx_exit cli_pause(const struct cli_request *request, struct blx_error *err)
{
    static const struct cli_order pause = {
        .event = "pause",
        .write = blx_pause_begin,
        .state = "paused",
        .told = "is paused: its changes are tracked, and sent after it is resumed",
    };
    return cli_order_give(request->config, &pause, err);
}

enum blx_exit cli_resume(const struct cli_request *request, struct blx_error *err)
{
    static const struct cli_order resume = {
        .event = "resume", .write = end_pause, .state = "resumed", .told = "is resumed"};
    return cli_order_give(request->config, &resume, err);
}
