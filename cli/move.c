/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `blxrep move`: an agent goes to another one of the dispatchers that share the data directory.
 * This command writes it down; the dispatcher that has the agent ends its session, each but the new
 * one refuses it, and so it comes there by the addresses that it knows. Its next session resumes.
 */
#include <errno.h>
#include <string.h>

#include "cli/command.h"
#include "cli/control.h"
#include "store/destination.h"
#include "store/member.h"

static const char anywhere[] = "any";

/* A name that no dispatcher has would be of no effect until one with it comes. */
static int check_host(const struct blx_store *store, const struct blx_config *config,
                      struct blx_error *err)
{
    BLX_CLEANUP(blx_member_list_done) struct blx_member_list list = {0};
    char known[BLX_TEXT_BYTES] = "";
    size_t used = 0;
    bool found = strcmp(config->to, anywhere) == 0 || config->force;
    int rc = found ? 0 : blx_member_list_read(store, &list, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < list.count; i++) {
        const struct blx_control_host *host = &list.reports[i].host;
        if (host->role != BLX_HOST_SHARES)
            continue;
        found = found || strcmp(host->name, config->to) == 0;
        if (used < sizeof(known))
            used += (size_t)snprintf(known + used, sizeof(known) - used, "%s'%s'",
                                     used > 0 ? ", " : "", host->name);
    }
    if (found)
        return 0;
    if (known[0] == '\0')
        return blx_error_set(err, -ENOENT,
                             "no dispatchers share '%s' now: give 'shared' to each of them, or "
                             "move the agent to another data directory with "
                             "`blxrep dispatcher adopt`",
                             config->data_dir);
    return blx_error_set(err, -ENOENT,
                         "no dispatcher '%s' shares '%s' now, but %s; --force moves the agent all "
                         "the same, once that one runs",
                         config->to, config->data_dir, known);
}

/* If the agent is with another host's dispatcher, that one sees it within seconds. */
static void tell_dispatcher(const struct blx_config *config)
{
    struct blx_error err = {0};
    int rc = cli_control_pause(config->data_dir, config->agent, &err);
    if (rc < 0 && rc != -ENOTCONN)
        cli_note("the running dispatcher was not told: %s", err.message);
}

static void audit(const struct blx_config *config)
{
    char text[BLX_NAME_BYTES + 32];
    snprintf(text, sizeof(text), "to the dispatcher '%s'", config->to);
    const struct blx_audit_entry entry = {.event = "move", .agent = config->agent, .text = text};
    cli_audit(config->data_dir, &entry);
}

static int move(const struct blx_store *store, const struct blx_config *config,
                struct blx_error *err)
{
    const struct blx_agent_store agent = blx_store_agent(store, config->agent);
    const bool goes_anywhere = strcmp(config->to, anywhere) == 0;
    int rc = blx_agent_store_check(agent, err);
    if (rc == 0)
        rc = check_host(store, config, err);
    if (rc == 0)
        rc = blx_destination_set(agent, goes_anywhere ? NULL : config->to, err);
    if (rc < 0)
        return rc;
    audit(config);
    tell_dispatcher(config);
    if (goes_anywhere)
        cli_tell("'%s' stays with whichever dispatcher it connects to", config->agent);
    else
        cli_tell("'%s' goes to the dispatcher '%s' within seconds, if that is among its addresses "
                 "(dispatcher-addr), and resumes there; `blxrep dispatcher status` shows it",
                 config->agent, config->to);
    return 0;
}

enum blx_exit cli_move(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    BLX_CLEANUP(blx_store_close) struct blx_store store = {.lock_fd = -1};
    int rc = cli_store_open(config->data_dir, BLX_STORE_READ, &store, err);
    if (rc == 0)
        rc = move(&store, config, err);
    return rc < 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}
