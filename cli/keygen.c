/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep keygen`: makes a key with which agents encrypt what they send. */
#include <stdio.h>

#include "cli/command.h"
#include "crypt/key.h"

enum blx_exit cli_keygen(const struct cli_request *request, struct blx_error *err)
{
    const char *output = request->config->output != NULL ? request->config->output : "blxrep.key";
    BLX_CLEANUP_SECRET_KEY struct blx_key key = {0};
    if (blx_key_create(&key, err) < 0 || blx_key_write(output, &key, err) < 0)
        return BLX_EXIT_FAILED;
    char id[BLX_KEY_ID_TEXT_BYTES];
    blx_key_id_format(&key.id, id);
    printf("%s\n", output);
    cli_note("this is the key %s: name its file as encryption-key in the agent's configuration, "
             "and restore with --key=FILE",
             id);
    cli_note("KEEP COPIES of the file away from the servers and the dispatcher: lose the key, and "
             "nobody can ever restore a checkpoint that was encrypted with it");
    return BLX_EXIT_OK;
}
