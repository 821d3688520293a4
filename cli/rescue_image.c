/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep dispatcher rescue-image`: becomes blxrep-rescue-image, a script, which asks other
 * programs for the archive and the ISO. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/command.h"

/* Only what was asked for, in the script's own form; the options are checked here. */
enum blx_exit cli_rescue_image(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    const struct {
        const char *name, *value;
    } options[] = {{"--output", config->output},
                   {"--pxe", config->pxe_dir},
                   {"--dispatcher-addr", config->dispatcher_addr},
                   {"--kernel-dir", config->kernel_dir},
                   {"--kernel-package", config->kernel_package}};
    enum { OPTIONS = sizeof(options) / sizeof(options[0]) };
    char program[] = "blxrep-rescue-image";
    char *words[1 + OPTIONS + 1] = {program};
    size_t count = 1;
    if (config->kernel_dir != NULL && config->kernel_package != NULL) {
        blx_error_set(err, -EINVAL,
                      "--kernel-dir and --kernel-package exclude each other: leave out one");
        return BLX_EXIT_USAGE;
    }
    enum blx_exit status = BLX_EXIT_FAILED;
    for (size_t i = 0; i < OPTIONS; i++) {
        if (options[i].value == NULL)
            continue;
        if (asprintf(&words[count], "%s=%s", options[i].name, options[i].value) < 0) {
            words[count] = NULL;
            blx_error_errno(err, -ENOMEM, "cannot start '%s'", program);
            goto out;
        }
        count++;
    }
    status = cli_become_program(words, err);
out:
    for (size_t i = 1; i < count; i++)
        free(words[i]);
    return status;
}
