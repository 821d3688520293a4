/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "cli/command.h"

struct command {
    const char *name;
    enum blx_command command;
    enum blx_exit (*run)(const struct cli_request *request, struct blx_error *err);
    const char *usage;
    const char *description;
};

static const struct command commands[] = {
    {"start", BLX_COMMAND_START, cli_start,
     "blxrep start --mode=dispatcher --data-dir=DIR --sync-freq=N [--listen=HOST:PORT]\n"
     "       blxrep start --mode=agent --id=ID --dispatcher-addr=HOST:PORT --device=/dev/X "
     "[--device=/dev/Y ...]",
     "Becomes blxrep-agent or blxrep-dispatcher, in the foreground. SIGTERM ends it."},
    {"enroll", BLX_COMMAND_ENROLL, cli_enroll,
     "blxrep dispatcher enroll --agent=ID --data-dir=DIR [--output=FILE]\n"
     "       blxrep dispatcher enroll --agent=ID --data-dir=DIR --token "
     "[--dispatcher-addr=HOST:PORT]",
     "Makes an agent's credentials (by default ID.pem in the current folder) and prints the path, "
     "or prints the line with which its server joins, once, within an hour."},
    {"join", BLX_COMMAND_JOIN, cli_join,
     "blxrep agent join --dispatcher-addr=HOST:PORT --token=TOKEN [--credentials=FILE] [--force]",
     "Makes this server's key and has the dispatcher sign a certificate for it."},
    {"keygen", BLX_COMMAND_KEYGEN, cli_keygen, "blxrep keygen [--output=FILE]",
     "Makes a key with which agents encrypt (by default blxrep.key in the current folder) and "
     "prints the path. Who loses it loses the checkpoints."},
    {"revoke", BLX_COMMAND_REVOKE, cli_revoke, "blxrep dispatcher revoke --agent=ID --data-dir=DIR",
     "Shuts an agent out at once; its checkpoints stay, and it can join again."},
    {"show", BLX_COMMAND_SHOW, cli_show,
     "blxrep dispatcher show --agent=ID --data-dir=DIR [--start=YYYYMMDDHHMM] "
     "[--end=YYYYMMDDHHMM] [--json]",
     "Lists an agent's checkpoints, oldest first. --start and --end include both ends."},
    {"info", BLX_COMMAND_INFO, cli_info,
     "blxrep dispatcher info --checkpoint=TIMESTAMP --agent=ID --data-dir=DIR [--json]",
     "Says all that the store knows of one checkpoint."},
    {"restore", BLX_COMMAND_RESTORE, cli_restore,
     "blxrep dispatcher restore --checkpoint=TIMESTAMP --agent=ID --data-dir=DIR "
     "[--device=/dev/X] [--output=PATH] [--key=FILE ...] [--delta] [--resume] [--force]",
     "Writes a checkpoint's volumes to images (by default in DIR/restore) or a device, and prints "
     "the paths."},
    {"checkpoint", BLX_COMMAND_CHECKPOINT, cli_checkpoint,
     "blxrep dispatcher checkpoint --agent=ID --data-dir=DIR",
     "Takes a checkpoint now, waits until it is durable and prints its timestamp."},
    {"rescan", BLX_COMMAND_RESCAN, cli_rescan, "blxrep dispatcher rescan --agent=ID --data-dir=DIR",
     "Has an agent compare its disks with what is stored, and send what differs."},
    {"status", BLX_COMMAND_STATUS, cli_status,
     "blxrep dispatcher status --data-dir=DIR [--json] [--watch] [--check]",
     "Says whether all agents are protected, and lists them, the worst first."},
    {"verify", BLX_COMMAND_VERIFY, cli_verify,
     "blxrep dispatcher verify --data-dir=DIR [--agent=ID] [--json]",
     "Rechecks every stored byte; names what is damaged and the checkpoints that it hurts."},
    {"prune", BLX_COMMAND_PRUNE, cli_prune,
     "blxrep dispatcher prune --data-dir=DIR [--agent=ID] [--keep-last=N] [--keep-hourly=N] "
     "[--keep-daily=N] [--keep-weekly=N] [--keep-monthly=N] [--keep-yearly=N] [--dry-run] [--json]",
     "Removes the checkpoints that no rule keeps, and says why the others stay."},
    {"pin", BLX_COMMAND_PIN, cli_pin,
     "blxrep dispatcher pin --checkpoint=TIMESTAMP --agent=ID --data-dir=DIR",
     "Keeps a checkpoint from ever being pruned."},
    {"unpin", BLX_COMMAND_UNPIN, cli_unpin,
     "blxrep dispatcher unpin --checkpoint=TIMESTAMP --agent=ID --data-dir=DIR",
     "Takes a checkpoint's pin off."},
    {"policy", BLX_COMMAND_POLICY, cli_policy,
     "blxrep dispatcher policy --agent=ID [--policy-dir=DIR] [--json]",
     "Shows each setting that holds for an agent, and which file and pattern it comes from."},
    {"pause", BLX_COMMAND_PAUSE, cli_pause, "blxrep dispatcher pause --agent=ID --data-dir=DIR",
     "Has no checkpoint taken of an agent and no data sent by it; its changes stay tracked."},
    {"resume", BLX_COMMAND_RESUME, cli_resume, "blxrep dispatcher resume --agent=ID --data-dir=DIR",
     "Has a paused agent go on where it was."},
};

