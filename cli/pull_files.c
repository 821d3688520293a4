/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep agent restore --files`: becomes the program that knows filesystems, with the token on its
 * standard input. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/secret.h"

enum { TOKEN_LINE_BYTES = 512 };

/* blxrep-files reads the token there, and what it makes of it is its own. */
static int give_token(const struct blx_config *config, struct blx_error *err)
{
    char line[TOKEN_LINE_BYTES];
    int pipes[2];
    int rc = cli_secret_read(config->token_file, "Token: ", line, sizeof(line), err);
    if (rc == 0 && pipe2(pipes, O_CLOEXEC) != 0)
        rc = blx_error_errno(err, -errno, "cannot hand on the token");
    if (rc == 0) {
        /* A pipe takes a line without anybody who reads. */
        if (write(pipes[1], line, strlen(line)) < 0 || dup2(pipes[0], STDIN_FILENO) < 0)
            rc = blx_error_errno(err, -errno, "cannot hand on the token");
        close(pipes[0]);
        close(pipes[1]);
    }
    OPENSSL_cleanse(line, sizeof(line));
    return rc;
}

enum blx_exit cli_pull_files(const struct cli_request *request, struct blx_error *err)
{
    return give_token(request->config, err) < 0 ? BLX_EXIT_FAILED
                                                : cli_become_same("blxrep-files", request, err);
}
