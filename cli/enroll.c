#include <errno.h>
#include <stdio.h>

#include "base/io.h"
#include "cli/command.h"
#include "store/store.h"
#include "tls/pki.h"

enum blx_exit cli_enroll(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    char default_output[BLX_NAME_BYTES + sizeof(".pem")];
    snprintf(default_output, sizeof(default_output), "%s.pem", config->agent);
    const char *output = config->output != NULL ? config->output : default_output;

    struct blx_store store = {.lock_fd = -1};
    int rc = blx_store_open(config->data_dir, BLX_STORE_ENROLL, &store, err);
    if (rc < 0)
        return BLX_EXIT_FAILED;
    rc = blx_pki_enroll(config->data_dir, config->agent, output, err);
    blx_store_close(&store);
    if (rc < 0)
        return BLX_EXIT_FAILED;
    printf("%s\n", output);
    return BLX_EXIT_OK;
}
