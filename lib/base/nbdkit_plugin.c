/* SPDX-License-Identifier: Apache-2.0 */
#include "base/nbdkit_plugin.h"

#include <errno.h>
#include <unistd.h>

#include "base/become.h"
#include "base/io.h"

int blx_nbdkit_plugin_find(char path[PATH_MAX], struct blx_error *err)
{
    char folder[PATH_MAX];
    int rc = blx_own_folder(folder, err);
    if (rc == 0)
        rc = blx_path_format(path, PATH_MAX, err, "%s/../lib/nbdkit-blxrep-plugin.so", folder);
    if (rc == 0 && access(path, F_OK) != 0)
        rc = blx_path_format(path, PATH_MAX, err, "%s", BLX_NBDKIT_PLUGIN);
    return rc;
}

int blx_nbdkit_plugin_check(const char *path, struct blx_error *err)
{
    if (access(path, R_OK) == 0)
        return 0;
    return blx_error_set(
        err, -ENOENT, "cannot find nbdkit's plugin '%s': install the package blxrep-nbdkit", path);
}
