/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user's terminal as the guest's console: each key goes to the guest at once, also Ctrl-C.
 * After Ctrl-] the next key is for us.
 *
 * A process of its own gives the terminal its modes back when this one ends, however that comes.
 *
 * Threads: one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <termios.h>

#include "base/error.h"

struct boot_terminal {
    pid_t keeper; /* gives the modes back; 0: it is no terminal, or its modes are its own */
    int keeper_fd;
    struct termios modes; /* that it had */
    bool is_terminal;
    bool escaped; /* Ctrl-] came */
};

/* Of the standard input. If that is no terminal everything goes to the guest as it is. */
int boot_terminal_enter(struct boot_terminal *terminal, struct blx_error *err);

/* The terminal has its modes again. Nothing to do for one that is all zeros. */
void boot_terminal_leave(struct boot_terminal *terminal);

enum boot_key {
    BOOT_KEY_NONE,
    BOOT_KEY_QUIT,  /* q: cut the power */
    BOOT_KEY_POWER, /* p: press the power button */
    BOOT_KEY_HELP,  /* any other one */
};

/* Sorts what was typed: *count bytes are left for the guest. The first key that is for us. */
enum boot_key boot_terminal_sort(struct boot_terminal *terminal, char *bytes, size_t *count);
