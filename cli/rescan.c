/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep rescan`: has an agent compare its disks with the store. */
#include <stdio.h>

#include "cli/command.h"
#include "cli/control.h"

enum blx_exit cli_rescan(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    struct blx_control_done outcome;
    if (cli_control_rescan(config->data_dir, config->agent, &outcome, err) < 0)
        return BLX_EXIT_FAILED;
    const struct blx_audit_entry entry = {.event = "rescan", .agent = config->agent};
    cli_audit(config->data_dir, &entry);
    cli_tell("the rescan of '%s' begins%s%s: `blxrep dispatcher status` shows its progress",
             config->agent, outcome.text[0] != '\0' ? " " : "", outcome.text);
    return BLX_EXIT_OK;
}
