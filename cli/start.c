/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep start`: becomes blxrep-agent or blxrep-dispatcher. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
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
    char folder[PATH_MAX];
    char path[PATH_MAX + sizeof(dispatcher) + 1];
    if (own_folder(folder, err) < 0)
        return BLX_EXIT_FAILED;
    BLX_CLEANUP_FREE char **words = daemon_words(request, program);
    if (words == NULL) {
        blx_error_errno(err, -ENOMEM, "cannot start '%s'", program);
        return BLX_EXIT_FAILED;
    }
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
