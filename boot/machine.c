/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/machine.h"

#include <dirent.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <fcntl.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/program.h"
#include "boot/arguments.h"
#include "boot/cell.h"
#include "boot/firmware.h"
#include "boot/qmp.h"
#include "boot/said.h"

enum {
    START_MS = 60 * 1000, /* a machine without memory left is slow */
    ANSWER_MS = 2000,
    NOBODY = 65534, /* if no user has that name */
};

struct boot_machine {
    pid_t pid; /* 0: it has ended and was waited for */
    int status;
    int end_fd, console_fd, reports_fd, error_fd;
    struct boot_qmp qmp;
    struct boot_consoles consoles; /* borrowed */
    struct boot_said said;
};

/* The ends that QEMU gets. */
struct ends {
    int qmp, console, reports, error;
    struct boot_ovmf ovmf;
};

static const struct ends no_ends = {
    .qmp = -1, .console = -1, .reports = -1, .error = -1, .ovmf = {-1, -1}};

static void ends_done(struct ends *ends)
{
    blx_cleanup_fd(&ends->qmp);
    blx_cleanup_fd(&ends->console);
    blx_cleanup_fd(&ends->reports);
    blx_cleanup_fd(&ends->error);
    boot_ovmf_close(&ends->ovmf);
}

void boot_machine_free(struct boot_machine *machine)
{
    if (machine == NULL)
        return;
    if (machine->pid > 0)
        blx_program_kill(machine->pid);
    boot_qmp_close(&machine->qmp);
    blx_cleanup_fd(&machine->end_fd);
    blx_cleanup_fd(&machine->console_fd);
    blx_cleanup_fd(&machine->reports_fd);
    blx_cleanup_fd(&machine->error_fd);
    free(machine);
}

/* A pair of sockets: ours does not block. */
static int make_channel(int *ours, int *theirs)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return -errno;
    *ours = pair[0];
    *theirs = pair[1];
    return fcntl(pair[0], F_SETFL, O_NONBLOCK) == 0 ? 0 : -errno;
}

static int make_channels(const struct boot_hardware *hardware, struct boot_machine *machine,
                         struct ends *ends, int *qmp_fd, struct blx_error *err)
{
    int pair[2];
    int rc = make_channel(qmp_fd, &ends->qmp);
    if (rc == 0)
        rc = make_channel(&machine->console_fd, &ends->console);
    if (rc == 0 && hardware->reports == BOOT_REPORTS)
        rc = make_channel(&machine->reports_fd, &ends->reports);
    if (rc == 0 && pipe2(pair, O_CLOEXEC) != 0)
        rc = -errno;
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot connect to QEMU");
    machine->error_fd = pair[0];
    ends->error = pair[1];
    return 0;
}

/* Nobody's, and of the group that may use KVM. False: we are not root, so it is ours. */
static bool choose_user(struct blx_program_user *user)
{
    struct stat kvm;
    const struct passwd *nobody = geteuid() == 0 ? getpwnam("nobody") : NULL;
    *user = (struct blx_program_user){NOBODY, NOBODY, NOBODY};
    if (nobody != NULL)
        *user = (struct blx_program_user){nobody->pw_uid, nobody->pw_gid, nobody->pw_gid};
    if (stat("/dev/kvm", &kvm) == 0 && kvm.st_gid != 0)
        user->group = kvm.st_gid;
    return geteuid() == 0;
}

static int confine(const void *arg)
{
    return boot_cell_enter(arg);
}

/* A network of the guest's and a screen go over sockets of QEMU's. */
static struct boot_cell choose_cell(const struct boot_hardware *hardware)
{
    bool connects = hardware->network != BLX_BOOT_NO_NETWORK || hardware->vnc != NULL;
    struct boot_cell cell = {.sockets = connects ? BOOT_CELL_SOCKETS : BOOT_CELL_NO_SOCKETS,
                             .files = {-1, -1}};
    if (hardware->kernel != NULL) {
        cell.files[0] = BOOT_FD_KERNEL;
        cell.files[1] = BOOT_FD_INITRD;
    }
    return cell;
}

