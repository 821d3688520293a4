/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blxrep-test: tests a checkpoint, and leaves a record of it. `blxrep dispatcher test` becomes it.
 *
 *     look ──► filesystems (caged) ──good, level 2──► plant a unit ──► boot, watch ──► record
 *                     │                                   │                │
 *                     └───── read ◄── keeper (store, keys) ◄── written over it, nbdkit ◄── QEMU
 *
 * The store is only read, but for the record. All processes end with this one, and what was written
 * over the checkpoint lies in a file without a name.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/json.h"
#include "base/nbdkit_plugin.h"
#include "base/text.h"
#include "base/units.h"
#include "boot/checkpoint.h"
#include "config/config.h"
#include "files/blocks.h"
#include "files/keeper.h"
#include "proof/filesystems.h"
#include "proof/plant.h"
#include "proof/watch.h"
#include "store/checkpoint/tested.h"
#include "store/owner.h"
#include "store/store.h"
#include "store/view/overlay.h"

static const char usage[] =
    "blxrep dispatcher test --agent=ID --data-dir=DIR [--checkpoint=TIMESTAMP] [--level=1|2]\n"
    "       [--within=TIME] [--expect=REGEX] [--command=COMMAND] [--key=FILE ...] [--memory=SIZE]\n"
    "       [--cpus=N] [--disk-bus=virtio|sata|scsi] [--firmware=auto|bios|uefi]\n"
    "       [--accelerator=auto|kvm|none] [--incomplete] [--json]";
static const char description[] =
    "Tests a checkpoint: checks its filesystems, boots it without a network, and looks whether "
    "its\n"
    "services come up. What was asked and seen is kept beside the checkpoint. Nothing else is "
    "written\nto the store.";

enum { CHECK_MS = 60 * 60 * 1000, SCREEN_SHOWN = 12 };

struct job {
    const struct blx_config *config;
    struct boot_checkpoint checkpoint;
    char digits[BLX_TIMESTAMP_TEXT_BYTES];
    char data_dir[PATH_MAX], plugin[PATH_MAX], title[BLX_NAME_BYTES + 32];
    const char *names[BOOT_MAX_DISKS];
    int wake_fd, overlay_fd;
    pid_t keeper;                /* 0: none */
    struct files_source *blocks; /* owned */
    int blocks_fd;
    struct files_disk *disks; /* owned */
    size_t disk_count;
    struct proof_plant plant;
    struct blx_tested tested;
};

static volatile sig_atomic_t never_stopped; /* signals come by a descriptor */

static void note(void *arg, const char *text)
{
    (void)arg;
    fprintf(stderr, "blxrep: %s\n", text);
}

static void end_keeper(struct job *job)
{
    blx_cleanup_fd(&job->blocks_fd);
    while (job->keeper > 0 && waitpid(job->keeper, NULL, 0) < 0 && errno == EINTR)
        ;
    job->keeper = 0;
}

static void job_done(struct job *job)
{
    end_keeper(job);
    free(job->blocks);
    free(job->disks);
    blx_cleanup_fd(&job->overlay_fd);
    blx_cleanup_fd(&job->wake_fd);
}

static int take_signals(struct job *job, struct blx_error *err)
{
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &ours, NULL) == 0)
        job->wake_fd = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
    return job->wake_fd < 0 ? blx_error_errno(err, -errno, "cannot take signals") : 0;
}

static void fail(struct job *job, enum blx_test_check check, const char *reason)
{
    job->tested.results[check] = BLX_TEST_BAD;
    if (job->tested.reason[0] == '\0')
        blx_text_set(job->tested.reason, reason);
}

/* What the store itself tells of a checkpoint is a verdict if it is about the checkpoint. */
static int look(struct job *job, struct blx_error *err)
{
    const struct blx_config *config = job->config;
    struct blx_error cause = {0};
    const struct boot_checkpoint_request request = {
        .data_dir = job->data_dir,
        .agent = config->agent,
        .checkpoint = config->checkpoint != NULL ? config->checkpoint : "latest",
        .keys = (const char *const *)config->keys,
        .key_count = config->key_count,
        .completeness = config->incomplete ? BOOT_INCOMPLETE : BOOT_COMPLETE};
    int rc = boot_checkpoint_look(&request, &job->checkpoint, &cause);
    job->tested.checkpoint = job->checkpoint.timestamp;
    blx_timestamp_format(job->checkpoint.timestamp, job->digits);
    bool boots = job->tested.level == BLX_TEST_LEVEL_BOOT;
    if (rc == -EBADMSG && job->checkpoint.timestamp != 0) {
        fail(job, BLX_TEST_FILESYSTEM, cause.message);
        return 0;
    }
    if (rc == -ENODATA || (rc == -ENOEXEC && boots)) {
        fail(job, BLX_TEST_BOOT, cause.message);
        return 0;
    }
    return rc < 0 && rc != -ENOEXEC ? blx_error_copy(err, rc, &cause) : 0;
}

