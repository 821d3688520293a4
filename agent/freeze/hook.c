/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/freeze/hook.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/command.h"

int agent_hook_run(const char *hook_name, const char *command, const char *agent_id,
                   uint64_t timeout_ms, struct blx_watchdog *watchdog, struct blx_error *err)
{
    if (command == NULL)
        return 0;
    BLX_CLEANUP_FREE char *agent = NULL;
    BLX_CLEANUP_FREE char *hook = NULL;
    if (asprintf(&agent, "BLXREP_AGENT=%s", agent_id) < 0)
        agent = NULL;
    if (asprintf(&hook, "BLXREP_HOOK=%s", hook_name) < 0)
        hook = NULL;
    if (agent == NULL || hook == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot start the %s command '%s'", hook_name,
                               command);
    const char *const variables[] = {agent, hook};
    const struct blx_user_command run = {.name = hook_name,
                                         .text = command,
                                         .variables = variables,
                                         .variable_count = 2,
                                         .timeout_ms = timeout_ms,
                                         .watchdog = watchdog,
                                         .stop_fd = -1};
    return blx_command_run(&run, err);
}
