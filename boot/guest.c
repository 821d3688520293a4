/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "boot/machine.h"
#include "boot/trial.h"

enum {
    TRIAL_MS = 500, /* between two looks */
    KVM_CPUS = 4,   /* at most, if nobody chose */
    TAIL_LINES = 5,
    REMARK_BYTES = BLX_ERROR_MESSAGE_BYTES + 128,
};

enum state { TRIED, RUNNING, ENDED };

struct boot_guest {
    struct boot_guest_config config;
    enum state state;
    bool tried; /* there was a trial, which had connections of its own */
    struct boot_disks *disks;
    struct boot_machine *machine;
    struct boot_console *console, *reports;
    struct boot_trial trial;
    uint64_t look_ns; /* when it is looked at next, while it is TRIED */
};

static void tell(const struct boot_guest *guest, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void tell(const struct boot_guest *guest, const char *format, ...)
{
    char text[REMARK_BYTES];
    va_list list;
    if (guest->config.tell == NULL)
        return;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    guest->config.tell(guest->config.arg, text);
}

void boot_guest_free(struct boot_guest *guest)
{
    if (guest == NULL)
        return;
    boot_machine_free(guest->machine);
    boot_disks_free(guest->disks);
    boot_console_free(guest->console);
    boot_console_free(guest->reports);
    free(guest);
}

static size_t disk_count(const struct boot_guest *guest)
{
    return guest->config.hardware.disk_count;
}

/* QEMU has its own copies; a server of disks sees the end of one when both are closed. */
static void close_connections(struct boot_guest *guest, size_t from)
{
    int *connections = boot_disks_connections(guest->disks);
    for (size_t i = from; i < from + disk_count(guest); i++) {
        blx_cleanup_fd(&connections[i]);
        connections[i] = -1;
    }
}

static unsigned choose_cpus(enum boot_accelerator accelerator)
{
    long online = accelerator == BOOT_KVM ? sysconf(_SC_NPROCESSORS_ONLN) : 1;
    return online < 1 ? 1 : online > KVM_CPUS ? KVM_CPUS : (unsigned)online;
}

/* The first connections are for a trial, the others for what runs for good. */
static int start_machine(struct boot_guest *guest, enum boot_accelerator accelerator,
                         struct blx_error *err)
{
    struct boot_hardware *hardware = &guest->config.hardware;
    struct boot_hardware with = *hardware;
    size_t from = guest->tried && guest->state != TRIED ? disk_count(guest) : 0;
    hardware->accelerator = with.accelerator = accelerator;
    if (with.cpus == 0)
        with.cpus = choose_cpus(accelerator);
    const struct boot_consoles consoles = {guest->console, guest->reports};
    int rc = boot_machine_start(&with, boot_disks_connections(guest->disks) + from, &consoles,
                                &guest->machine, err);
    close_connections(guest, from);
    return rc;
}

static int start_for_good(struct boot_guest *guest, enum boot_accelerator accelerator,
                          struct blx_error *err)
{
    guest->state = RUNNING;
    int rc = start_machine(guest, accelerator, err);
    if (rc < 0)
        guest->state = ENDED;
    return rc;
}

/* Nothing of the trial is left: it has written nothing. */
static int start_emulated(struct boot_guest *guest, const char *reason, struct blx_error *err)
{
    boot_machine_free(guest->machine);
    guest->machine = NULL;
    tell(guest, "%s: the server is emulated, which is slow", reason);
    return start_for_good(guest, BOOT_EMULATED, err);
}

/* NULL: it can. The reason is valid until the next call. */
static const char *why_no_kvm(void)
{
    static char reason[128];
    BLX_CLEANUP_FD int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd >= 0)
        return NULL;
    snprintf(reason, sizeof(reason), "/dev/kvm cannot be used (%s)", strerror(errno));
    return reason;
}

static int start_trial(struct boot_guest *guest, struct blx_error *err)
{
    struct blx_error cause = {0};
    char reason[REMARK_BYTES];
    guest->state = TRIED;
    guest->tried = true;
    guest->look_ns = blx_deadline_in_ms(TRIAL_MS);
    int rc = start_machine(guest, BOOT_KVM, &cause);
    if (rc == 0)
        return 0;
    if (rc != -EIO)
        return blx_error_copy(err, rc, &cause);
    snprintf(reason, sizeof(reason), "KVM does not work here (%s)", cause.message);
    return start_emulated(guest, reason, err);
}

static int start(struct boot_guest *guest, const char *no_kvm, struct blx_error *err)
{
    switch (guest->config.accelerator) {
    case BLX_BOOT_KVM:
        return start_for_good(guest, BOOT_KVM, err);
    case BLX_BOOT_EMULATED:
        return start_for_good(guest, BOOT_EMULATED, err);
    case BLX_BOOT_AUTO:
        break;
    }
    return no_kvm != NULL ? start_emulated(guest, no_kvm, err) : start_trial(guest, err);
}

