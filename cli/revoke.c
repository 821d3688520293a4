/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/control.h"
#include "store/store.h"
#include "tls/pki.h"

/* Written first, told second: what stands on the disk holds for every dispatcher that starts. */
static int shut_out(const struct blx_config *config, struct blx_error *err)
{
    struct blx_error why = {0};
    int rc = blx_pki_revoke(config->data_dir, config->agent, err);
    if (rc < 0)
        return rc;
    rc = cli_control_revoke(config->data_dir, config->agent, &why);
    if (rc == 0 || rc == -ENOTCONN)
        return 0;
    return blx_error_set(err, rc, "'%s' is revoked and cannot connect again, but: %s",
                         config->agent, why.message);
}

enum blx_exit cli_revoke(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    struct blx_store store = {.lock_fd = -1};
    if (blx_store_open(config->data_dir, BLX_STORE_READ, &store, err) < 0)
        return BLX_EXIT_FAILED;
    bool known = blx_agent_store_exists(blx_store_agent(&store, config->agent));
    int rc = shut_out(config, err);
    blx_store_close(&store);
    if (rc < 0)
        return BLX_EXIT_FAILED;
    if (!known)
        cli_note("no agent '%s' has ever been connected here: is the name right?", config->agent);
    printf("'%s' is revoked; its checkpoints stay\n", config->agent);
    return BLX_EXIT_OK;
}
