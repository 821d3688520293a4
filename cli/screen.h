/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a command draws: the standard output, which may be a terminal, and then has a size and
 * perhaps colours; and a picture on it that is drawn again and again.
 *
 * Threads: one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/error.h"

struct cli_screen {
    bool is_terminal;
    bool has_colours; /* not with $NO_COLOR, nor where $TERM is "dumb" */
    size_t columns;   /* 0: no limit */
    size_t rows;      /* of a picture that is drawn again; 0: no limit */
};

#define CLI_RED    "\033[31m"
#define CLI_YELLOW "\033[33m"
#define CLI_GREEN  "\033[32m"
#define CLI_BOLD   "\033[1m"
#define CLI_PLAIN  "\033[0m"

void cli_screen_look(struct cli_screen *screen);

/* Draws the picture; lines end with '\n'. */
typedef int cli_draw(void *arg, const struct cli_screen *screen, FILE *out, struct blx_error *err);

/*
 * Draws each `period_ms`, and at once when the terminal changes its size, until somebody types q or
 * Ctrl-C, or the process is told to end. On a terminal the picture replaces the one before and
 * leaves no trace; elsewhere one follows the other. A failure is shown in the picture's stead and
 * tried again; only one of the first picture ends it, and is returned.
 */
int cli_screen_watch(unsigned period_ms, cli_draw *draw, void *arg, struct blx_error *err);
