/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep pause` and `blxrep resume`: set and remove an agent's pause. */
#include "store/pause.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "cli/command.h"
#include "cli/control.h"

static int write_pause(const struct blx_store *store, const struct blx_config *config, bool paused,
                       struct blx_error *err)
{
    struct blx_agent_store agent = blx_store_agent(store, config->agent);
    blx_timestamp now = blx_timestamp_from_unix((int64_t)(blx_clock_realtime_ns() / BLX_NS_PER_S));
    int rc = blx_agent_store_check(agent, err);
    if (rc < 0)
        return rc;
    return paused ? blx_pause_begin(agent, now, err) : blx_pause_end(agent, err);
}

/* First writes the pause, then tells the dispatcher. Any dispatcher that starts later reads it from
 * the disk. */
static enum blx_exit set_pause(const struct blx_config *config, bool paused, struct blx_error *err)
{
    BLX_CLEANUP(blx_store_close) struct blx_store store = {.lock_fd = -1};
    struct blx_error why = {0};
    int rc = cli_store_open(config->data_dir, BLX_STORE_READ, &store, err);
    if (rc == 0)
        rc = write_pause(&store, config, paused, err);
    if (rc < 0)
        return BLX_EXIT_FAILED;
    const struct blx_audit_entry entry = {.event = paused ? "pause" : "resume",
                                          .agent = config->agent};
    cli_audit(config->data_dir, &entry);
    rc = cli_control_pause(config->data_dir, config->agent, &why);
    if (rc < 0 && rc != -ENOTCONN) {
        blx_error_set(
            err, rc,
            "'%s' will be %s only when it connects again: the running dispatcher does not "
            "know yet: %s",
            config->agent, paused ? "paused" : "resumed", why.message);
        return BLX_EXIT_FAILED;
    }
    cli_tell(paused ? "'%s' is paused: its changes are tracked, and sent after it is resumed"
                    : "'%s' is resumed",
             config->agent);
    return BLX_EXIT_OK;
}

enum blx_exit cli_pause(const struct cli_request *request, struct blx_error *err)
{
    return set_pause(request->config, true, err);
}

enum blx_exit cli_resume(const struct cli_request *request, struct blx_error *err)
{
    return set_pause(request->config, false, err);
}
