/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep checkpoint`: has the dispatcher take a checkpoint now, and prints its timestamp. */
#include <stdio.h>

#include "cli/command.h"
#include "cli/control.h"

enum blx_exit cli_checkpoint(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    struct blx_control_done outcome;
    if (cli_control_checkpoint(config->data_dir, config->agent, &outcome, err) < 0)
        return BLX_EXIT_FAILED;
    char text[BLX_TIMESTAMP_TEXT_BYTES];
    blx_timestamp_format(outcome.timestamp, text);
    printf("%s\n", text);
    if (outcome.text[0] != '\0')
        cli_note("%s: %s", text, outcome.text);
    return BLX_EXIT_OK;
}
