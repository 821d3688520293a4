/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU as a machine: started, watched, ended. It runs as a user who comes to nothing if root starts
 * it, and gets its disks, its firmware and its console by descriptors.
 *
 *     boot_machine_start ──► it runs; its console is heard and told ──► it ends ──► judge ──► free
 *
 * It does not outlive the thread that started it (base/program.h).
 *
 * Threads: one at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "boot/console.h"
#include "boot/hardware.h"
#include "boot/trial.h"

struct boot_machine;

/* Keep what the guest says on its serial ports. */
struct boot_consoles {
    struct boot_console *console;
    struct boot_console *reports; /* used if the hardware has the port */
};

/* `disk_fds` are connections to the server of disks, one for each disk; borrowed. `consoles` are
 * borrowed until the machine is freed. Returns when QEMU has answered. -ENOENT
 * if QEMU or the firmware is missing, with the package's name; -EINVAL as boot_arguments_make();
 * -EIO if QEMU gives up, with what it says. */
int boot_machine_start(const struct boot_hardware *hardware, const int *disk_fds,
                       const struct boot_consoles *consoles, struct boot_machine **machine,
                       struct blx_error *err);

/* Cuts its power if it runs. NULL is allowed. */
void boot_machine_free(struct boot_machine *machine);

/* To be polled for reading: the console; and one that is readable when QEMU has ended. */
int boot_machine_console_fd(const struct boot_machine *machine);
int boot_machine_end_fd(const struct boot_machine *machine);

/* The port for reports; -1: there is none. */
int boot_machine_reports_fd(const struct boot_machine *machine);

/* What the guest says next: how many bytes, which the console has then, too. 0: nothing for now, or
 * for ever. */
size_t boot_machine_hear(struct boot_machine *machine, char *buffer, size_t bytes);

/* Types on its console. How many bytes it took: it may be busy. */
size_t boot_machine_type(struct boot_machine *machine, const char *bytes, size_t count);

/* The same for the port for reports, whose bytes nobody else needs. */
size_t boot_machine_hear_reports(struct boot_machine *machine);
size_t boot_machine_answer(struct boot_machine *machine, const char *bytes, size_t count);

/* -ETIME, -EPIPE and the like if QEMU does not answer soon. */
int boot_machine_sample(struct boot_machine *machine, struct boot_sample *sample);

/* Whether it stands still because what it writes has no room on this host. */
bool boot_machine_lacks_room(struct boot_machine *machine);

/* The longest time that one of QEMU's threads could have run and did not, since the host was busy.
 * 0 if the kernel does not tell. */
uint64_t boot_machine_waited_ns(const struct boot_machine *machine);

/* Presses its power button: a system shuts itself down then. 0 or -errno. */
int boot_machine_press_power(struct boot_machine *machine);

/* Where its screen is shown, HOST:PORT; false: nowhere. */
bool boot_machine_screen(struct boot_machine *machine, char *address, size_t bytes);

/* After its end: 0 if it was switched off, -EIO with what QEMU says otherwise. */
int boot_machine_judge(struct boot_machine *machine, struct blx_error *err);
