/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the two daemons a command is about. */
#include <string.h>

#include "cli/command.h"

enum blx_mode cli_find_mode(const struct cli_request *request)
{
    const struct blx_config *config = request->config;
    if (request->side != NULL)
        return strcmp(request->side, "agent") == 0 ? BLX_MODE_AGENT : BLX_MODE_DISPATCHER;
    if (config->mode != BLX_MODE_NONE)
        return config->mode;
    bool agent = config->id != NULL || config->device_count > 0;
    if (agent == (config->data_dir != NULL))
        return BLX_MODE_NONE;
    return agent ? BLX_MODE_AGENT : BLX_MODE_DISPATCHER;
}
