/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep`: finds the subcommand in one table, reads its options, runs it, prints its error. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/version.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/examples.h"
#include "cli/fetched.h"
#include "cli/screen.h"

struct command {
    const char *name;
    enum blx_command command;
    enum blx_exit (*run)(const struct cli_request *request, struct blx_error *err);
    const char *usage;
    const char *summary;     /* for the list of all commands */
    const char *description; /* for the command's own help */
};

/* blxrep-static is linked with the last of them alone: what a machine needs that has no store and
 * no agent. */
static const struct command commands[] = {
#ifndef BLXREP_STATIC
    {"start", BLX_COMMAND_START, cli_start,
     "blxrep start --mode=dispatcher --data-dir=DIR --sync-freq=N [--listen=HOST:PORT] [--init]\n"
     "       blxrep start --mode=agent --id=ID --dispatcher-addr=HOST:PORT --device=/dev/X "
     "[--device=/dev/Y ...]",
     "start the agent or the dispatcher in the foreground",
     "Becomes blxrep-agent or blxrep-dispatcher and runs in the foreground. SIGTERM ends it."},
    {"check", BLX_COMMAND_CHECK, cli_check,
     "blxrep [dispatcher|agent] check [--config=FILE] [--json] [any option of the daemon]",
     "look for what would keep the agent or the dispatcher from working",
     "Reads the configuration as the daemon does and looks at everything that it needs. Changes "
     "nothing.\nPrints a line for each thing, and fails if one of them keeps the daemon from "
     "working."},
    {"enroll", BLX_COMMAND_ENROLL, cli_enroll,
     "blxrep dispatcher enroll --agent=ID --data-dir=DIR [--init] [--output=FILE]\n"
     "       blxrep dispatcher enroll --agent=ID --data-dir=DIR --token "
     "[--dispatcher-addr=HOST:PORT]\n"
     "       blxrep dispatcher enroll --copier=NAME --data-dir=DIR [--output=FILE]",
     "make credentials for an agent, or a token with which its server joins",
     "Makes an agent's credentials (by default ID.pem in the current folder) and prints the path.\n"
     "With --token it prints a line instead. Run that line on the server within an hour: it works "
     "once.\nWith --copier they are for another dispatcher, which may only read copies."},
    {"join", BLX_COMMAND_JOIN, cli_join,
     "blxrep agent join --dispatcher-addr=HOST:PORT [--token-file=FILE] [--device=/dev/X ...]\n"
     "       [--credentials=FILE] [--force]",
     "make this server an agent",
     "Makes a key for this server and has the dispatcher sign a certificate for it.\n"
     "Without --token-file it asks for the token on the terminal."},
    {"keygen", BLX_COMMAND_KEYGEN, cli_keygen,
     "blxrep keygen [--output=FILE]\n"
     "       blxrep keygen --check=FILE [--data-dir=DIR] [--agent=ID]\n"
     "       blxrep keygen --print=FILE",
     "make a key with which agents encrypt",
     "Makes a key with which agents encrypt (by default blxrep.key in the current folder) and "
     "prints the path.\nLose the key and you lose the checkpoints."},
    {"revoke", BLX_COMMAND_REVOKE, cli_revoke,
     "blxrep dispatcher revoke --agent=ID|--copier=NAME --data-dir=DIR [--token] [--force]",
     "shut an agent out",
     "Shuts an agent out at once. Its checkpoints are kept, and it can join again."},
    {"renew", BLX_COMMAND_RENEW, cli_renew, "blxrep dispatcher renew --data-dir=DIR",
     "give the dispatcher a new key and certificate",
     "Gives the dispatcher a new key and certificate. A dispatcher that runs does so by itself "
     "when "
     "the old one has less than a third of its time left."},
    {"renew-ca", BLX_COMMAND_RENEW_CA, cli_renew_ca, "blxrep dispatcher renew-ca --data-dir=DIR",
     "begin to replace the dispatcher's CA",
     "Makes a successor of the dispatcher's CA. Both are trusted until `retire-ca`, and agents get "
     "the new one when they are connected."},
    {"retire-ca", BLX_COMMAND_RETIRE_CA, cli_retire_ca,
     "blxrep dispatcher retire-ca --data-dir=DIR [--dry-run] [--force]",
     "end the replacement of the dispatcher's CA",
     "Ends what `renew-ca` has begun: the old CA is not trusted any more. Lists the agents that "
     "still need it, and refuses if there are any."},
    {"show", BLX_COMMAND_SHOW, cli_show,
     "blxrep dispatcher show --agent=ID --data-dir=DIR [--start=TIME] "
     "[--end=TIME] [--since=T] [--last=N] [--utc] [--json]",
     "list the checkpoints of an agent",
     "Lists an agent's checkpoints, oldest first. Both --start and --end are included."},
    {"info", BLX_COMMAND_INFO, cli_info,
     "blxrep dispatcher info --checkpoint=TIMESTAMP --agent=ID --data-dir=DIR [--utc] "
     "[--compare=TIMESTAMP [--key=FILE ...]] [--json]",
     "show everything known about one checkpoint",
     "Shows everything that the store knows about one checkpoint. With --compare it shows what "
     "was\n"
     "written between another one and this one: bytes of each partition, and files."},
    {"restore", BLX_COMMAND_RESTORE, cli_restore,
     "blxrep dispatcher restore --checkpoint=TIMESTAMP --agent=ID --data-dir=DIR "
     "[--device=/dev/X] [--output=PATH] [--key=FILE ...] [--delta] [--resume] [--overlay=FILE] "
     "[--incomplete] [--dry-run] "
     "[--force]\n       blxrep dispatcher restore --checkpoint=TIMESTAMP --agent=ID --data-dir=DIR "
     "--token [--takes-over] [--device=/dev/X] [--dispatcher-addr=HOST:PORT]",
     "write a checkpoint to images or to a device",
     "Writes a checkpoint's volumes to images (by default in DIR/restore) or to a device, and "
     "prints the paths.\nWith --token it writes nothing, and prints a line with which another "
     "machine restores."},
    {"mount", BLX_COMMAND_MOUNT, cli_mount,
     "blxrep dispatcher mount --agent=ID --data-dir=DIR [--checkpoint=TIMESTAMP] "
     "[--writable[=FILE]] [--key=FILE ...] [--foreground] [--idle=TIME] MOUNTPOINT",
     "show checkpoints as files",
     "Shows an agent's checkpoints as folders with an image of each disk and of each partition. "
     "Nothing\nis copied, and the store is only read. `umount` or `fusermount3 -u` ends it."},
    {"files", BLX_COMMAND_FILES, cli_files,
     "blxrep dispatcher files --checkpoint=TIMESTAMP --agent=ID --data-dir=DIR [--device=/dev/X] "
     "[--output=DIR|-] [--key=FILE ...] [--kernel | --kernel-dir=DIR] [--force] [--json] [PATH "
     "...]",
     "list files of a checkpoint, or copy them out",
     "Lists files and folders of a checkpoint, or copies them out with --output. The server's own\n"
     "/etc/fstab tells where a path lies. Nothing is restored, and the store is only read."},
    {"copy", BLX_COMMAND_COPY, cli_copy,
     "blxrep dispatcher copy [--data-dir=DIR] [--agent=ID] [--to=FOLDER|URL] "
     "[--bandwidth-limit=RATE] [--json]\n"
     "       blxrep dispatcher copy --from=HOST:PORT [--copier-credentials=FILE] --data-dir=DIR "
     "[--agent=ID]",
     "copy checkpoints into a folder or an object store, or from another dispatcher",
     "Copies the checkpoints that are not there yet into a folder or an object store, from which "
     "they\ncan be restored without this host; or from another dispatcher into a data directory. "
     "An\ninterrupted copy goes on where it was."},
    {"adopt", BLX_COMMAND_ADOPT, cli_adopt,
     "blxrep dispatcher adopt --from=HOST:PORT|FOLDER|URL [--agent=ID] [--checkpoint=TIMESTAMP] "
     "--data-dir=DIR [--json]",
     "take agents from copies into a data directory",
     "Takes agents with all their checkpoints from copies into a data directory, which is made if "
     "it\nis missing. The agents go on with a rescan."},
    {"page", BLX_COMMAND_PAGE, cli_page,
     "blxrep dispatcher page --data-dir=DIR [--page-listen=HOST:PORT] [--role=viewer|operator]",
     "print an address that opens the page to look at",
     "Prints an address that opens the page once, within ten minutes. blxrep-page serves the "
     "page."},
    {"object-store", BLX_COMMAND_OBJECT_STORE, cli_object_store,
     "blxrep dispatcher object-store check [--data-dir=DIR] [--config=FILE] [--json]",
     "try what an object store really keeps",
     "Tries whether copies can be written, read and listed in the object store that the "
     "configuration names, and whether those who have its credentials can delete them."},
    {"boot", BLX_COMMAND_BOOT, cli_boot,
     "blxrep dispatcher boot --agent=ID --checkpoint=TIMESTAMP --data-dir=DIR [--memory=SIZE] "
     "[--cpus=N] [--network=none|user] [--keep=FILE] [--vnc[=HOST:PORT]] [--key=FILE ...] "
     "[--device=/dev/X ...] [--disk-bus=virtio|sata|scsi] [--firmware=auto|bios|uefi]",
     "run a server from a checkpoint",
     "Runs a server from a checkpoint, within seconds, with its console on this terminal. The "
     "store is\nonly read: what the server writes goes elsewhere."},
    {"test", BLX_COMMAND_TEST, cli_test,
     "blxrep dispatcher test --agent=ID --data-dir=DIR [--checkpoint=TIMESTAMP] [--level=1|2] "
     "[--within=TIME] [--expect=REGEX] [--command=COMMAND] [--key=FILE ...] [--memory=SIZE] "
     "[--cpus=N] [--disk-bus=virtio|sata|scsi] [--firmware=auto|bios|uefi] "
     "[--accelerator=auto|kvm|none] [--incomplete] [--json]",
     "test whether a checkpoint is whole and boots",
     "Checks a checkpoint's filesystems, boots it without a network, and looks whether its "
     "services come\nup. What was asked and seen is kept beside the checkpoint."},
    {"checkpoint", BLX_COMMAND_CHECKPOINT, cli_checkpoint,
     "blxrep dispatcher checkpoint --agent=ID --data-dir=DIR", "take a checkpoint now",
     "Takes a checkpoint now, waits until it is durable and prints its timestamp."},
    {"rescan", BLX_COMMAND_RESCAN, cli_rescan, "blxrep dispatcher rescan --agent=ID --data-dir=DIR",
     "compare an agent's disks with the store",
     "Has an agent compare its disks with the store and send every block that differs."},
    {"status", BLX_COMMAND_STATUS, cli_status,
     "blxrep [dispatcher] status --data-dir=DIR [--json] [--watch] [--check]\n"
     "       blxrep [agent] status [--run-dir=DIR] [--json] [--watch] [--check]",
     "show whether all agents, or this server, are protected",
     "Shows whether all agents are protected, and lists them, the worst first. On a protected "
     "server it\nasks the agent there: is this server protected, and which of its disks?"},
    {"verify", BLX_COMMAND_VERIFY, cli_verify,
     "blxrep dispatcher verify --data-dir=DIR [--agent=ID] [--json]", "check every stored byte",
     "Checks every stored byte. Names each damage and the checkpoints that it hurts."},
    {"prune", BLX_COMMAND_PRUNE, cli_prune,
     "blxrep dispatcher prune --data-dir=DIR [--agent=ID] [--keep-last=N] [--keep-hourly=N] "
     "[--keep-daily=N] [--keep-weekly=N] [--keep-monthly=N] [--keep-yearly=N] "
     "[--keep-within=T] [--keep-tested=N] [--min-age=T] [--dry-run] [--confirm] [--json]",
     "remove the checkpoints that no rule keeps",
     "Removes the checkpoints that no rule keeps, and prints why the others are kept."},
    {"remove", BLX_COMMAND_REMOVE, cli_remove,
     "blxrep dispatcher remove --agent=ID --data-dir=DIR [--volume=NAME] [--uncommitted] "
     "[--checkpoint=TIMESTAMP ...] [--dry-run] [--yes]",
     "remove an agent's data for good",
     "Removes all data of an agent, of one of its volumes, or what no checkpoint has. The agent "
     "must "
     "not be connected.\nAsks for the agent's ID again, or wants --yes."},
    {"readmit", BLX_COMMAND_READMIT, cli_readmit,
     "blxrep dispatcher readmit --agent=ID --data-dir=DIR",
     "give an agent's name back to its old machine",
     "Undoes a restore with --takes-over: the agent's old machine is let in again, and the one "
     "that "
     "restored it is refused."},
    {"archive", BLX_COMMAND_ARCHIVE, cli_archive,
     "blxrep dispatcher archive --agent=ID --data-dir=DIR [--undo]",
     "keep an agent's checkpoints and expect no new ones",
     "Retires an agent: its checkpoints stay, no alarm follows, and it may not connect until the "
     "archive is undone."},
    {"rename", BLX_COMMAND_RENAME, cli_rename,
     "blxrep dispatcher rename --agent=ID --to=NAME --data-dir=DIR", "give an agent another name",
     "Gives an agent another name on the dispatcher, with all its checkpoints. Its server keeps "
     "its ID and its certificate, and goes on where it was."},
    {"move", BLX_COMMAND_MOVE, cli_move,
     "blxrep dispatcher move --agent=ID --to=NAME|any --data-dir=DIR [--force]",
     "have another dispatcher serve an agent",
     "Has an agent go to another one of the dispatchers that share the data directory. Its "
     "checkpoints stay where they are, and it resumes there."},
    {"pin", BLX_COMMAND_PIN, cli_pin,
     "blxrep dispatcher pin --checkpoint=TIMESTAMP --agent=ID --data-dir=DIR",
     "keep a checkpoint from being pruned",
     "Keeps a checkpoint from being pruned until it is unpinned."},
    {"unpin", BLX_COMMAND_UNPIN, cli_unpin,
     "blxrep dispatcher unpin --checkpoint=TIMESTAMP --agent=ID --data-dir=DIR",
     "let a pinned checkpoint be pruned again",
     "Removes the pin from a checkpoint, so that it can be pruned again."},
    {"policy", BLX_COMMAND_POLICY, cli_policy,
     "blxrep dispatcher policy --agent=ID [--data-dir=DIR] [--policy-dir=DIR] [--json]",
     "show the settings that hold for an agent",
     "Shows each setting that holds for an agent, and the file and pattern that it comes from: as "
     "the dispatcher\nuses them, or as the files say if none runs. Names what stands in a file and "
     "is not in force."},
    {"log", BLX_COMMAND_LOG, cli_log,
     "blxrep dispatcher log --data-dir=DIR [--agent=ID] [--verify] [--utc] [--json]",
     "show what was done to whose checkpoints",
     "Prints the audit log, oldest first. With --verify it also counts the lines that were changed "
     "or taken out, and fails if there are any."},
    {"test-event", BLX_COMMAND_TEST_EVENT, cli_test_event,
     "blxrep dispatcher test-event --data-dir=DIR [--on-event=COMMAND]",
     "run the on-event command with an example",
     "Runs the on-event command once, as the dispatcher's user and with an example event, and "
     "shows "
     "what\nit says and how it ends."},
    {"pause", BLX_COMMAND_PAUSE, cli_pause, "blxrep dispatcher pause --agent=ID --data-dir=DIR",
     "pause the checkpoints and the data of an agent",
     "Takes no checkpoint of an agent and has it send no data. Its changes stay tracked."},
    {"resume", BLX_COMMAND_RESUME, cli_resume, "blxrep dispatcher resume --agent=ID --data-dir=DIR",
     "let a paused agent continue",
     "Lets a paused agent continue from the point where it stopped."},
    {"rescue-image", BLX_COMMAND_RESCUE_IMAGE, cli_rescue_image,
     "blxrep dispatcher rescue-image --output=rescue.iso [--pxe=DIR] "
     "[--dispatcher-addr=HOST:PORT] [--kernel-package=NAME | --kernel-dir=DIR]",
     "make a system that restores a machine without one",
     "Makes a small system that boots from a CD, a USB stick or the network, asks for a token and "
     "restores a server's disk. With --dispatcher-addr it knows where to restore from."},
    {"save", BLX_COMMAND_SAVE, cli_reboot,
     "blxrep agent save [--shutdown=reboot] [--save-file=FILE] [--run-dir=DIR] [--config=FILE]",
     "keep the tracking over a reboot: at the end of a shutdown",
     "Saves which blocks are to be sent, when every filesystem is read-only at the end of a "
     "shutdown.\nThe package runs it there: it is of no use at another time."},
    {"arm", BLX_COMMAND_ARM, cli_reboot,
     "blxrep agent arm [--save-file=FILE] [--run-dir=DIR] [--config=FILE]",
     "keep the tracking over a reboot: at the beginning of a boot",
     "Attaches the tracking before anything is writable, and goes on with what `save` has saved if "
     "nobody\ncan have written meanwhile. The package's unit runs it at each boot. Makes the file "
     "if it is missing."},
#endif
    {"restore", BLX_COMMAND_PULL, cli_pull,
     "blxrep agent restore --dispatcher-addr=HOST:PORT --token-file=FILE|- --output=/dev/X "
     "[--device=/dev/X]\n       [--key=FILE ...] [--delta] [--files] [--resume] [--verify] "
     "[--state-dir=DIR] "
     "[--force] "
     "[PATH ...]",
     "write this machine's disks with a checkpoint, over the network",
     "Restores what `blxrep dispatcher restore --token` has allowed: pulls it from the dispatcher, "
     "checks it,\nand writes it to --output. The same line again goes on where it was."},
    {"takeover", BLX_COMMAND_TAKEOVER, cli_takeover,
     "blxrep agent takeover --rescue=DIR [--dispatcher-addr=HOST:PORT] [--token-file=FILE] "
     "[--output=/dev/X] [--dry-run] [--yes]",
     "start the rescue system in place of the one that runs",
     "Starts the rescue system by kexec, with this machine's network settings. Nothing that runs "
     "on this machine survives that; its disks are not written before the rescue system does."},
    {"disks", BLX_COMMAND_DISKS, cli_disks, "blxrep agent disks",
     "list this machine's disks and what they hold",
     "Lists this machine's disks and partitions with their size, model, serial number and content. "
     "Changes nothing."},
    {"move-gpt", BLX_COMMAND_MOVE_GPT, cli_move_gpt, "blxrep agent move-gpt --output=/dev/X",
     "move the second copy of a GPT to the end of a larger disk",
     "Moves the second copy of a disk's GPT to the disk's end, after a restore to a larger disk. "
     "Partitions stay as they are."},
};

enum {
    COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]),
    BOTH_SIDES = BLX_COMMAND_START | BLX_COMMAND_KEYGEN | BLX_COMMAND_CHECK | BLX_COMMAND_STATUS,
    /* The others are for the dispatcher. */
    AGENT_SIDE = BLX_COMMAND_JOIN | BLX_COMMAND_PULL | BLX_COMMAND_TAKEOVER | BLX_COMMAND_DISKS |
                 BLX_COMMAND_MOVE_GPT | BLX_COMMAND_SAVE | BLX_COMMAND_ARM | BOTH_SIDES,
};

static void print_overview(FILE *out)
{
    fputs("Usage: blxrep [dispatcher|agent] COMMAND [--OPTION=VALUE ...]\n\n"
          "Replicates the disks of Linux servers to one dispatcher and restores any checkpoint.\n\n"
          "Commands:\n",
          out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-12s%s\n", commands[i].name, commands[i].summary);
    fputs("\n`blxrep help COMMAND` lists the options of a command. See also blxrep(1).\n", out);
}

/* The first word is no command: it may ask for help or the version. */
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
    struct blx_guess guess = {.name = word};
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        blx_guess_consider(&guess, commands[i].name);
    if (guess.nearest != NULL)
        cli_note("unknown command '%.80s': did you mean `blxrep %s`?", word, guess.nearest);
    else
        cli_note("unknown command '%.80s': `blxrep --help` lists the commands", word);
    return BLX_EXIT_USAGE;
}

static struct blx_help help_of(const struct command *command)
{
    return (struct blx_help){.usage = command->usage,
                             .description = command->description,
                             .examples = cli_examples_of(command->command),
                             .width = cli_screen_width(STDOUT_FILENO)};
}

static enum blx_exit run(const struct command *command, const char *side, int argc, char **argv,
                         struct blx_error *err)
{
    const struct blx_config_program program = {
        .name = "blxrep", .command = command->command, .help = help_of(command)};
    BLX_CLEANUP_CONFIG struct blx_config config = {0};
    enum blx_config_result result;
    if (blx_config_begin(&program, argc, argv, stdout, &config, &result, err) < 0)
        return BLX_EXIT_USAGE;
    if (result != BLX_CONFIG_RUN)
        return BLX_EXIT_OK;
    struct cli_request request = {.config = &config, .argc = argc, .argv = argv, .side = side};
#ifndef BLXREP_STATIC
    BLX_CLEANUP(cli_fetched_done) struct cli_fetched fetched = {.life_fd = -1};
    int rc = cli_fetch_copies(command->command, &config, argc, argv, &fetched, err);
    if (rc < 0)
        return rc == -EINVAL ? BLX_EXIT_USAGE : BLX_EXIT_FAILED;
    if (fetched.argv != NULL) {
        request.argc = fetched.argc;
        request.argv = fetched.argv;
    }
#endif
    return command->run(&request, err);
}

static bool is_of(const struct command *command, const char *side)
{
    if (side == NULL || (command->command & BOTH_SIDES) != 0)
        return true;
    return ((command->command & AGENT_SIDE) != 0) == (strcmp(side, "agent") == 0);
}

/* `side` is the optional word before the command, "dispatcher" or "agent"; or NULL. */
static const struct command *find(const char *name, const char *side)
{
    for (size_t i = 0; name != NULL && i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0 && is_of(&commands[i], side))
            return &commands[i];
    }
    return NULL;
}

/* The optional word before a command. */
static bool is_side(const char *word)
{
    return strcmp(word, "dispatcher") == 0 || strcmp(word, "agent") == 0;
}

/* `words` are those after "help"; the last one names a command. NULL ends them. */
static enum blx_exit help(char **words)
{
    const char *name = words[0] != NULL && words[1] != NULL ? words[1] : words[0];
    const struct command *command = find(name, NULL);
    if (name == NULL || is_side(name))
        return no_command("--help");
    if (command == NULL)
        return no_command(name);
    const struct blx_help shown = help_of(command);
    blx_config_print_help(command->command, &shown, stdout);
    return BLX_EXIT_OK;
}

int main(int argc, char **argv)
{
    struct blx_error err = {0};
    bool sided = argc > 1 && is_side(argv[1]);
    int at = sided ? 2 : 1;
    const struct command *command = find(at < argc ? argv[at] : NULL, sided ? argv[1] : NULL);
    bool asked = at < argc && strcmp(argv[at], "help") == 0;
    enum blx_exit status = asked ? help(argv + at + 1)
                           : command == NULL
                               ? no_command(at < argc ? argv[at] : NULL)
                               : run(command, sided ? argv[1] : NULL, argc - at, argv + at, &err);
    if (err.message[0] != '\0')
        cli_note("%s", err.message);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        cli_note("cannot write to the standard output: %m");
        status = BLX_EXIT_FAILED;
    }
    return (int)status;
}
