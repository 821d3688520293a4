/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blxrep-boot: runs a server from a checkpoint. `blxrep dispatcher boot` becomes it.
 *
 *     standard input ──► console of the guest ──► standard output       remarks: standard error
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/nbdkit_plugin.h"
#include "base/units.h"
#include "boot/checkpoint.h"
#include "boot/guest.h"
#include "boot/terminal.h"
#include "config/config.h"

static const char usage[] =
    "blxrep dispatcher boot --agent=ID --checkpoint=TIMESTAMP --data-dir=DIR [--memory=SIZE]\n"
    "       [--cpus=N] [--network=none|user] [--keep=FILE] [--vnc[=HOST:PORT]] [--key=FILE ...]\n"
    "       [--device=/dev/X ...] [--disk-bus=virtio|sata|scsi] [--firmware=auto|bios|uefi]";
static const char description[] =
    "Runs a server from a checkpoint, within seconds, with its console on this terminal. The store "
    "is\nonly read: what the server writes goes elsewhere.";

enum { LOADER_LINES = 8, TYPED_BYTES = 4096, TYPE_AGAIN_MS = 50 };

struct job {
    const struct blx_config *config;
    struct boot_checkpoint checkpoint;
    const char *names[BOOT_MAX_DISKS];
    char data_dir[PATH_MAX], plugin[PATH_MAX], keep[PATH_MAX];
    char title[BLX_NAME_BYTES + 32];
    struct boot_guest *guest;
    struct boot_terminal terminal;
    int signal_fd;
    int wake_fd; /* an epoll of the signals and of what is typed */
    bool hears;  /* somebody may still type */
    enum boot_firmware firmware;
    enum { UNTOLD, TOLD } loader; /* whether the firmware found none */
    size_t typed;                 /* bytes that the guest has not taken yet */
    char keys[TYPED_BYTES];
    enum { GOES_ON, QUITS } wish;
};

/* A terminal that is the guest's does not return by itself at the end of a line. */
static void note(void *arg, const char *text)
{
    const struct job *job = arg;
    const char *back = job != NULL && job->terminal.keeper != 0 ? "\r" : "";
    fprintf(stderr, "%sblxrep: %s%s\n", back, text, back);
}

static void job_done(struct job *job)
{
    boot_guest_free(job->guest);
    boot_terminal_leave(&job->terminal);
    blx_cleanup_fd(&job->wake_fd);
    blx_cleanup_fd(&job->signal_fd);
}

/* Paths that nbdkit, which leaves the folder, can use. A file that is made has no real path yet. */
static int find_paths(struct job *job, struct blx_error *err)
{
    const struct blx_config *config = job->config;
    char folder[PATH_MAX] = "";
    if (realpath(config->data_dir, job->data_dir) == NULL)
        return blx_error_errno(err, -errno, "cannot find '%s'", config->data_dir);
    if (config->kept != NULL && config->kept[0] != '/' && getcwd(folder, sizeof(folder)) == NULL)
        return blx_error_errno(err, -errno, "cannot tell the folder of '%s'", config->kept);
    int rc = blx_nbdkit_plugin_find(job->plugin, err);
    if (rc == 0 && config->kept != NULL)
        rc = blx_path_format(job->keep, sizeof(job->keep), err, "%s%s%s", folder,
                             folder[0] != '\0' ? "/" : "", config->kept);
    return rc;
}

