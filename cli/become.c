/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that are programs of their own: they alone need FUSE, know filesystems, have the
 * credentials of the copies, or serve the page. */
#include <errno.h>
#include <stdlib.h>

#include "cli/command.h"

enum blx_exit cli_mount(const struct cli_request *request, struct blx_error *err)
{
    return cli_become_same("blxrep-mount", request, err);
}

enum blx_exit cli_files(const struct cli_request *request, struct blx_error *err)
{
    return cli_become_same("blxrep-files", request, err);
}

/* blxrep-copy and blxrep-page do several things: the first word says which. */
static enum blx_exit become_with(char *name, char *word, const struct cli_request *request,
                                 struct blx_error *err)
{
    char **words = calloc((size_t)request->argc + 2, sizeof(*words));
    if (words == NULL) {
        blx_error_errno(err, -ENOMEM, "cannot start '%s'", name);
        return BLX_EXIT_FAILED;
    }
    words[0] = name;
    words[1] = word;
    for (int i = 1; i < request->argc; i++)
        words[i + 1] = request->argv[i];
    enum blx_exit code = cli_become_program(words, err);
    free(words);
    return code;
}

enum blx_exit cli_copy(const struct cli_request *request, struct blx_error *err)
{
    char name[] = "blxrep-copy", word[] = "copy";
    return become_with(name, word, request, err);
}

enum blx_exit cli_adopt(const struct cli_request *request, struct blx_error *err)
{
    char name[] = "blxrep-copy", word[] = "adopt";
    return become_with(name, word, request, err);
}

enum blx_exit cli_page(const struct cli_request *request, struct blx_error *err)
{
    char name[] = "blxrep-page", word[] = "invite";
    return become_with(name, word, request, err);
}

enum blx_exit cli_object_store(const struct cli_request *request, struct blx_error *err)
{
    return cli_become_same("blxrep-copy", request, err);
}