static int start_qemu(struct boot_machine *machine, const struct boot_hardware *hardware,
                      const struct boot_arguments *arguments, const int *fds, struct blx_error *err)
{
    static const char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", NULL};
    struct blx_program_user user;
    const bool changes = choose_user(&user);
    const struct boot_cell cell = choose_cell(hardware);
    const struct blx_program program = {
        .words = (const char *const *)arguments->words,
        .fds = fds,
        .fd_count = BOOT_FD_DISKS + hardware->disk_count,
        .confine = confine,
        .confine_arg = &cell,
        .package = "qemu-system-x86 (Debian) or qemu-system-x86-core (RPM)",
        .environment = environment,
        .user = changes ? &user : NULL};
    int rc = blx_program_start(&program, &machine->pid, err);
    if (rc < 0)
        return rc;
    machine->end_fd = (int)syscall(SYS_pidfd_open, machine->pid, 0);
    return machine->end_fd < 0 ? blx_error_errno(err, -errno, "cannot watch QEMU") : 0;
}

static int hand_over(struct boot_machine *machine, const struct boot_hardware *hardware,
                     const int *disk_fds, const struct ends *ends, struct blx_error *err)
{
    int fds[BOOT_FD_DISKS + BOOT_MAX_DISKS] = {-1, ends->error, ends->error};
    fds[BOOT_FD_QMP] = ends->qmp;
    fds[BOOT_FD_CONSOLE] = ends->console;
    fds[BOOT_FD_FIRMWARE] = ends->ovmf.code_fd;
    fds[BOOT_FD_VARIABLES] = ends->ovmf.variables_fd;
    fds[BOOT_FD_REPORTS] = ends->reports;
    fds[BOOT_FD_KERNEL] = hardware->kernel != NULL ? hardware->kernel->image_fd : -1;
    fds[BOOT_FD_INITRD] = hardware->kernel != NULL ? hardware->kernel->initrd_fd : -1;
    fds[BOOT_FD_CHANNEL] = hardware->kernel != NULL ? hardware->kernel->channel_fd : -1;
    memcpy(fds + BOOT_FD_DISKS, disk_fds, hardware->disk_count * sizeof(fds[0]));
    BLX_CLEANUP(boot_arguments_done) struct boot_arguments arguments;
    int rc = boot_arguments_make(hardware, &arguments, err);
    return rc == 0 ? start_qemu(machine, hardware, &arguments, fds, err) : rc;
}

/* What QEMU says if it gives up, which takes it a moment. */
static int refused(struct boot_machine *machine, int rc, struct blx_error *err)
{
    uint64_t deadline_ns = blx_deadline_in_ms(ANSWER_MS);
    if (rc == -EPIPE)
        while (boot_said_read(&machine->said, machine->error_fd) &&
               blx_deadline_left_ms(deadline_ns) > 0)
            usleep(1000);
    if (machine->said.cause[0] != '\0')
        return blx_error_set(err, -EIO, "QEMU gives up: %s", machine->said.cause);
    return blx_error_errno(err, -EIO, "QEMU does not begin (%s)", strerror(-rc));
}

int boot_machine_start(const struct boot_hardware *hardware, const int *disk_fds,
                       const struct boot_consoles *consoles, struct boot_machine **machine,
                       struct blx_error *err)
{
    BLX_CLEANUP(ends_done)
    struct ends ends = no_ends;
    int qmp_fd = -1;
    struct boot_machine *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot start a server");
    made->consoles = *consoles;
    made->end_fd = made->console_fd = made->reports_fd = made->error_fd = made->qmp.fd = -1;
    int rc = make_channels(hardware, made, &ends, &qmp_fd, err);
    if (rc == 0 && hardware->firmware == BOOT_FIRMWARE_UEFI)
        rc = boot_ovmf_open(&ends.ovmf, err);
    if (rc == 0)
        rc = hand_over(made, hardware, disk_fds, &ends, err);
    if (rc == 0) {
        ends_done(&ends);
        ends = no_ends;
        rc = boot_qmp_open(&made->qmp, qmp_fd, blx_deadline_in_ms(START_MS));
        qmp_fd = -1;
        rc = rc < 0 ? refused(made, rc, err) : 0;
    }
    blx_cleanup_fd(&qmp_fd);
    if (rc < 0) {
        boot_machine_free(made);
        return rc;
    }
    *machine = made;
    return 0;
}

int boot_machine_console_fd(const struct boot_machine *machine)
{
    return machine->console_fd;
}

int boot_machine_end_fd(const struct boot_machine *machine)
{
    return machine->end_fd;
}

int boot_machine_reports_fd(const struct boot_machine *machine)
{
    return machine->reports_fd;
}

static size_t hear(int *fd, struct boot_console *console, char *buffer, size_t bytes)
{
    ssize_t got = *fd >= 0 ? read(*fd, buffer, bytes) : -1;
    if (got == 0) {
        close(*fd);
        *fd = -1;
    }
    if (got <= 0)
        return 0;
    boot_console_hear(console, buffer, (size_t)got);
    return (size_t)got;
}

