/* SPDX-License-Identifier: Apache-2.0 */
/* Becoming another program of blxrep, and finding what lies beside this one. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "cli/command.h"

/* The folder of this program. Programs of one build tree find each other there. */
static int own_folder(char folder[PATH_MAX], struct blx_error *err)
{
    ssize_t length = readlink("/proc/self/exe", folder, PATH_MAX - 1);
    if (length < 0)
        return blx_error_errno(err, -errno, "cannot read '/proc/self/exe': is /proc mounted?");
    folder[length] = '\0';
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        *slash = '\0';
    return 0;
}

int cli_find_plugin(char path[PATH_MAX], struct blx_error *err)
{
    char folder[PATH_MAX];
    int rc = own_folder(folder, err);
    if (rc == 0)
        rc = blx_path_format(path, PATH_MAX, err, "%s/../lib/nbdkit-blxrep-plugin.so", folder);
    if (rc == 0 && access(path, F_OK) != 0)
        rc = blx_path_format(path, PATH_MAX, err, "%s", BLX_NBDKIT_PLUGIN);
    return rc;
}

enum blx_exit cli_become_program(char **words, struct blx_error *err)
{
    const char *program = words[0];
    char folder[PATH_MAX];
    char path[PATH_MAX + 32];
    if (own_folder(folder, err) < 0)
        return BLX_EXIT_FAILED;
    snprintf(path, sizeof(path), "%s/%s", folder, program);
    execv(path, words);
    if (errno == ENOENT)
        execvp(program, words);
    if (errno == ENOENT)
        blx_error_set(err, -ENOENT, "cannot find '%s' in '%s' or in PATH (%s): install it there",
                      program, folder, getenv("PATH") != NULL ? getenv("PATH") : "not set");
    else
        blx_error_errno(err, -errno, "cannot start '%s'", path);
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
