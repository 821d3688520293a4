/* SPDX-License-Identifier: Apache-2.0 */
/* Becoming another program of blxrep, and finding what lies beside this one. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/become.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "cli/command.h"

int cli_find_plugin(char path[PATH_MAX], struct blx_error *err)
{
    char folder[PATH_MAX];
    int rc = blx_own_folder(folder, err);
    if (rc == 0)
        rc = blx_path_format(path, PATH_MAX, err, "%s/../lib/nbdkit-blxrep-plugin.so", folder);
    if (rc == 0 && access(path, F_OK) != 0)
        rc = blx_path_format(path, PATH_MAX, err, "%s", BLX_NBDKIT_PLUGIN);
    return rc;
}

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
