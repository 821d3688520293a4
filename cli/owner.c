/* SPDX-License-Identifier: Apache-2.0 */
/* Working in a data directory as its owner, even if root runs the command. */
#include <stdbool.h>
#include <unistd.h>

#include "cli/command.h"
#include "store/owner.h"

/* The user that typed the command, after the process has become another user. */
static uid_t caller;
static bool caller_known;

/* A copy below a folder of root's is used as root: its files' owner plays no games there. */
int cli_become_owner(const char *data_dir, struct blx_error *err)
{
    const uid_t before = getuid();
    enum blx_owner owner = BLX_OWNER_KEPT;
    int rc = blx_owner_become(data_dir, &owner, err);
    if (owner == BLX_OWNER_BECAME) {
        caller = before;
        caller_known = true;
    }
    return rc;
}

uid_t cli_caller_uid(void)
{
    return caller_known ? caller : getuid();
}

int cli_store_open(const char *data_dir, enum blx_store_mode mode, struct blx_store *store,
                   struct blx_error *err)
{
    int rc = cli_become_owner(data_dir, err);
    return rc == 0 ? blx_store_open(data_dir, mode, store, err) : rc;
}
