/* SPDX-License-Identifier: Apache-2.0 */
/* Becoming another program of blxrep. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/become.h"
#include "base/cleanup.h"
#include "cli/command.h"

enum blx_exit cli_become_program(char **words, struct blx_error *err)
{
    blx_become_program(words, err);
    return BLX_EXIT_FAILED;
}

enum blx_exit cli_become_same(const char *program, const struct cli_request *request,
                              struct blx_error *err)
{
    BLX_CLEANUP_FREE char *name = strdup(program);
    BLX_CLEANUP_FREE char **words = calloc((size_t)request->argc + 1, sizeof(*words));
    if (words == NULL || name == NULL) {
        blx_error_errno(err, -ENOMEM, "cannot start '%s'", program);
        return BLX_EXIT_FAILED;
    }
    words[0] = name;
    for (int i = 1; i < request->argc; i++)
        words[i] = request->argv[i];
    return cli_become_program(words, err);
}
