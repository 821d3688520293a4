/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep archive`: keeps an agent's checkpoints and expects no new ones; --undo takes it back. */
#include "store/archive.h"

#include "cli/order.h"

static int end_archive(struct blx_agent_store agent, blx_timestamp now, struct blx_error *err)
{
    (void)now;
    return blx_archive_end(agent, err);
}

enum blx_exit cli_archive(const struct cli_request *request, struct blx_error *err)
{
    static const struct cli_order archive = {
        .event = "archive",
        .write = blx_archive_begin,
        .state = "archived",
        .told = "is archived: its checkpoints stay, and it may not connect",
    };
    static const struct cli_order undo = {
        .event = "unarchive",
        .write = end_archive,
        .state = "archived no longer",
        .told = "is archived no longer and may connect",
    };
    return cli_order_give(request->config, request->config->undo ? &undo : &archive, err);
}
