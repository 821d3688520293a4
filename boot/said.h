/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program says on its standard error: its lines one by one, and of them the first that is no
 * warning, because what follows it is a consequence.
 *
 * Threads: the struct is the caller's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { BOOT_SAID_BYTES = 640 };

struct boot_said {
    char line[BOOT_SAID_BYTES]; /* under way */
    size_t used;
    char cause[BOOT_SAID_BYTES]; /* "": none yet */
};

/* Takes what comes from the descriptor, without waiting. False: nothing will come any more. */
bool boot_said_read(struct boot_said *said, int fd);
