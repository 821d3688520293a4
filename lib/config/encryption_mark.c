/* SPDX-License-Identifier: Apache-2.0 */
#include "config/encryption_mark.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/io.h"

int blx_encryption_mark_path(const struct blx_config *config, char path[PATH_MAX],
                             struct blx_error *err)
{
    return blx_path_format(path, PATH_MAX, err, "%s.encrypted", config->credentials);
}

/* Whatever keeps the mark from being looked at, encryption is not to end for that. */
int blx_encryption_mark_check(const struct blx_config *config, struct blx_error *err)
{
    char path[PATH_MAX];
    struct stat st;
    if (config->encryption_key != NULL)
        return 0;
    int rc = blx_encryption_mark_path(config, path, err);
    if (rc < 0)
        return rc;
    if (lstat(path, &st) != 0 && errno == ENOENT)
        return 0;
    return blx_error_set(
        err, -ENOKEY,
        "this agent has sent everything encrypted so far ('%s' says so), and no "
        "encryption-key is given: give the key's file, or encryption-key: \"none\" "
        "to send everything in the clear from now on",
        path);
}
