/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep revoke`: shuts an agent out, now and until it is let in again. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/control.h"
#include "cli/describe.h"
#include "store/audit.h"
#include "store/checkpoint/manifest_file.h"
#include "store/own_id.h"
#include "store/store.h"
#include "tls/pki.h"
#include "tls/pki_restore.h"

/* First writes the revocation, then tells the dispatcher. Any dispatcher that starts later reads it
 * from the disk. */
static int shut_out(const struct blx_config *config, const char *own_id, struct blx_error *err)
{
    struct blx_error why = {0};
    int rc = blx_pki_revoke(config->data_dir, own_id, err);
    if (rc < 0)
        return rc;
    rc = cli_control_revoke(config->data_dir, config->agent, &why);
    if (rc == 0 || rc == -ENOTCONN)
        return 0;
    return blx_error_set(err, rc,
                         "'%s' is revoked and cannot connect again, but may still be connected: %s",
                         config->agent, why.message);
}

struct search {
    const char *agent;
    bool found;
};

static int look_at_line(void *arg, const struct blx_audit_line *line, struct blx_error *err)
{
    struct search *search = arg;
    char event[16], agent[BLX_NAME_BYTES];
    (void)err;
    if (blx_audit_value(line->text, "event", event, sizeof(event)) == 0 &&
        blx_audit_value(line->text, "agent", agent, sizeof(agent)) == 0 &&
        (strcmp(event, "enroll") == 0 || strcmp(event, "join") == 0))
        search->found |= strcmp(agent, search->agent) == 0;
    return 0;
}

/* An agent is known if it has ever connected or was enrolled. A mistyped name would look revoked
 * while the agent that was meant goes on. */
static int check_known(const struct blx_store *store, const char *agent, struct blx_error *err)
{
    struct search search = {.agent = agent};
    blx_timestamp ignored;
    if (blx_agent_store_exists(blx_store_agent(store, agent)))
        return 0;
    int rc = blx_audit_each(store->data_dir, look_at_line, &search, err);
    if (rc < 0 || search.found)
        return rc;
    struct blx_error cause = {0};
    rc = blx_manifest_latest(blx_store_agent(store, agent), &ignored, &cause);
    return rc < 0
               ? blx_error_set(err, rc, "%s; --force revokes the name all the same", cause.message)
               : 0;
}

static int take_tokens_back(const struct blx_config *config, const char *own_id,
                            struct blx_error *err)
{
    unsigned count = 0;
    char text[64];
    int rc = blx_pki_revoke_tokens(config->data_dir, own_id, &count, err);
    if (rc < 0)
        return rc;
    snprintf(text, sizeof(text), "%u taken back", count);
    const struct blx_audit_entry entry = {
        .event = "revoke-tokens", .agent = config->agent, .text = text};
    cli_audit(config->data_dir, &entry);
    cli_tell("%u token%s of '%s' taken back; the agent itself goes on", count, cli_plural(count),
             config->agent);
    return 0;
}

enum blx_exit cli_revoke(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    struct blx_store store = {.lock_fd = -1};
    if (cli_store_open(config->data_dir, BLX_STORE_READ, &store, err) < 0)
        return BLX_EXIT_FAILED;
    char own_id[BLX_NAME_BYTES];
    int rc = config->force ? 0 : check_known(&store, config->agent, err);
    if (rc == 0)
        rc = blx_own_id_read(blx_store_agent(&store, config->agent), own_id, err);
    if (rc == 0 && config->make_token) {
        rc = take_tokens_back(config, own_id, err);
        blx_store_close(&store);
        return rc < 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
    }
    if (rc == 0)
        rc = shut_out(config, own_id, err);
    blx_store_close(&store);
    if (rc < 0)
        return BLX_EXIT_FAILED;
    const struct blx_audit_entry entry = {.event = "revoke", .agent = config->agent};
    cli_audit(config->data_dir, &entry);
    cli_tell("'%s' is revoked; its checkpoints are kept", config->agent);
    return BLX_EXIT_OK;
}
