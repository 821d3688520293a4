/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep enroll`: makes the credentials of an agent or a copier, or a token with which an agent's
 * server joins. */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/secret_file.h"
#include "cli/address.h"
#include "cli/command.h"
#include "store/owner.h"
#include "store/own_id.h"
#include "store/store.h"
#include "tls/pki.h"

static int check_pki(const struct blx_config *config, struct blx_error *err)
{
    if (config->tls.ca == NULL)
        return 0;
    return blx_error_set(err, -EINVAL,
                         "'%s' names the site's own certificates (tls), so blxrep cannot sign one "
                         "for '%s': have the site's own authority sign it",
                         config->config_path, config->agent);
}

/* The ID that the server gets. It has another one than its name if it was renamed; and an ID that a
 * renamed agent has cannot be given to a second server. */
static int choose_id(const struct blx_config *config, const struct blx_store *store,
                     char id[BLX_NAME_BYTES], struct blx_error *err)
{
    char name[BLX_NAME_BYTES];
    int rc = blx_own_id_read(blx_store_agent(store, config->agent), id, err);
    if (rc < 0 || strcmp(id, config->agent) != 0)
        return rc;
    rc = blx_own_id_find(store, id, name, err);
    if (rc == 1 && strcmp(name, config->agent) != 0)
        return blx_error_set(err, -EEXIST,
                             "'%s' is the ID of the server that is called '%s' here: enroll "
                             "--agent=%s for that one, and choose another ID for another server",
                             id, name, name);
    return rc < 0 ? rc : 0;
}

static int print_token(const struct blx_config *config, const struct blx_store *store,
                       struct blx_error *err)
{
    char token[BLX_TOKEN_TEXT_BYTES], address[CLI_ADDRESS_BYTES], id[BLX_NAME_BYTES];
    int rc = choose_id(config, store, id, err);
    if (rc == 0)
        rc = blx_pki_make_token(config->data_dir, id, BLX_PKI_TOKEN_SECONDS, token, err);
    if (rc < 0)
        return rc;
    bool guessed = cli_address_guess(config, address);
    /* `echo` is part of every shell, so that no process has the token among its words. */
    printf("echo %s | blxrep agent join --dispatcher-addr=%s --token-file=-\n", token, address);
    OPENSSL_cleanse(token, sizeof(token));
    cli_note(
        "run this line on the server that is to become '%s': it works once, within an hour%s", id,
        guessed ? "; check its address first, or set it with --dispatcher-addr=HOST:PORT" : "");
    return 0;
}

static int open_store(const struct blx_config *config, struct blx_store *store,
                      struct blx_error *err)
{
    return blx_store_open(config->data_dir, config->init ? BLX_STORE_INIT : BLX_STORE_READ, store,
                          err);
}

static int enroll_by_token(const struct blx_config *config, struct blx_error *err)
{
    struct blx_store store = {.lock_fd = -1};
    int rc = check_pki(config, err);
    if (rc == 0)
        rc = cli_become_owner(config->data_dir, err);
    if (rc == 0)
        rc = open_store(config, &store, err);
    if (rc == 0)
        rc = print_token(config, &store, err);
    blx_store_close(&store);
    return rc;
}

static int make_bundle(const struct blx_config *config, struct blx_pki_bundle *bundle,
                       struct blx_error *err)
{
    char id[BLX_NAME_BYTES];
    struct blx_store store = {.lock_fd = -1};
    int rc = open_store(config, &store, err);
    if (rc == 0 && config->copier != NULL) {
        rc = blx_pki_make_copier(config->data_dir, config->copier, bundle, err);
        blx_store_close(&store);
        return rc;
    }
    if (rc == 0)
        rc = choose_id(config, &store, id, err);
    if (rc == 0)
        rc = blx_pki_make_bundle(config->data_dir, id, bundle, err);
    blx_store_close(&store);
    return rc;
}

/* Root may name an output anywhere, but in the data directory it acts as its owner. */
static int enroll_by_file(const struct blx_config *config, struct blx_error *err)
{
    char default_output[BLX_NAME_BYTES + sizeof(".pem")];
    struct blx_pki_bundle bundle = {.bytes = 0};
    enum blx_owner owner = BLX_OWNER_KEPT;
    snprintf(default_output, sizeof(default_output), "%s.pem",
             config->copier != NULL ? config->copier : config->agent);
    const char *output = config->output != NULL ? config->output : default_output;
    int rc = blx_secret_file_check(output, BLX_PKI_WAY_OUT, err);
    if (rc == 0)
        rc = blx_owner_visit(config->data_dir, &owner, err);
    if (rc == 0)
        rc = make_bundle(config, &bundle, err);
    int left = blx_owner_leave(owner, rc == 0 ? err : NULL);
    if (rc == 0)
        rc = left;
    if (rc == 0)
        rc = blx_secret_file_write(output, bundle.pem, bundle.bytes, BLX_PKI_WAY_OUT, err);
    OPENSSL_cleanse(&bundle, sizeof(bundle));
    if (rc == 0)
        printf("%s\n", output);
    return rc;
}

/* `status` lists it from now on, whether or not it ever connects. */
static void list_agent(const struct blx_config *config)
{
    struct blx_store store = {.lock_fd = -1};
    struct blx_error err = {0};
    int rc = cli_store_open(config->data_dir, BLX_STORE_READ, &store, &err);
    if (rc == 0)
        rc = blx_agent_store_enroll(blx_store_agent(&store, config->agent), &err);
    if (rc < 0)
        cli_note("`status` will not list '%s' before it has connected: %s", config->agent,
                 err.message);
    blx_store_close(&store);
}

enum blx_exit cli_enroll(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    if (config->make_token && config->output != NULL) {
        blx_error_set(err, -EINVAL,
                      "--token and --output exclude each other: leave out --output, as the server "
                      "that joins with the token writes its own file");
        return BLX_EXIT_USAGE;
    }
    if (config->make_token && config->copier != NULL) {
        blx_error_set(
            err, -EINVAL,
            "--token and --copier exclude each other: a copier has a file, which is to be "
            "brought to the other dispatcher");
        return BLX_EXIT_USAGE;
    }
    int rc = config->make_token ? enroll_by_token(config, err) : enroll_by_file(config, err);
    if (rc < 0)
        return BLX_EXIT_FAILED;
    const struct blx_audit_entry entry = {.event =
                                              config->copier != NULL ? "enroll-copier" : "enroll",
                                          .agent = config->agent,
                                          .text = config->copier != NULL ? config->copier
                                                  : config->make_token   ? "a token"
                                                                         : "a bundle"};
    cli_audit(config->data_dir, &entry);
    if (config->copier == NULL)
        list_agent(config);
    return BLX_EXIT_OK;
}