int boot_guest_start(const struct boot_guest_config *config, struct boot_guest **guest,
                     struct blx_error *err)
{
    struct boot_guest *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot start a server");
    made->config = *config;
    made->console = boot_console_new();
    made->reports = boot_console_new();
    int rc = made->console != NULL && made->reports != NULL
                 ? 0
                 : blx_error_errno(err, -ENOMEM, "cannot start a server");
    const char *no_kvm = why_no_kvm();
    const bool trial = config->accelerator == BLX_BOOT_AUTO && no_kvm == NULL;
    /* Those that are not needed stay until the end: nbdkit complains of one that was not used. */
    const size_t connections = config->hardware.disk_count * (trial ? 2 : 1);
    if (rc == 0)
        rc = boot_disks_start(&config->disks, connections, &made->disks, err);
    if (rc == 0)
        rc = start(made, no_kvm, err);
    if (rc < 0) {
        boot_guest_free(made);
        return rc;
    }
    *guest = made;
    return 0;
}

static int look(struct boot_guest *guest, struct blx_error *err)
{
    struct boot_sample sample = {0};
    guest->look_ns = blx_deadline_in_ms(TRIAL_MS);
    boot_machine_sample(guest->machine, &sample); /* what does not answer does not run */
    switch (boot_trial_judge(&guest->trial, &sample, blx_clock_ns() / BLX_NS_PER_MS)) {
    case BOOT_GETS_ON:
        guest->state = RUNNING;
        return 0;
    case BOOT_STUCK:
        return start_emulated(guest, "the server does not get on under KVM", err);
    case BOOT_UNDECIDED:
        break;
    }
    return 0;
}

/* 1: it has ended. */
static int end(struct boot_guest *guest, struct blx_error *err)
{
    struct blx_error cause = {0};
    char reason[REMARK_BYTES];
    int rc = boot_machine_judge(guest->machine, &cause);
    if (rc < 0 && guest->state == TRIED) {
        snprintf(reason, sizeof(reason), "KVM does not work here (%s)", cause.message);
        return start_emulated(guest, reason, err);
    }
    guest->state = ENDED;
    return rc < 0 ? blx_error_copy(err, rc, &cause) : 1;
}

static int lose_disks(struct boot_guest *guest, struct blx_error *err)
{
    const char *complaint = boot_disks_complaint(guest->disks);
    guest->state = ENDED;
    boot_machine_free(guest->machine);
    guest->machine = NULL;
    return blx_error_set(err, -EIO, "nbdkit has ended, and the server is off: %s",
                         complaint[0] != '\0' ? complaint : "a signal ended it");
}

static void pass_complaint(struct boot_guest *guest)
{
    const char *complaint = boot_disks_complaint(guest->disks);
    if (complaint[0] != '\0')
        tell(guest, "%s", complaint);
}

enum {
    POLL_CONSOLE,
    POLL_REPORTS,
    POLL_END,
    POLL_WAKE,
    POLL_DISKS_END,
    POLL_COMPLAINT,
    POLL_COUNT
};