static size_t say(int fd, const char *bytes, size_t count)
{
    ssize_t sent = fd >= 0 ? send(fd, bytes, count, MSG_NOSIGNAL) : -1;
    return sent > 0 ? (size_t)sent : 0;
}

size_t boot_machine_hear(struct boot_machine *machine, char *buffer, size_t bytes)
{
    return hear(&machine->console_fd, machine->consoles.console, buffer, bytes);
}

size_t boot_machine_type(struct boot_machine *machine, const char *bytes, size_t count)
{
    return say(machine->console_fd, bytes, count);
}

size_t boot_machine_hear_reports(struct boot_machine *machine)
{
    char buffer[1024];
    return hear(&machine->reports_fd, machine->consoles.reports, buffer, sizeof(buffer));
}

size_t boot_machine_answer(struct boot_machine *machine, const char *bytes, size_t count)
{
    return say(machine->reports_fd, bytes, count);
}

static int ask(struct boot_machine *machine, const char *command, const char **answer)
{
    return boot_qmp_ask(&machine->qmp, command, blx_deadline_in_ms(ANSWER_MS), answer);
}

int boot_machine_sample(struct boot_machine *machine, struct boot_sample *sample)
{
    const char *answer;
    int rc = ask(machine, "{\"execute\":\"query-blockstats\"}", &answer);
    if (rc < 0)
        return rc;
    sample->read_bytes = boot_qmp_sum(answer, "disk", "rd_bytes");
    sample->written_bytes = boot_qmp_sum(answer, "disk", "wr_bytes");
    sample->said_bytes = boot_console_count(machine->consoles.console);
    rc = ask(machine, "{\"execute\":\"query-status\"}", &answer);
    if (rc < 0)
        return rc;
    sample->running = strstr(answer, "\"running\": true") != NULL;
    rc = ask(machine,
             "{\"execute\":\"human-monitor-command\","
             "\"arguments\":{\"command-line\":\"info registers\"}}",
             &answer);
    if (rc == 0)
        sample->program_counter = boot_qmp_register(answer, "RIP");
    return rc;
}

/* QEMU stops a machine whose disk has no room (werror=enospc). */
bool boot_machine_lacks_room(struct boot_machine *machine)
{
    const char *answer;
    return ask(machine, "{\"execute\":\"query-block\"}", &answer) == 0 &&
           strstr(answer, "\"io-status\": \"nospace\"") != NULL;
}

/* "RAN WAITED TIMES", in nanoseconds. */
static uint64_t waited_of(pid_t pid, const char *thread)
{
    char path[64];
    unsigned long long waited_ns = 0;
    snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", (int)pid, thread);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%*u %llu", &waited_ns) != 1)
        waited_ns = 0;
    fclose(file);
    return waited_ns;
}

uint64_t boot_machine_waited_ns(const struct boot_machine *machine)
{
    char path[32];
    uint64_t most_ns = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)machine->pid);
    DIR *threads = machine->pid > 0 ? opendir(path) : NULL;
    for (struct dirent *entry; threads != NULL && (entry = readdir(threads)) != NULL;) {
        uint64_t waited_ns = waited_of(machine->pid, entry->d_name);
        if (waited_ns > most_ns)
            most_ns = waited_ns;
    }
    if (threads != NULL)
        closedir(threads);
    return most_ns;
}

int boot_machine_press_power(struct boot_machine *machine)
{
    const char *answer;
    return ask(machine, "{\"execute\":\"system_powerdown\"}", &answer);
}

bool boot_machine_screen(struct boot_machine *machine, char *address, size_t bytes)
{
    const char *answer;
    char host[128], port[16];
    if (ask(machine, "{\"execute\":\"query-vnc\"}", &answer) < 0 ||
        !boot_qmp_text(answer, "host", host, sizeof(host)) ||
        !boot_qmp_text(answer, "service", port, sizeof(port)))
        return false;
    snprintf(address, bytes, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
    return true;
}

int boot_machine_judge(struct boot_machine *machine, struct blx_error *err)
{
    if (machine->pid > 0)
        machine->status = blx_program_wait(machine->pid);
    machine->pid = 0;
    if (machine->status == 0)
        return 0;
    boot_said_read(&machine->said, machine->error_fd);
    if (machine->said.cause[0] != '\0')
        return blx_error_set(err, -EIO, "QEMU gives up: %s", machine->said.cause);
    return blx_error_set(err, -EIO, "QEMU ended with status %d%s", machine->status,
                         machine->status > 128 ? ": a signal ended it" : "");
}
