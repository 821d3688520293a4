/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep mount`: becomes blxrep-mount, which alone needs FUSE, with the same words. */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "cli/command.h"

enum blx_exit cli_mount(const struct cli_request *request, struct blx_error *err)
{
    char program[] = "blxrep-mount";
    BLX_CLEANUP_FREE char **words = calloc((size_t)request->argc + 1, sizeof(*words));
    if (words == NULL) {
        blx_error_errno(err, -ENOMEM, "cannot start '%s'", program);
        return BLX_EXIT_FAILED;
    }
    words[0] = program;
    for (int i = 1; i < request->argc; i++)
        words[i] = request->argv[i];
    return cli_become_program(words, err);
}