static int wait_for_any(const struct boot_guest *guest, int wake_fd, uint64_t deadline_ns,
                        struct pollfd pollers[POLL_COUNT])
{
    const int fds[POLL_COUNT] = {
        [POLL_CONSOLE] = boot_machine_console_fd(guest->machine),
        [POLL_REPORTS] = boot_machine_reports_fd(guest->machine),
        [POLL_END] = boot_machine_end_fd(guest->machine),
        [POLL_WAKE] = wake_fd,
        [POLL_DISKS_END] = boot_disks_end_fd(guest->disks),
        [POLL_COMPLAINT] = boot_disks_error_fd(guest->disks),
    };
    if (guest->state == TRIED && guest->look_ns < deadline_ns)
        deadline_ns = guest->look_ns;
    for (size_t i = 0; i < POLL_COUNT; i++)
        pollers[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    if (poll(pollers, POLL_COUNT, blx_deadline_poll_ms(deadline_ns)) < 0 && errno != EINTR)
        return -errno;
    return 0;
}

/* True: an event has come. The console's rest is told before its end. */
static int take(struct boot_guest *guest, const struct pollfd pollers[POLL_COUNT],
                struct boot_step *step, struct blx_error *err)
{
    if (pollers[POLL_COMPLAINT].revents != 0)
        pass_complaint(guest);
    if (pollers[POLL_CONSOLE].revents != 0) {
        step->said_bytes = boot_machine_hear(guest->machine, step->said, sizeof(step->said));
        step->event = BOOT_EVENT_SAID;
        if (step->said_bytes > 0)
            return 1;
    }
    if (pollers[POLL_REPORTS].revents != 0 && boot_machine_hear_reports(guest->machine) > 0) {
        step->event = BOOT_EVENT_TOLD;
        return 1;
    }
    if (pollers[POLL_END].revents != 0) {
        step->event = BOOT_EVENT_ENDED;
        return end(guest, err);
    }
    if (pollers[POLL_DISKS_END].revents != 0)
        return lose_disks(guest, err);
    if (pollers[POLL_WAKE].revents != 0) {
        step->event = BOOT_EVENT_WOKEN;
        return 1;
    }
    if (guest->state == TRIED && blx_deadline_left_ms(guest->look_ns) == 0)
        return look(guest, err);
    return 0;
}

int boot_guest_step(struct boot_guest *guest, int wake_fd, uint64_t deadline_ns,
                    struct boot_step *step, struct blx_error *err)
{
    struct pollfd pollers[POLL_COUNT] = {0};
    int rc = 0;
    step->said_bytes = 0;
    step->event = BOOT_EVENT_ENDED;
    if (guest->state == ENDED)
        return 0;
    while (rc == 0) {
        rc = wait_for_any(guest, wake_fd, deadline_ns, pollers);
        if (rc < 0)
            return blx_error_errno(err, rc, "cannot wait for the server");
        rc = take(guest, pollers, step, err);
        if (rc == 0 && blx_deadline_left_ms(deadline_ns) == 0) {
            step->event = BOOT_EVENT_TIME;
            return 0;
        }
    }
    return rc < 0 ? rc : 0;
}

static bool goes_on(const struct boot_step *step)
{
    return step->event == BOOT_EVENT_SAID || step->event == BOOT_EVENT_TOLD;
}

int boot_guest_wait(struct boot_guest *guest, const char *expression, uint64_t timeout_ms,
                    struct blx_error *err)
{
    const uint64_t deadline_ns = blx_deadline_in_ms(timeout_ms);
    struct boot_step step = {.event = BOOT_EVENT_SAID};
    int rc = boot_console_expect(guest->console, expression, err);
    while (rc == 0 && !boot_console_found(guest->console) && goes_on(&step))
        rc = boot_guest_step(guest, -1, deadline_ns, &step, err);
    if (rc < 0 || boot_console_found(guest->console))
        return rc;
    return blx_error_set(err, step.event == BOOT_EVENT_TIME ? -ETIME : -ESHUTDOWN,
                         "the server %s before its console had '%.100s'; its last words: %s",
                         step.event == BOOT_EVENT_TIME ? "took too long" : "was switched off",
                         expression, boot_guest_tail(guest, TAIL_LINES));
}

int boot_guest_expect(struct boot_guest *guest, const char *expression, struct blx_error *err)
{
    return boot_console_expect(guest->console, expression, err);
}

bool boot_guest_found(const struct boot_guest *guest)
{
    return boot_console_found(guest->console);
}

size_t boot_guest_said(const struct boot_guest *guest)
{
    return boot_console_count(guest->console);
}

size_t boot_guest_lines(const struct boot_guest *guest)
{
    return boot_console_count_lines(guest->console);
}

size_t boot_guest_type(struct boot_guest *guest, const char *bytes, size_t count)
{
    return guest->state != ENDED ? boot_machine_type(guest->machine, bytes, count) : 0;
}

const char *boot_guest_reports(const struct boot_guest *guest)
{
    return boot_console_tail(guest->reports, UINT_MAX);
}

size_t boot_guest_answer(struct boot_guest *guest, const char *bytes, size_t count)
{
    return guest->state != ENDED ? boot_machine_answer(guest->machine, bytes, count) : 0;
}

int boot_guest_press_power(struct boot_guest *guest)
{
    return guest->state != ENDED ? boot_machine_press_power(guest->machine) : 0;
}

int boot_guest_stop(struct boot_guest *guest, uint64_t timeout_ms, struct blx_error *err)
{
    const uint64_t deadline_ns = blx_deadline_in_ms(timeout_ms);
    struct boot_step step = {.event = BOOT_EVENT_SAID};
    int rc = 0;
    boot_guest_press_power(guest);
    while (rc == 0 && goes_on(&step))
        rc = boot_guest_step(guest, -1, deadline_ns, &step, err);
    boot_machine_free(guest->machine);
    guest->machine = NULL;
    guest->state = ENDED;
    return rc;
}

const char *boot_guest_tail(const struct boot_guest *guest, unsigned lines)
{
    return boot_console_tail(guest->console, lines);
}

uint64_t boot_guest_read_bytes(struct boot_guest *guest)
{
    struct boot_sample sample = {0};
    if (guest->state != ENDED)
        boot_machine_sample(guest->machine, &sample);
    return sample.read_bytes;
}

bool boot_guest_lacks_room(struct boot_guest *guest)
{
    return guest->state != ENDED && boot_machine_lacks_room(guest->machine);
}

uint64_t boot_guest_waited_ns(const struct boot_guest *guest)
{
    return guest->state != ENDED ? boot_machine_waited_ns(guest->machine) : 0;
}

enum boot_accelerator boot_guest_accelerator(const struct boot_guest *guest)
{
    return guest->config.hardware.accelerator;
}

bool boot_guest_screen(struct boot_guest *guest, char *address, size_t bytes)
{
    return guest->state != ENDED && boot_machine_screen(guest->machine, address, bytes);
}
