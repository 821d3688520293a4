/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that are programs of their own: they alone need FUSE, know filesystems, or have the
 * credentials of the copies. */
#include "cli/command.h"

enum blx_exit cli_mount(const struct cli_request *request, struct blx_error *err)
{
    return cli_become_same("blxrep-mount", request, err);
}

enum blx_exit cli_files(const struct cli_request *request, struct blx_error *err)
{
    return cli_become_same("blxrep-files", request, err);
}

enum blx_exit cli_object_store(const struct cli_request *request, struct blx_error *err)
{
    return cli_become_same("blxrep-copy", request, err);
}
