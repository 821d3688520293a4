/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep start`: becomes blxrep-agent or blxrep-dispatcher. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/command.h"

/* All words but --mode: that one only chooses the program. */
static char **daemon_words(const struct cli_request *request, char *program)
{
    char **words = calloc((size_t)request->argc + 1, sizeof(*words));
    if (words == NULL)
        return NULL;
    size_t count = 0;
    words[count++] = program;
    for (int i = 1; i < request->argc; i++) {
        if (strcmp(request->argv[i], "--mode") == 0)
            i++;
        else if (strncmp(request->argv[i], "--mode=", 7) != 0)
            words[count++] = request->argv[i];
    }
    return words;
}

enum blx_exit cli_start(const struct cli_request *request, struct blx_error *err)
{
    char agent[] = "blxrep-agent";
    char dispatcher[] = "blxrep-dispatcher";
    char *program = request->config->mode == BLX_MODE_AGENT ? agent : dispatcher;
    BLX_CLEANUP_FREE char **words = daemon_words(request, program);
    if (words == NULL) {
        blx_error_errno(err, -ENOMEM, "cannot start '%s'", program);
        return BLX_EXIT_FAILED;
    }
    return cli_become_program(words, err);
}
