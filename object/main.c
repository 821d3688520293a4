/* SPDX-License-Identifier: Apache-2.0 */
/* blxrep-copy: copies elsewhere. `blxrep dispatcher object-store check`, `copy` and `adopt` become
 * it; the first word says which. A program of its own, so that the credentials of the copies are in
 * no other process. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <curl/curl.h>

#include "config/config.h"
#include "object/commands.h"

struct subcommand {
    const char *word;
    int (*run)(const struct blx_config *config, struct blx_error *err);
    struct blx_config_program program;
};

/* For commands that read copies: people never type it. */
#define FETCH(how)                                                                                 \
    {                                                                                              \
        "fetch-" #how, object_command_fetch_##how,                                                 \
        {                                                                                          \
            .name = "blxrep-copy", .command = BLX_COMMAND_FETCH, .help = {                         \
                .usage = "blxrep-copy fetch-" #how " --data-dir=FOLDER|URL",                       \
                .description = "Makes a data directory of copies in the cache, for another "       \
                               "command."                                                          \
            }                                                                                      \
        }                                                                                          \
    }

/* The last one needs no word. */
static const struct subcommand subcommands[] = {
    {"copy",
     object_command_copy,
     {.name = "blxrep-copy",
      .command = BLX_COMMAND_COPY,
      .help =
          {.usage = "blxrep dispatcher copy [--data-dir=DIR] [--agent=ID] [--to=FOLDER|URL] "
                    "[--bandwidth-limit=RATE] [--json]\n"
                    "       blxrep dispatcher copy --from=HOST:PORT [--copier-credentials=FILE] "
                    "[--data-dir=DIR] [--agent=ID]",
           .description =
               "Copies the checkpoints that are not there yet into a folder or an object "
               "store,\nor from another dispatcher. An interrupted copy goes on where it was."}}},
    {"adopt",
     object_command_adopt,
     {.name = "blxrep-copy",
      .command = BLX_COMMAND_ADOPT,
      .help = {.usage = "blxrep dispatcher adopt --from=HOST:PORT|FOLDER|URL [--agent=ID] "
                        "[--checkpoint=TIMESTAMP] --data-dir=DIR "
                        "[--json]",
               .description = "Takes agents with all their checkpoints from copies into a data "
                              "directory."}}},
    FETCH(lists),
    FETCH(tails),
    FETCH(ahead),
    FETCH(wholes),
    {"check",
     object_command_check,
     {.name = "blxrep-copy",
      .command = BLX_COMMAND_OBJECT_STORE,
      .help = {.usage =
                   "blxrep dispatcher object-store check [--data-dir=DIR] [--config=FILE] [--json]",
               .description =
                   "Tries what an object store really keeps: whether copies can be written, read "
                   "and listed, and\nwhether those who have the credentials can delete them. "
                   "Leaves a locked canary of 64 bytes."}}},
};

enum { SUBCOMMANDS = sizeof(subcommands) / sizeof(subcommands[0]) };

static int fail(const struct blx_error *err, enum blx_exit code)
{
    fprintf(stderr, "blxrep: %s\n", err->message);
    return (int)code;
}

int main(int argc, char **argv)
{
    BLX_CLEANUP_CONFIG struct blx_config config = {0};
    struct blx_error err = {0};
    enum blx_config_result result;
    size_t chosen = 0;
    while (chosen + 1 < SUBCOMMANDS && (argc < 2 || strcmp(argv[1], subcommands[chosen].word) != 0))
        chosen++;
    int words = chosen + 1 < SUBCOMMANDS ? 1 : 0;
    if (blx_config_begin(&subcommands[chosen].program, argc - words, argv + words, stdout, &config,
                         &result, &err) < 0)
        return fail(&err, BLX_EXIT_USAGE);
    if (result != BLX_CONFIG_RUN)
        return BLX_EXIT_OK;
    signal(SIGPIPE, SIG_IGN);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int code = subcommands[chosen].run(&config, &err);
    curl_global_cleanup();
    return code < 0 ? fail(&err, BLX_EXIT_FAILED) : code;
}