static int look_at_checkpoint(struct job *job, struct blx_error *err)
{
    const struct blx_config *config = job->config;
    const struct boot_checkpoint_request request = {
        .data_dir = job->data_dir,
        .agent = config->agent,
        .checkpoint = config->checkpoint,
        .keys = (const char *const *)config->keys,
        .key_count = config->key_count,
        .devices = (const char *const *)config->devices,
        .device_count = config->device_count,
        .completeness = config->incomplete ? BOOT_INCOMPLETE : BOOT_COMPLETE};
    return boot_checkpoint_look(&request, &job->checkpoint, err);
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

static struct boot_hardware describe_hardware(struct job *job)
{
    const struct blx_config *config = job->config;
    snprintf(job->title, sizeof(job->title), "blxrep-%s", config->agent);
    for (size_t i = 0; i < job->checkpoint.count; i++)
        job->names[i] = job->checkpoint.disks[i].name;
    return (struct boot_hardware){.name = job->title,
                                  .firmware = choose_firmware(job),
                                  .memory_bytes = config->memory_bytes,
                                  .cpus = (unsigned)config->cpus,
                                  .bus = config->disk_bus,
                                  .network = config->network,
                                  .vnc = config->vnc == NULL      ? NULL
                                         : config->vnc[0] == '\0' ? "127.0.0.1:5900"
                                                                  : config->vnc,
                                  .disks = job->names,
                                  .disk_count = job->checkpoint.count,
                                  .boot_disk = job->checkpoint.first};
}

static void tell_what(struct job *job, const struct boot_hardware *hardware)
{
    char text[256], size[BLX_UNIT_TEXT_BYTES];
    snprintf(text, sizeof(text),
             "booting the checkpoint %" PRIu64 " of '%s' from %s by %s, with %s of memory",
             job->checkpoint.timestamp, job->config->agent,
             job->checkpoint.disks[job->checkpoint.first].device,
             hardware->firmware == BOOT_FIRMWARE_UEFI ? "UEFI" : "BIOS",
             blx_size_format(hardware->memory_bytes, size));
    note(job, text);
    if (job->terminal.is_terminal)
        note(job, "Ctrl-] and then q cuts its power, p presses its power button; all other keys "
                  "are the server's");
}

static int start(struct job *job, struct blx_error *err)
{
    const struct blx_config *config = job->config;
    struct boot_guest_config guest = {.hardware = describe_hardware(job),
                                      .accelerator = config->accelerator,
                                      .disks = {.plugin = job->plugin,
                                                .data_dir = job->data_dir,
                                                .agent = config->agent,
                                                .checkpoint = job->checkpoint.timestamp,
                                                .keys = (const char *const *)config->keys,
                                                .key_count = config->key_count,
                                                .overlay = job->keep},
                                      .tell = note,
                                      .arg = job};
    char address[160], text[256];
    int rc = boot_terminal_enter(&job->terminal, err);
    if (rc < 0)
        return rc;
    tell_what(job, &guest.hardware);
    job->firmware = guest.hardware.firmware;
    rc = boot_guest_start(&guest, &job->guest, err);
    if (rc == 0 && guest.hardware.vnc != NULL &&
        boot_guest_screen(job->guest, address, sizeof(address))) {
        snprintf(text, sizeof(text), "its screen is at %s, by VNC", address);
        note(job, text);
    }
    return rc;
}

/* Signals come by a descriptor, from now on. */
static int take_signals(struct job *job, struct blx_error *err)
{
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGHUP);
    sigaddset(&ours, SIGQUIT);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &ours, NULL) != 0)
        return blx_error_errno(err, -errno, "cannot take signals");
    job->signal_fd = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
    job->wake_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = job->signal_fd};
    if (job->signal_fd < 0 || job->wake_fd < 0 ||
        epoll_ctl(job->wake_fd, EPOLL_CTL_ADD, job->signal_fd, &event) != 0)
        return blx_error_errno(err, -errno, "cannot take signals");
    return 0;
}

/* A file as standard input cannot be polled, and is always readable. */
static void listen_to_keys(struct job *job, int how)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = STDIN_FILENO};
    job->hears = epoll_ctl(job->wake_fd, how, STDIN_FILENO, &event) == 0 && how == EPOLL_CTL_ADD;
}

static void say_all(const struct boot_step *step)
{
    size_t put = 0;
    while (put < step->said_bytes) {
        ssize_t written = write(STDOUT_FILENO, step->said + put, step->said_bytes - put);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0 && errno == EAGAIN) {
            struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
            poll(&out, 1, -1);
            continue;
        }
        if (written < 0)
            return; /* nobody listens */
        put += (size_t)written;
    }
}

static void obey(struct job *job, enum boot_key key)
{
    switch (key) {
    case BOOT_KEY_NONE:
        break;
    case BOOT_KEY_QUIT:
        job->wish = QUITS;
        break;
    case BOOT_KEY_POWER:
        boot_guest_press_power(job->guest);
        break;
    case BOOT_KEY_HELP:
        note(job, "Ctrl-] and then q cuts the power, p presses the power button, Ctrl-] is "
                  "Ctrl-] itself");
        break;
    }
}

/* As much as the guest takes. While it takes nothing nothing more is read. */
static void type(struct job *job)
{
    size_t taken = boot_guest_type(job->guest, job->keys, job->typed);
    memmove(job->keys, job->keys + taken, job->typed - taken);
    job->typed -= taken;
    if (job->typed > 0 && job->hears)
        listen_to_keys(job, EPOLL_CTL_DEL);
    else if (job->typed == 0 && !job->hears)
        listen_to_keys(job, EPOLL_CTL_ADD);
}

static void hear_keys(struct job *job)
{
    ssize_t got = read(STDIN_FILENO, job->keys, sizeof(job->keys));
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (got <= 0) {
        listen_to_keys(job, EPOLL_CTL_DEL);
        return;
    }
    job->typed = (size_t)got;
    obey(job, boot_terminal_sort(&job->terminal, job->keys, &job->typed));
    type(job);
}

