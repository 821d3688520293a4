/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep agent save` and `blxrep agent arm`: become blxrep-reboot, which has the tracker. */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "cli/command.h"

enum blx_exit cli_reboot(const struct cli_request *request, struct blx_error *err)
{
    char program[] = "blxrep-reboot";
    BLX_CLEANUP_FREE char **words = calloc((size_t)request->argc + 2, sizeof(*words));
    if (words == NULL) {
        blx_error_errno(err, -ENOMEM, "cannot start '%s'", program);
        return BLX_EXIT_FAILED;
    }
    words[0] = program;
    for (int i = 0; i < request->argc; i++)
        words[i + 1] = request->argv[i];
    return cli_become_program(words, err);
}