enum {
    COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]),
    BOTH_SIDES = BLX_COMMAND_START | BLX_COMMAND_KEYGEN,
    AGENT_SIDE = BLX_COMMAND_JOIN | BOTH_SIDES, /* the rest is the dispatcher's */
};

void cli_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("blxrep: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

static void print_overview(FILE *out)
{
    fputs("Usage: blxrep [dispatcher|agent] COMMAND [--OPTION=VALUE ...]\n\n"
          "Replicates the disks of Linux servers to one dispatcher and restores any checkpoint.\n\n"
          "Commands:\n",
          out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-12s%s\n", commands[i].name, commands[i].description);
    fputs("\n`blxrep COMMAND --help` lists a command's options. See also blxrep(1).\n", out);
}

static enum blx_exit no_command(const char *word)
{
    if (word == NULL) {
        print_overview(stderr);
        return BLX_EXIT_USAGE;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        print_overview(stdout);
        return BLX_EXIT_OK;
    }
    if (strcmp(word, "--version") == 0) {
        printf("blxrep %s\n", BLX_VERSION);
        return BLX_EXIT_OK;
    }
    cli_note("unknown command '%.80s': `blxrep --help` lists the commands", word);
    return BLX_EXIT_USAGE;
}

static enum blx_exit run(const struct command *command, int argc, char **argv,
                         struct blx_error *err)
{
    BLX_CLEANUP_CONFIG struct blx_config config = {0};
    enum blx_config_result result;
    if (blx_config_load(command->command, argc, argv, &config, &result, err) < 0)
        return BLX_EXIT_USAGE;
    if (result == BLX_CONFIG_HELP) {
        blx_config_print_help(command->command, command->usage, command->description, stdout);
        return BLX_EXIT_OK;
    }
    if (result == BLX_CONFIG_VERSION)
        return no_command("--version");
    if (blx_config_require(command->command, &config, err) < 0)
        return BLX_EXIT_USAGE;
    struct cli_request request = {.config = &config, .argc = argc, .argv = argv};
    return command->run(&request, err);
}

static bool is_of(const struct command *command, const char *side)
{
    if (side == NULL || (command->command & BOTH_SIDES) != 0)
        return true;
    return ((command->command & AGENT_SIDE) != 0) == (strcmp(side, "agent") == 0);
}

/* `side` is the word before the command, which may be left out. */
static const struct command *find(const char *name, const char *side)
{
    for (size_t i = 0; name != NULL && i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0 && is_of(&commands[i], side))
            return &commands[i];
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct blx_error err = {0};
    bool sided = argc > 1 && (strcmp(argv[1], "dispatcher") == 0 || strcmp(argv[1], "agent") == 0);
    int at = sided ? 2 : 1;
    const struct command *command = find(at < argc ? argv[at] : NULL, sided ? argv[1] : NULL);
    enum blx_exit status = command == NULL ? no_command(at < argc ? argv[at] : NULL)
                                           : run(command, argc - at, argv + at, &err);
    if (err.message[0] != '\0')
        cli_note("%s", err.message);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        cli_note("cannot write to the standard output: %m");
        status = BLX_EXIT_FAILED;
    }
    return (int)status;
}
