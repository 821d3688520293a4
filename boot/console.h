/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest has said on its console, as text: without the sequences that command a terminal, and
 * without what is no printable character. Of all that, the newest part is kept.
 *
 * Threads: one at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum {
    BOOT_CONSOLE_BYTES = 64 * 1024, /* that are kept, at most */
    BOOT_CONSOLE_LINE_BYTES = 4096, /* a longer line is broken */
};

struct boot_console;

/* NULL: no memory. */
struct boot_console *boot_console_new(void);

/* NULL is allowed. */
void boot_console_free(struct boot_console *console);

/* Takes what the guest has said. */
void boot_console_hear(struct boot_console *console, const char *bytes, size_t count);

/* Has it look for a line that matches an extended regular expression, from what was said last on:
 * the line under way counts, since a prompt has no end. -EINVAL if it is no expression. NULL: for
 * none any more. */
int boot_console_expect(struct boot_console *console, const char *expression,
                        struct blx_error *err);

/* Whether such a line came since it was asked for. */
bool boot_console_found(const struct boot_console *console);

/* The newest lines, at most `lines` of them, with their ends: a text that is valid until the next
 * call. */
const char *boot_console_tail(const struct boot_console *console, unsigned lines);

/* How many bytes it has heard. */
size_t boot_console_count(const struct boot_console *console);

/* How many lines have ended. */
size_t boot_console_count_lines(const struct boot_console *console);
