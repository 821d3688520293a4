/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep dispatcher test-event`: does the on-event command reach anybody? */
#include <stdio.h>

#include "base/clock.h"
#include "base/command.h"
#include "base/units.h"
#include "cli/command.h"
#include "wire/event.h"

static const char text[] =
    "this is a test by `blxrep dispatcher test-event`, and nothing has happened";

static int run(const struct blx_config *config, struct blx_error *err)
{
    BLX_CLEANUP(blx_event_list_done) struct blx_event_list list = {0};
    char *variables[BLX_EVENT_VARIABLES];
    int rc = blx_event_list_add(&list, BLX_EVENT_AGENT_LOST, "test-event", text);
    if (rc == 0)
        rc = blx_event_make_variables(&list, config->data_dir, variables);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot make an event");
    const struct blx_user_command command = {.name = "on-event",
                                             .text = config->on_event,
                                             .variables = (const char *const *)variables,
                                             .variable_count = BLX_EVENT_VARIABLES,
                                             .timeout_ms = config->hook_timeout_ms,
                                             .stop_fd = -1};
    rc = blx_command_run(&command, err);
    blx_event_free_variables(variables);
    return rc;
}

/* As the dispatcher's user: what root may do proves little. */
enum blx_exit cli_test_event(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    char took[BLX_UNIT_TEXT_BYTES];
    if (cli_become_owner(config->data_dir, err) < 0)
        return BLX_EXIT_FAILED;
    cli_note("running '%s' with the event %s of the agent 'test-event'; what it says follows",
             config->on_event, blx_event_name(BLX_EVENT_AGENT_LOST));
    uint64_t began_ns = blx_clock_ns();
    if (run(config, err) < 0)
        return BLX_EXIT_FAILED;
    cli_tell("the on-event command ended with status 0 after %s",
             blx_duration_format((blx_clock_ns() - began_ns) / BLX_NS_PER_MS, took));
    return BLX_EXIT_OK;
}
