/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server that was booted from a checkpoint: the engine of `blxrep dispatcher boot`, and of
 * whatever else wants to see a checkpoint boot.
 *
 *     start ──► step, step, ...  or  wait(a line on the console) ──► stop ──► free
 *
 *     TRIED ──it gets on (trial.h)──► RUNNING ──switched off, or QEMU failed──► ENDED
 *       └──it does not──► again, emulated ───────► RUNNING
 *
 * The store is only read. All processes end with this one, and nothing is left of them.
 *
 * Threads: one; it must live as long as the guest shall.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "boot/console.h"
#include "boot/disks.h"
#include "boot/hardware.h"

struct boot_guest;

struct boot_guest_config {
    struct boot_hardware hardware; /* cpus 0: as many as are good; its accelerator is set here */
    enum blx_boot_accelerator accelerator; /* AUTO: KVM if the guest gets on with it */
    struct boot_disks_config disks;
    /* Remarks for a person: how it runs, a damaged block. NULL: nobody wants them. */
    void (*tell)(void *arg, const char *text);
    void *arg;
};

/* What is borrowed in the config stays until the guest is freed. Errors as boot_disks_start() and
 * boot_machine_start(). */
int boot_guest_start(const struct boot_guest_config *config, struct boot_guest **guest,
                     struct blx_error *err);

/* Cuts its power if it runs. NULL is allowed. */
void boot_guest_free(struct boot_guest *guest);

enum boot_event {
    BOOT_EVENT_TIME,  /* the deadline */
    BOOT_EVENT_WOKEN, /* the caller's descriptor is readable */
    BOOT_EVENT_SAID,  /* the guest said what `said` has */
    BOOT_EVENT_TOLD,  /* it reported something: boot_guest_reports() */
    BOOT_EVENT_ENDED, /* the guest was switched off */
};

enum { BOOT_SAID_AT_ONCE_BYTES = 4096 };

struct boot_step {
    enum boot_event event;
    char said[BOOT_SAID_AT_ONCE_BYTES];
    size_t said_bytes;
};

/* Waits until something happens. `wake_fd` -1: none. -EIO if QEMU or nbdkit failed; the guest is
 * off then. */
int boot_guest_step(struct boot_guest *guest, int wake_fd, uint64_t deadline_ns,
                    struct boot_step *step, struct blx_error *err);

/* Waits until a line on its console matches the extended regular expression. -ETIME after the time;
 * -ESHUTDOWN if it was switched off before; -EINVAL; as boot_guest_step(). The message has what it
 * said last. */
int boot_guest_wait(struct boot_guest *guest, const char *expression, uint64_t timeout_ms,
                    struct blx_error *err);

/* For whoever steps: has the console look for a line from now on, as boot_guest_wait() does, and
 * tells whether it came. -EINVAL. */
int boot_guest_expect(struct boot_guest *guest, const char *expression, struct blx_error *err);
bool boot_guest_found(const struct boot_guest *guest);

/* How many bytes its console has said, and how many lines it has ended. */
size_t boot_guest_said(const struct boot_guest *guest);
size_t boot_guest_lines(const struct boot_guest *guest);

/* Types on its console: how many bytes were taken. */
size_t boot_guest_type(struct boot_guest *guest, const char *bytes, size_t count);

/* What it has reported on its second port, if the hardware has one: the newest lines, valid until
 * the next call; and what is typed there. */
const char *boot_guest_reports(const struct boot_guest *guest);
size_t boot_guest_answer(struct boot_guest *guest, const char *bytes, size_t count);

/* Presses its power button; whoever steps on sees it end, if its system knows the button. */
int boot_guest_press_power(struct boot_guest *guest);

/* Presses its power button, and cuts its power after the time. What it had written is handed over
 * to the disk. 0 in both cases; as boot_guest_step(). */
int boot_guest_stop(struct boot_guest *guest, uint64_t timeout_ms, struct blx_error *err);

/* The newest lines of its console. Valid until the next call. */
const char *boot_guest_tail(const struct boot_guest *guest, unsigned lines);

/* How many bytes of its disks it has read; 0 if QEMU does not answer. */
uint64_t boot_guest_read_bytes(struct boot_guest *guest);

/* Whether it stands still because what it writes has no room on this host. */
bool boot_guest_lacks_room(struct boot_guest *guest);

/* How long one of its processors, the one that fared worst, could have run and did not, since this
 * host was busy. 0 if it is off, or nobody knows. */
uint64_t boot_guest_waited_ns(const struct boot_guest *guest);

/* By what it runs now. */
enum boot_accelerator boot_guest_accelerator(const struct boot_guest *guest);

/* Where its screen is shown, HOST:PORT; false: nowhere. */
bool boot_guest_screen(struct boot_guest *guest, char *address, size_t bytes);
