/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep revoke`: shuts an agent or a copier out, now and until it is let in again. */
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

/* The agent as it is called here, and its server's ID. */
struct whom {
    char name[BLX_NAME_BYTES];
    char own_id[BLX_NAME_BYTES];
};

/* First writes the revocation, then tells the dispatcher. Any dispatcher that starts later reads it
 * from the disk. */
static int shut_out(const char *data_dir, const struct whom *whom, struct blx_error *err)
{
    struct blx_error why = {0};
    int rc = blx_pki_revoke(data_dir, whom->own_id, err);
    if (rc < 0)
        return rc;
    rc = cli_control_revoke(data_dir, whom->name, &why);
    if (rc == 0 || rc == -ENOTCONN)
        return 0;
    return blx_error_set(err, rc,
                         "'%s' is revoked and cannot connect again, but may still be connected: %s",
                         whom->name, why.message);
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

/* By its name, or by the ID of its server, which is what that one's log and configuration say. */
static int find(const struct blx_store *store, const struct blx_config *config, struct whom *whom,
                struct blx_error *err)
{
    int rc = blx_own_id_resolve(store, config->agent, whom->name, err);
    if (rc == 0 && !config->force)
        rc = check_known(store, whom->name, err);
    return rc < 0 ? rc : blx_own_id_read(blx_store_agent(store, whom->name), whom->own_id, err);
}

static int take_tokens_back(const char *data_dir, const struct whom *whom, struct blx_error *err)
{
    unsigned count = 0;
    char text[64];
    int rc = blx_pki_revoke_tokens(data_dir, whom->own_id, &count, err);
    if (rc < 0)
        return rc;
    snprintf(text, sizeof(text), "%u taken back", count);
    const struct blx_audit_entry entry = {
        .event = "revoke-tokens", .agent = whom->name, .text = text};
    cli_audit(data_dir, &entry);
    cli_tell("%u token%s of '%s' taken back; the agent itself goes on", count, cli_plural(count),
             whom->name);
    return 0;
}

static int look_for_copier(void *arg, const struct blx_audit_line *line, struct blx_error *err)
{
    struct search *search = arg;
    char event[16], name[BLX_NAME_BYTES];
    (void)err;
    if (blx_audit_value(line->text, "event", event, sizeof(event)) == 0 &&
        blx_audit_value(line->text, "text", name, sizeof(name)) == 0 &&
        strcmp(event, "enroll-copier") == 0)
        search->found |= strcmp(name, search->agent) == 0;
    return 0;
}

/* A dispatcher looks every few seconds whether the copiers that it serves are still welcome. */
static int revoke_copier(const struct blx_config *config, struct blx_error *err)
{
    struct search search = {.agent = config->copier, .found = config->force};
    int rc = cli_become_owner(config->data_dir, err);
    if (rc == 0 && !search.found)
        rc = blx_audit_each(config->data_dir, look_for_copier, &search, err);
    if (rc == 0 && !search.found)
        rc = blx_error_set(
            err, -ENOENT, "no copier '%s' was enrolled here; --force revokes the name all the same",
            config->copier);
    if (rc == 0)
        rc = blx_pki_revoke_copier(config->data_dir, config->copier, err);
    if (rc < 0)
        return rc;
    const struct blx_audit_entry entry = {.event = "revoke-copier", .text = config->copier};
    cli_audit(config->data_dir, &entry);
    cli_tell("the copier '%s' is revoked; what it has copied is kept where it is", config->copier);
    return 0;
}

enum blx_exit cli_revoke(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    struct blx_store store = {.lock_fd = -1};
    if (config->copier != NULL && config->make_token) {
        blx_error_set(err, -EINVAL, "--token and --copier exclude each other: a copier has none");
        return BLX_EXIT_USAGE;
    }
    if (config->copier != NULL)
        return revoke_copier(config, err) < 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
    if (cli_store_open(config->data_dir, BLX_STORE_READ, &store, err) < 0)
        return BLX_EXIT_FAILED;
    struct whom whom = {.name = ""};
    int rc = find(&store, config, &whom, err);
    if (rc == 0 && config->make_token) {
        rc = take_tokens_back(config->data_dir, &whom, err);
        blx_store_close(&store);
        return rc < 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
    }
    if (rc == 0)
        rc = shut_out(config->data_dir, &whom, err);
    blx_store_close(&store);
    if (rc < 0)
        return BLX_EXIT_FAILED;
    const struct blx_audit_entry entry = {.event = "revoke", .agent = whom.name};
    cli_audit(config->data_dir, &entry);
    cli_tell("'%s' is revoked; its checkpoints are kept", whom.name);
    return BLX_EXIT_OK;
}
