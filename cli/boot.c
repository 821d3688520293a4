/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep boot` and `blxrep test`: become blxrep-boot and blxrep-test with the same words. */
#include "cli/command.h"

enum blx_exit cli_boot(const struct cli_request *request, struct blx_error *err)
{
    return cli_become_same("blxrep-boot", request, err);
}

enum blx_exit cli_test(const struct cli_request *request, struct blx_error *err)
{
    return cli_become_same("blxrep-test", request, err);
}
