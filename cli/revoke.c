/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep revoke`: shuts an agent out, now and until it is let in again. */
#include <errno.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/control.h"
#include "store/store.h"
#include "tls/pki.h"

/* First writes the revocation, then tells the dispatcher. Any dispatcher that starts later reads it
 * from the disk. */
static int shut_out(const struct blx_config *config, struct blx_error *err)
{
    struct blx_error why = {0};
    int rc = blx_pki_revoke(config->data_dir, config->agent, err);
    if (rc < 0)
        return rc;
    rc = cli_control_revoke(config->data_dir, config->agent, &why);
    if (rc == 0 || rc == -ENOTCONN)
        return 0;
    return blx_error_set(err, rc,
                         "'%s' is revoked and cannot connect again, but may still be connected: %s",
                         config->agent, why.message);
}

enum blx_exit cli_revoke(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    struct blx_store store = {.lock_fd = -1};
    if (cli_store_open(config->data_dir, BLX_STORE_READ, &store, err) < 0)
        return BLX_EXIT_FAILED;
    bool known = blx_agent_store_exists(blx_store_agent(&store, config->agent));
    int rc = shut_out(config, err);
    blx_store_close(&store);
    if (rc < 0)
        return BLX_EXIT_FAILED;
    const struct blx_audit_entry entry = {.event = "revoke", .agent = config->agent};
    cli_audit(config->data_dir, &entry);
    if (!known)
        cli_note("no agent '%s' has ever connected to '%s': is the name right?", config->agent,
                 config->data_dir);
    printf("'%s' is revoked; its checkpoints are kept\n", config->agent);
    return BLX_EXIT_OK;
}
