/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep mount` and `blxrep files`: programs of their own, which alone need FUSE or know
 * filesystems. */
#include "cli/command.h"

enum blx_exit cli_mount(const struct cli_request *request, struct blx_error *err)
{
    return cli_become_same("blxrep-mount", request, err);
}

enum blx_exit cli_files(const struct cli_request *request, struct blx_error *err)
{
    return cli_become_same("blxrep-files", request, err);
}
