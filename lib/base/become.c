/* SPDX-License-Identifier: Apache-2.0 */
#include "base/become.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int blx_own_folder(char folder[PATH_MAX], struct blx_error *err)
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

int blx_become_program(char **words, struct blx_error *err)
{
    const char *program = words[0];
    char folder[PATH_MAX];
    char path[PATH_MAX + 32];
    int rc = blx_own_folder(folder, err);
    if (rc < 0)
        return rc;
    snprintf(path, sizeof(path), "%s/%s", folder, program);
    execv(path, words);
    if (errno == ENOENT)
        execvp(program, words);
    if (errno == ENOENT)
        return blx_error_set(err, -ENOENT,
                             "cannot find '%s' in '%s' or in PATH (%s): install it there", program,
                             folder, getenv("PATH") != NULL ? getenv("PATH") : "not set");
    return blx_error_errno(err, -errno, "cannot start '%s'", path);
}
