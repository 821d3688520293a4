/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `blxrep rename`: gives an agent another name. The dispatcher ends the agent's session, this
 * command moves the folder, and the agent comes back.
 */
#include "store/rename.h"

#include <errno.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/control.h"
#include "store/own_id.h"

enum { SESSION_WAIT_MS = 10000 };

/* Without a dispatcher there is no session. */
static int end_session(const struct blx_config *config, struct blx_error *err)
{
    struct blx_error why = {0};
    int rc = cli_control_rename(config->data_dir, config->agent, config->to, &why);
    return rc < 0 && rc != -ENOTCONN ? blx_error_copy(err, rc, &why) : 0;
}

/* It must not go on showing what it knew by the name before. */
static void tell_dispatcher(const struct blx_config *config)
{
    struct blx_error err = {0};
    int rc = cli_control_pause(config->data_dir, config->agent, &err);
    if (rc < 0 && rc != -ENOTCONN)
        cli_note("the running dispatcher may still show '%s': %s", config->agent, err.message);
}

static void audit(const struct blx_config *config, const char *own_id)
{
    char text[2 * BLX_NAME_BYTES + 64];
    snprintf(text, sizeof(text), "was '%s'; its server's ID is '%s'", config->agent, own_id);
    const struct blx_audit_entry entry = {.event = "rename", .agent = config->to, .text = text};
    cli_audit(config->data_dir, &entry);
}

static int rename_it(const struct blx_store *store, const struct blx_config *config,
                     struct blx_error *err)
{
    const struct blx_agent_store agent = blx_store_agent(store, config->agent);
    char own_id[BLX_NAME_BYTES];
    int rc = blx_rename_check(agent, config->to, err);
    if (rc == 0)
        rc = blx_own_id_read(agent, own_id, err);
    if (rc == 0)
        rc = end_session(config, err);
    if (rc == 0)
        rc = blx_rename(agent, config->to, SESSION_WAIT_MS, err);
    if (rc < 0)
        return rc;
    audit(config, own_id);
    tell_dispatcher(config);
    cli_tell("'%s' is called '%s' from now on; its server goes on as '%s', and nothing is to be "
             "done there",
             config->agent, config->to, own_id);
    return 0;
}

enum blx_exit cli_rename(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    BLX_CLEANUP(blx_store_close) struct blx_store store = {.lock_fd = -1};
    int rc = cli_store_open(config->data_dir, BLX_STORE_READ, &store, err);
    if (rc == 0)
        rc = rename_it(&store, config, err);
    return rc < 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}
