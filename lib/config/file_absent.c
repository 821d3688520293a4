/* SPDX-License-Identifier: Apache-2.0 */
/* In place of file.c in blxrep-static, which reads no configuration file: what reads one is under
 * the LGPL, and a machine that waits for its disk has none. */
#include <errno.h>

#include "config/option_private.h"

int blx_config_file_apply(const char *path, struct blx_config *config, unsigned *lines,
                          struct blx_error *err)
{
    (void)config;
    (void)lines;
    return blx_error_set(err, -ENOENT,
                         "'%s' is not read: blxrep-static has no configuration file, so give its "
                         "settings as flags",
                         path);
}
