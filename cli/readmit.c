/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep readmit`: gives an agent's name back to its old machine, after a restore that took it
 * over. */
#include <errno.h>

#include "cli/command.h"
#include "cli/control.h"
#include "store/audit.h"
#include "store/own_id.h"
#include "store/store.h"
#include "tls/handover.h"

/* First writes it, then ends the session of the machine that restored. */
static int readmit(const char *data_dir, const struct blx_store *store, const char *name,
                   struct blx_error *err)
{
    struct blx_error why = {0};
    char own_id[BLX_NAME_BYTES];
    int rc = blx_own_id_read(blx_store_agent(store, name), own_id, err);
    if (rc == 0)
        rc = blx_handover_undo(data_dir, own_id, err);
    if (rc < 0)
        return rc;
    rc = cli_control_revoke(data_dir, name, &why);
    if (rc == 0 || rc == -ENOTCONN)
        return 0;
    return blx_error_set(err, rc,
                         "the name '%s' is the old machine's again, but the other one may still be "
                         "connected: %s",
                         name, why.message);
}

/* The refused machine's log has its server's ID, so that is understood, too. */
enum blx_exit cli_readmit(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    BLX_CLEANUP(blx_store_close) struct blx_store store = {.lock_fd = -1};
    char name[BLX_NAME_BYTES];
    int rc = cli_store_open(config->data_dir, BLX_STORE_READ, &store, err);
    if (rc == 0)
        rc = blx_own_id_resolve(&store, config->agent, name, err);
    if (rc == 0)
        rc = readmit(config->data_dir, &store, name, err);
    if (rc < 0)
        return BLX_EXIT_FAILED;
    const struct blx_audit_entry entry = {.event = "readmit", .agent = name};
    cli_audit(config->data_dir, &entry);
    cli_tell("'%s' is the old machine again: it is let in, and the one that restored it is refused",
             name);
    return BLX_EXIT_OK;
}