static void wake(struct job *job)
{
    struct epoll_event events[2];
    struct signalfd_siginfo info;
    int count = epoll_wait(job->wake_fd, events, 2, 0);
    for (int i = 0; i < count; i++)
        if (events[i].data.fd == STDIN_FILENO && job->hears)
            hear_keys(job);
    if (read(job->signal_fd, &info, sizeof(info)) == sizeof(info))
        job->wish = QUITS;
}

/* The list of boot loaders was in the server's own firmware, and is in no checkpoint. What the
 * firmware says then depends on whether it has a shell. */
static void tell_loader(struct job *job)
{
    const char *tail = boot_guest_tail(job->guest, LOADER_LINES);
    if (job->firmware != BOOT_FIRMWARE_UEFI || job->loader == TOLD ||
        (strstr(tail, "UEFI Interactive Shell") == NULL &&
         strstr(tail, "No bootable option") == NULL))
        return;
    job->loader = TOLD;
    note(job,
         "UEFI finds no boot loader: the disk has no \\EFI\\BOOT\\BOOTX64.EFI, and the server's "
         "list of others was in its firmware. Type the path of one in the shell, such as "
         "fs0:\\EFI\\debian\\grubx64.efi, or choose the file in the firmware's menu (Boot "
         "Maintenance Manager, Boot From File)");
}

static int follow(struct job *job, struct blx_error *err)
{
    struct boot_step step = {.event = BOOT_EVENT_TIME};
    int rc = 0;
    listen_to_keys(job, EPOLL_CTL_ADD);
    while (rc == 0 && step.event != BOOT_EVENT_ENDED && job->wish == GOES_ON) {
        uint64_t deadline_ns = job->typed > 0 ? blx_deadline_in_ms(TYPE_AGAIN_MS) : BLX_FOR_EVER;
        rc = boot_guest_step(job->guest, job->wake_fd, deadline_ns, &step, err);
        say_all(&step);
        if (rc == 0 && step.event == BOOT_EVENT_SAID)
            tell_loader(job);
        if (rc == 0 && step.event == BOOT_EVENT_WOKEN)
            wake(job);
        if (job->typed > 0)
            type(job);
    }
    return rc;
}

/* What was written is durable before that is said. */
static int keep_changes(const struct job *job, struct blx_error *err)
{
    BLX_CLEANUP_FD int fd = blx_open(job->keep, O_RDONLY, 0, err);
    if (fd < 0)
        return fd;
    if (fsync(fd) != 0)
        return blx_error_errno(err, -errno, "cannot make '%s' durable", job->keep);
    return blx_fsync_parent(job->keep, err);
}

static int sum_up(struct job *job, struct blx_error *err)
{
    char text[2 * PATH_MAX + 512];
    const char *how = job->wish == QUITS ? "the server's power is cut" : "the server is off";
    boot_guest_free(job->guest);
    job->guest = NULL;
    boot_terminal_leave(&job->terminal);
    if (job->config->kept == NULL) {
        snprintf(text, sizeof(text), "%s, and what it wrote is forgotten", how);
        note(NULL, text);
        return 0;
    }
    int rc = keep_changes(job, err);
    if (rc < 0)
        return rc;
    snprintf(text, sizeof(text),
             "%s; what it wrote is in '%s': `blxrep dispatcher restore --agent=%s "
             "--checkpoint=%" PRIu64 " --overlay='%s' --output=...` makes a disk of both",
             how, job->keep, job->config->agent, job->checkpoint.timestamp, job->keep);
    note(NULL, text);
    return 0;
}

static int run(struct job *job, struct blx_error *err)
{
    int rc = find_paths(job, err);
    if (rc == 0)
        rc = look_at_checkpoint(job, err);
    if (rc == 0)
        rc = take_signals(job, err);
    if (rc == 0)
        rc = start(job, err);
    if (rc == 0)
        rc = follow(job, err);
    if (rc == 0)
        rc = sum_up(job, err);
    return rc;
}

int main(int argc, char **argv)
{
    static const struct blx_config_program program = {
        .name = "blxrep-boot",
        .command = BLX_COMMAND_BOOT,
        .help = {.usage = usage, .description = description}};
    BLX_CLEANUP_CONFIG struct blx_config config = {0};
    struct blx_error err = {0};
    enum blx_config_result result;
    int rc = blx_config_begin(&program, argc, argv, stdout, &config, &result, &err);
    if (rc == 0 && result != BLX_CONFIG_RUN)
        return BLX_EXIT_OK;
    if (rc < 0) {
        note(NULL, err.message);
        return BLX_EXIT_USAGE;
    }
    struct job job = {.config = &config, .signal_fd = -1, .wake_fd = -1};
    blx_raise_file_limit(); /* a chain has many segments */
    rc = run(&job, &err);
    job_done(&job);
    if (rc < 0)
        note(NULL, err.message);
    return rc < 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}
