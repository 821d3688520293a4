/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/order.h"

#include <errno.h>

#include "base/clock.h"
#include "cli/control.h"

static int write_order(const struct blx_store *store, const struct blx_config *config,
                       const struct cli_order *order, struct blx_error *err)
{
    const struct blx_agent_store agent = blx_store_agent(store, config->agent);
    const blx_timestamp now =
        blx_timestamp_from_unix((int64_t)(blx_clock_realtime_ns() / BLX_NS_PER_S));
    int rc = blx_agent_store_check(agent, err);
    return rc < 0 ? rc : order->write(agent, now, err);
}

enum blx_exit cli_order_give(const struct blx_config *config, const struct cli_order *order,
                             struct blx_error *err)
{
    BLX_CLEANUP(blx_store_close) struct blx_store store = {.lock_fd = -1};
    struct blx_error why = {0};
    int rc = cli_store_open(config->data_dir, BLX_STORE_READ, &store, err);
    if (rc == 0)
        rc = write_order(&store, config, order, err);
    if (rc < 0)
        return BLX_EXIT_FAILED;
    const struct blx_audit_entry entry = {.event = order->event, .agent = config->agent};
    cli_audit(config->data_dir, &entry);
    rc = cli_control_pause(config->data_dir, config->agent, &why);
    if (rc < 0 && rc != -ENOTCONN) {
        blx_error_set(err, rc,
                      "'%s' is %s in the store, but the running dispatcher does not know yet: %s",
                      config->agent, order->state, why.message);
        return BLX_EXIT_FAILED;
    }
    cli_tell("'%s' %s", config->agent, order->told);
    return BLX_EXIT_OK;
}
