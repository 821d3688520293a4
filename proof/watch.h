/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boots a server and judges it. Text on the console proves nothing by itself, because anybody may
 * have printed it: whoever counts as booted also answered, at the end.
 *
 *     WAITING ──the console said what was expected, and the unit (plant.h), if there is one, has
 *        │      told all──► ASKED ──it answers twice──► BOOTED
 *        └──time, a panic, an emergency shell, switched off or restarted──► BAD
 *
 * With the unit the answers come from it, and nobody needs a login prompt unless `expect` was
 * given, since many servers have no serial console. Without it they come from the console: a new
 * prompt if a login prompt was expected, or else the same text twice on a new line, which is
 * neither the kernel's nor systemd's. A server that prompts, and whose unit stays silent, is
 * another system than the one that has the unit: it is judged by its console alone.
 *
 * Threads: one.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "boot/guest.h"
#include "proof/plant.h"
#include "store/checkpoint/tested.h"

struct proof_watch {
    struct boot_guest_config guest; /* reports and no restarts are set here */
    const struct proof_plant *plant;
    int wake_fd; /* readable: stop; -1: none */
};

/* `tested` has what is asked (within, expect, command), and gets results, times, machine, screen,
 * and its own part of `seen`. 0 with any verdict; errors as boot_guest_start(), -EINTR if it was
 * woken, -ENOSPC if what the server writes has no room on this host, -EBUSY if this host was too
 * busy to let it run: then nothing is known. */
int proof_watch(const struct proof_watch *watch, struct blx_tested *tested, struct blx_error *err);

/* What the unit has told, out of the text of its lines. Foreign, and bounded. Pure. */
struct proof_report {
    bool up, done;
    char state[24];   /* "": not yet */
    char failed[256]; /* units, with commas; "": none */
    char said[128];   /* the command's last line */
    int status;       /* of the command; -1: not yet */
    char answer[24];  /* the newest one */
};
void proof_report_read(const char *text, const char *number, struct proof_report *report);

/* Adds what was read later. Other lines on that port may have pushed the earlier ones out of the
 * text. Pure. */
void proof_report_add(struct proof_report *report, const struct proof_report *later);
