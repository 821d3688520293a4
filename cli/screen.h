/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The standard output as a screen. A terminal has a size and perhaps colours, and a picture on it
 * can be drawn again and again.
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
    bool has_colours; /* not with $NO_COLOR, nor if $TERM is "dumb" */
    size_t columns;   /* 0: no limit */
    size_t rows;      /* for a picture that is drawn again; 0: no limit */
};

#define CLI_RED    "\033[31m"
#define CLI_YELLOW "\033[33m"
#define CLI_GREEN  "\033[32m"
#define CLI_BOLD   "\033[1m"
#define CLI_PLAIN  "\033[0m"

/* How many columns the terminal at `fd` has; 0: it is none. */
size_t cli_screen_width(int fd);

void cli_screen_look(struct cli_screen *screen);

/* Prints the picture to `out`; each line ends with '\n'. */
typedef int cli_draw(void *arg, const struct cli_screen *screen, FILE *out, struct blx_error *err);

/*
 * Draws every `period_ms`, and at once when the terminal changes its size. Ends when somebody types
 * q or Ctrl-C, or a signal ends the process. On a terminal each picture replaces the one before it,
 * and the last one leaves no trace; elsewhere the pictures follow each other.
 *
 * If the first picture fails, its error is returned. If a later one fails, the error is shown in
 * its place, and the next period tries again.
 */
int cli_screen_watch(unsigned period_ms, cli_draw *draw, void *arg, struct blx_error *err);
