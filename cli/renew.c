/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep renew`, `renew-ca` and `retire-ca`: a new certificate of the dispatcher, and the two
 * steps of a roll-over of its CA. A dispatcher that runs takes them up by itself. */
#include <errno.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/describe.h"
#include "store/own_id.h"
#include "store/store.h"
#include "tls/pki.h"
#include "tls/pki_roll.h"

static int check_own(const struct blx_config *config, struct blx_error *err)
{
    if (config->tls.ca == NULL)
        return 0;
    return blx_error_set(err, -EINVAL,
                         "'%s' names the site's own certificates (tls), so the site's own "
                         "authority renews them",
                         config->config_path);
}

static void audit(const struct blx_config *config, const char *event, const char *text)
{
    const struct blx_audit_entry entry = {.event = event, .text = text};
    cli_audit(config->data_dir, &entry);
}

/* Each of the three begins so. */
static int open_store(const struct blx_config *config, struct blx_store *store,
                      struct blx_error *err)
{
    int rc = check_own(config, err);
    return rc == 0 ? cli_store_open(config->data_dir, BLX_STORE_READ, store, err) : rc;
}

/* A step that makes something new of the PKI's. */
struct renewal {
    int (*make)(const char *data_dir, struct blx_error *err);
    const char *event, *audited; /* in the audit log */
    const char *told;            /* what there is now */
};

static enum blx_exit renew(const struct blx_config *config, const struct renewal *renewal,
                           struct blx_error *err)
{
    BLX_CLEANUP(blx_store_close) struct blx_store store = {.lock_fd = -1};
    int rc = open_store(config, &store, err);
    if (rc == 0)
        rc = renewal->make(config->data_dir, err);
    if (rc < 0)
        return BLX_EXIT_FAILED;
    audit(config, renewal->event, renewal->audited);
    cli_tell("%s", renewal->told);
    return BLX_EXIT_OK;
}

enum blx_exit cli_renew(const struct cli_request *request, struct blx_error *err)
{
    static const struct renewal certificate = {
        .make = blx_pki_renew_dispatcher,
        .event = "renew",
        .audited = "the dispatcher's certificate",
        .told = "the dispatcher has a new key and certificate; one that runs uses them within "
                "seconds",
    };
    return renew(request->config, &certificate, err);
}

enum blx_exit cli_renew_ca(const struct cli_request *request, struct blx_error *err)
{
    static const struct renewal successor = {
        .make = blx_pki_roll_begin,
        .event = "renew-ca",
        .audited = "the CA has a successor",
        .told = "the CA has a successor, and both are trusted; agents get it when they are "
                "connected",
    };
    enum blx_exit status = renew(request->config, &successor, err);
    if (status == BLX_EXIT_OK)
        cli_note("`blxrep dispatcher retire-ca --dry-run` lists the agents that still need the old "
                 "CA");
    return status;
}

/* Prints the agents that would be shut out; one whose place is not known counts as one. */
static int list_stayed(const struct blx_config *config, const struct blx_store *store,
                       size_t *stayed, struct blx_error *err)
{
    char **agent_ids = NULL;
    size_t count = 0;
    int rc = blx_store_list_agents(store, &agent_ids, &count, err);
    *stayed = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        enum blx_pki_place place = BLX_PKI_STAYED;
        bool revoked = false;
        char own_id[BLX_NAME_BYTES];
        rc = blx_own_id_read(blx_store_agent(store, agent_ids[i]), own_id, err);
        if (rc == 0)
            rc = blx_pki_look_revoked(config->data_dir, own_id, &revoked, err);
        if (rc == 0)
            rc = blx_pki_roll_look(config->data_dir, own_id, &place, err);
        if (rc < 0 || revoked || place == BLX_PKI_MOVED)
            continue;
        printf("%s\n", agent_ids[i]);
        ++*stayed;
    }
    blx_store_free_agents(agent_ids, count);
    return rc;
}

static int retire(const struct blx_config *config, const struct blx_store *store,
                  struct blx_error *err)
{
    size_t stayed = 0;
    int rc = blx_pki_roll_check(config->data_dir, err);
    if (rc == 0)
        rc = list_stayed(config, store, &stayed, err);
    if (rc < 0)
        return rc;
    if (config->dry_run) {
        cli_note("%zu agent%s would have to join again; an agent that is connected moves by itself",
                 stayed, cli_plural(stayed));
        return 0;
    }
    if (stayed > 0 && !config->force)
        return blx_error_set(err, -EBUSY,
                             "%zu agent%s would have to join again: wait until all of the above "
                             "have been connected, or shut them out with --force",
                             stayed, cli_plural(stayed));
    rc = blx_pki_roll_retire(config->data_dir, err);
    if (rc < 0)
        return rc;
    char text[64];
    snprintf(text, sizeof(text), "%zu agent%s shut out", stayed, cli_plural(stayed));
    audit(config, "retire-ca", text);
    cli_note("the old CA is retired; a dispatcher that runs notices within seconds");
    return 0;
}

enum blx_exit cli_retire_ca(const struct cli_request *request, struct blx_error *err)
{
    struct blx_store store = {.lock_fd = -1};
    int rc = open_store(request->config, &store, err);
    if (rc == 0)
        rc = retire(request->config, &store, err);
    blx_store_close(&store);
    return rc < 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}
