/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/restore_token.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>

#include "base/json.h"
#include "cli/address.h"
#include "cli/command.h"
#include "cli/describe.h"
#include "tls/pki.h"

static int check_pki(const struct blx_config *config, struct blx_error *err)
{
    if (config->tls.ca == NULL)
        return 0;
    return blx_error_set(err, -EINVAL,
                         "'%s' names the site's own certificates (tls), and a dispatcher with "
                         "those takes no tokens: restore into a file, and send it over",
                         config->config_path);
}

static void print_json(const struct blx_config *config, const char *token,
                       const struct blx_restore_grant *grant)
{
    struct blx_json json = {.out = stdout};
    char address[CLI_ADDRESS_BYTES];
    cli_address_guess(config, address);
    blx_json_open(&json, NULL, '{');
    blx_json_string(&json, "agent", config->agent);
    cli_json_timestamp(&json, "checkpoint", grant->checkpoint);
    blx_json_string(&json, "token", token);
    blx_json_string(&json, "dispatcher_addr", address);
    blx_json_number(&json, "valid_s", BLX_PKI_TOKEN_SECONDS);
    blx_json_bool(&json, "takes_over", grant->takes_over);
    blx_json_open(&json, "volumes", '[');
    for (uint32_t v = 0; v < grant->volume_count; v++)
        blx_json_string(&json, NULL, grant->volumes[v]);
    blx_json_close(&json, ']');
    blx_json_close(&json, '}');
}

static void print_line(const struct blx_config *config, const char *token,
                       const struct blx_restore_grant *grant,
                       const struct blx_manifest_volume *first)
{
    char address[CLI_ADDRESS_BYTES];
    bool guessed = cli_address_guess(config, address);
    bool encrypted = !blx_key_id_is_none(&first->key_id);
    /* `echo` is part of every shell, so that no process has the token among its words. */
    printf("echo %s | blxrep agent restore --dispatcher-addr=%s --token-file=-%s%s --output=%s%s\n",
           token, address, grant->volume_count > 1 ? " --device=" : "",
           grant->volume_count > 1 ? first->device : "", first->device,
           encrypted ? " --key=blxrep.key" : "");
    cli_note("run this line as root on the machine that is to be written, within an hour: the "
             "first machine that does so has the token");
    cli_note("--output is the disk that it overwrites there: check its name first%s",
             guessed ? ", and the dispatcher's address, which --dispatcher-addr=HOST:PORT sets"
                     : "");
    if (grant->takes_over)
        cli_note("that machine is '%s' afterwards, and the old one is refused from then on: "
                 "`blxrep dispatcher readmit` takes that back",
                 grant->agent_id);
    if (grant->volume_count > 1)
        cli_note("the token gives %" PRIu32 " disks: run the line once for each, with its --device "
                 "and --output, or all at once with a folder as --output",
                 grant->volume_count);
}

int cli_restore_token_print(const struct blx_config *config, const struct blx_restore_grant *grant,
                            const struct blx_manifest_volume *first, struct blx_error *err)
{
    char token[BLX_TOKEN_TEXT_BYTES], text[64];
    int rc = check_pki(config, err);
    if (rc == 0)
        rc = blx_pki_make_restore_token(config->data_dir, grant, BLX_PKI_TOKEN_SECONDS, token, err);
    if (rc < 0)
        return rc;
    if (config->json)
        print_json(config, token, grant);
    else
        print_line(config, token, grant, first);
    OPENSSL_cleanse(token, sizeof(token));
    snprintf(text, sizeof(text), "%" PRIu64 ", %" PRIu32 " disk%s%s", grant->checkpoint,
             grant->volume_count, grant->volume_count == 1 ? "" : "s",
             grant->takes_over ? ", takes over" : "");
    const struct blx_audit_entry entry = {
        .event = "restore-token", .agent = config->agent, .text = text};
    cli_audit(config->data_dir, &entry);
    return 0;
}
