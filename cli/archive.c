/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep archive`: keeps an agent's checkpoints and expects no new ones; --undo takes it back. */
#include "store/archive.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "cli/command.h"
#include "cli/control.h"

static int write_archive(const struct blx_store *store, const struct blx_config *config,
                         struct blx_error *err)
{
    struct blx_agent_store agent = blx_store_agent(store, config->agent);
    blx_timestamp now = blx_timestamp_from_unix((int64_t)(blx_clock_realtime_ns() / BLX_NS_PER_S));
    int rc = blx_agent_store_check(agent, err);
    if (rc < 0)
        return rc;
    return config->undo ? blx_archive_end(agent, err) : blx_archive_begin(agent, now, err);
}

/* It stands in the store first: a dispatcher that starts later reads it there. */
enum blx_exit cli_archive(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    BLX_CLEANUP(blx_store_close) struct blx_store store = {.lock_fd = -1};
    struct blx_error why = {0};
    int rc = cli_store_open(config->data_dir, BLX_STORE_READ, &store, err);
    if (rc == 0)
        rc = write_archive(&store, config, err);
    if (rc < 0)
        return BLX_EXIT_FAILED;
    const struct blx_audit_entry entry = {.event = config->undo ? "unarchive" : "archive",
                                          .agent = config->agent};
    cli_audit(config->data_dir, &entry);
    rc = cli_control_pause(config->data_dir, config->agent, &why);
    if (rc < 0 && rc != -ENOTCONN) {
        blx_error_set(err, rc, "'%s' is %s, but the running dispatcher does not know yet: %s",
                      config->agent, config->undo ? "archived no longer" : "archived", why.message);
        return BLX_EXIT_FAILED;
    }
    printf(config->undo ? "'%s' is archived no longer and may connect\n"
                        : "'%s' is archived: its checkpoints stay, and it may not connect\n",
           config->agent);
    return BLX_EXIT_OK;
}