/* The keeper may write to the overlay; nbdkit has it afterwards. */
static int start_keeper(struct job *job, struct blx_error *err)
{
    int sockets[2] = {-1, -1};
    BLX_CLEANUP_FD int ready_fd = -1;
    struct blx_config config = *job->config; /* the checkpoint that "latest" was, from now on */
    config.checkpoint = job->digits;
    config.data_dir = job->data_dir;
    config.device_count = 0;
    job->overlay_fd = blx_overlay_open_nameless(err);
    if (job->overlay_fd < 0)
        return job->overlay_fd;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
        return blx_error_errno(err, -errno, "cannot start the keeper of the store");
    job->blocks_fd = sockets[0];
    int rc = files_keeper_start(&(struct files_keeper_start){.config = &config,
                                                             .blocks_fd = sockets[1],
                                                             .overlay_fd = job->overlay_fd,
                                                             .closed_fd = sockets[0]},
                                &job->keeper, &ready_fd, err);
    close(sockets[1]);
    if (rc == 0)
        rc = files_keeper_await(ready_fd, &never_stopped, err);
    if (rc < 0)
        return rc;
    job->blocks = files_blocks_new(job->blocks_fd);
    if (job->blocks == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read the checkpoint");
    return job->blocks->kind->list(job->blocks, &job->disks, &job->disk_count, err);
}

static int check_filesystems(struct job *job, const struct proof_bench *bench,
                             struct blx_error *err)
{
    struct proof_findings findings;
    int rc = proof_filesystems_check(bench, &findings, err);
    if (rc < 0)
        return rc;
    blx_text_set(job->tested.seen, findings.seen);
    if (findings.damaged > 0)
        fail(job, BLX_TEST_FILESYSTEM, findings.reason);
    else if (findings.clean > 0)
        job->tested.results[BLX_TEST_FILESYSTEM] = BLX_TEST_GOOD;
    else if (job->tested.level == BLX_TEST_LEVEL_FILESYSTEM)
        fail(job, BLX_TEST_FILESYSTEM, "there is no filesystem that can be checked");
    return 0;
}

static enum boot_firmware choose_firmware(const struct job *job)
{
    switch (job->config->firmware) {
    case BLX_BOOT_BIOS:
        return BOOT_FIRMWARE_BIOS;
    case BLX_BOOT_UEFI:
        return BOOT_FIRMWARE_UEFI;
    default:
        return boot_firmware_of(job->checkpoint.disks[job->checkpoint.first].loaders);
    }
}

static int boot(struct job *job, struct blx_error *err)
{
    const struct blx_config *config = job->config;
    snprintf(job->title, sizeof(job->title), "blxrep-test-%s", config->agent);
    for (size_t i = 0; i < job->checkpoint.count; i++)
        job->names[i] = job->checkpoint.disks[i].name;
    const struct proof_watch watch = {.guest = {.hardware = {.name = job->title,
                                                             .firmware = choose_firmware(job),
                                                             .memory_bytes = config->memory_bytes,
                                                             .cpus = (unsigned)config->cpus,
                                                             .bus = config->disk_bus,
                                                             .network = BLX_BOOT_NO_NETWORK,
                                                             .disks = job->names,
                                                             .disk_count = job->checkpoint.count,
                                                             .boot_disk = job->checkpoint.first},
                                                .accelerator = config->accelerator,
                                                .disks = {.plugin = job->plugin,
                                                          .data_dir = job->data_dir,
                                                          .agent = config->agent,
                                                          .checkpoint = job->checkpoint.timestamp,
                                                          .keys = (const char *const *)config->keys,
                                                          .key_count = config->key_count,
                                                          .overlay_fd = job->overlay_fd},
                                                .tell = note},
                                      .plant = &job->plant,
                                      .wake_fd = job->wake_fd};
    return proof_watch(&watch, &job->tested, err);
}

static bool is_bad(const struct job *job)
{
    return job->tested.reason[0] != '\0';
}

static int plant(struct job *job, const struct proof_bench *bench, struct blx_error *err)
{
    const char *command = job->tested.command;
    int rc = proof_plant(bench, command, &job->plant, err);
    if (rc == 0 && command[0] != '\0' && !job->plant.planted)
        rc = blx_error_set(err, -EOPNOTSUPP,
                           "the command cannot be run in '%s': %s; leave out --command",
                           job->config->agent, job->plant.why);
    return rc;
}

/* Each step only if nothing is bad so far. */
static int test(struct job *job, struct blx_error *err)
{
    bool boots = job->tested.level == BLX_TEST_LEVEL_BOOT;
    int rc = look(job, err);
    if (rc < 0 || is_bad(job))
        return rc;
    rc = start_keeper(job, err);
    const struct proof_bench bench = {.blocks = job->blocks,
                                      .disks = job->disks,
                                      .disk_count = job->disk_count,
                                      .wake_fd = job->wake_fd,
                                      .deadline_ns = blx_deadline_in_ms(CHECK_MS)};
    if (rc == 0)
        rc = check_filesystems(job, &bench, err);
    if (rc == 0 && boots && !is_bad(job))
        rc = plant(job, &bench, err);
    end_keeper(job);
    return rc == 0 && boots && !is_bad(job) ? boot(job, err) : rc;
}

static int record(struct job *job, struct blx_error *err)
{
    enum blx_owner owner = BLX_OWNER_KEPT;
    BLX_CLEANUP(blx_store_close) struct blx_store store = {.lock_fd = -1};
    int rc = blx_owner_visit(job->data_dir, &owner, err);
    if (rc == 0)
        rc = blx_store_open(job->data_dir, BLX_STORE_READ, &store, err);
    if (rc == 0)
        rc = blx_tested_write(blx_store_agent(&store, job->config->agent), &job->tested, err);
    int left = blx_owner_leave(owner, err);
    return rc < 0 ? rc : left;
}

static void print_text(const struct blx_tested *tested)
{
    char took[BLX_UNIT_TEXT_BYTES], booted[BLX_UNIT_TEXT_BYTES];
    if (blx_tested_is_good(tested))
        printf("%" PRIu64 " passed: %s", tested->checkpoint, blx_tested_verdict(tested));
    else
        printf("%" PRIu64 " failed: %s", tested->checkpoint, tested->reason);
    if (tested->booted_ms > 0)
        printf("; booted in %s (%s)", blx_duration_format(tested->booted_ms, booted),
               blx_test_machine_name(tested->machine));
    printf("; tested in %s\n", blx_duration_format(tested->took_ms, took));
    if (tested->seen[0] != '\0')
        printf("seen: %s\n", tested->seen);
    if (!blx_tested_is_good(tested) && tested->screen[0] != '\0')
        fprintf(stderr, "its console at the end:\n%s\n", tested->screen);
}

static void print(const struct job *job)
{
    struct blx_json json = {.out = stdout};
    if (job->config->json)
        blx_tested_print_json(&json, NULL, &job->tested);
    else
        print_text(&job->tested);
}

static int prepare(struct job *job, struct blx_error *err)
{
    const struct blx_config *config = job->config;
    job->tested.level = (enum blx_test_level)config->level;
    job->tested.within_ms = config->within_ms;
    blx_text_set(job->tested.expect, config->expect != NULL ? config->expect : "");
    blx_text_set(job->tested.command, config->test_command != NULL ? config->test_command : "");
    job->tested.begun_realtime_ns = blx_clock_realtime_ns();
    if (realpath(config->data_dir, job->data_dir) == NULL)
        return blx_error_errno(err, -errno, "cannot find '%s'", config->data_dir);
    int rc = blx_nbdkit_plugin_find(job->plugin, err);
    return rc == 0 ? take_signals(job, err) : rc;
}

/* -EINVAL is a usage error. */
static int check_request(const struct blx_config *config, struct blx_error *err)
{
    const struct blx_tested *limits = NULL;
    bool boots = config->level == BLX_TEST_LEVEL_BOOT;
    if (!boots && (config->expect != NULL || config->test_command != NULL))
        return blx_error_set(err, -EINVAL,
                             "--level=1 boots nothing: leave out --expect and --command");
    if (config->expect != NULL && strlen(config->expect) >= sizeof(limits->expect))
        return blx_error_set(err, -EINVAL, "--expect has more than %zu bytes",
                             sizeof(limits->expect) - 1);
    if (config->test_command != NULL && strlen(config->test_command) >= sizeof(limits->command))
        return blx_error_set(err, -EINVAL,
                             "--command has more than %zu bytes: put it into a script on the "
                             "server",
                             sizeof(limits->command) - 1);
    return 0;
}

static enum blx_exit run(const struct blx_config *config)
{
    struct job job = {.config = config, .wake_fd = -1, .overlay_fd = -1, .blocks_fd = -1};
    struct blx_error err = {0};
    const uint64_t begun_ns = blx_clock_ns();
    blx_raise_file_limit(); /* a chain has many segments */
    int rc = prepare(&job, &err);
    if (rc == 0)
        rc = test(&job, &err);
    job.tested.took_ms = blx_ns_to_ms_up(blx_clock_ns() - begun_ns);
    if (rc == 0)
        rc = record(&job, &err);
    if (rc == 0)
        print(&job);
    else if (job.checkpoint.timestamp != 0)
        fprintf(stderr, "blxrep: %s of '%s' was not tested: %s\n", job.digits, config->agent,
                err.message);
    else
        note(NULL, err.message);
    job_done(&job);
    return rc == 0 && blx_tested_is_good(&job.tested) ? BLX_EXIT_OK : BLX_EXIT_FAILED;
}

int main(int argc, char **argv)
{
    static const struct blx_config_program program = {
        .name = "blxrep-test",
        .command = BLX_COMMAND_TEST,
        .help = {.usage = usage, .description = description}};
    BLX_CLEANUP_CONFIG struct blx_config config = {0};
    struct blx_error err = {0};
    enum blx_config_result result;
    int rc = blx_config_begin(&program, argc, argv, stdout, &config, &result, &err);
    if (rc == 0 && result != BLX_CONFIG_RUN)
        return BLX_EXIT_OK;
    if (rc == 0)
        rc = check_request(&config, &err);
    if (rc < 0) {
        note(NULL, err.message);
        return BLX_EXIT_USAGE;
    }
    return (int)run(&config);
}
