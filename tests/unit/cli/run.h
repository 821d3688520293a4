/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the built `blxrep` and keeps what it prints. */
#pragma once

enum { RUN_OUTPUT_BYTES = 16384, RUN_MAX_WORDS = 24 };

struct run {
    int status; /* exit status; -1: ended by a signal */
    char out[RUN_OUTPUT_BYTES];
    char err[RUN_OUTPUT_BYTES];
};

/* Runs `run_program`, which is the build's unless a test sets another. The words follow the
 * program's name; NULL ends them. */
extern const char *run_program;
void run_blxrep(struct run *run, ...) __attribute__((sentinel));

/* The same on a terminal of `columns` columns, which has both outputs: they go to `out`, without
 * the terminal's carriage returns. */
void run_blxrep_on_terminal(struct run *run, unsigned columns, ...) __attribute__((sentinel));

/* What is typed there as soon as the question is shown; NULL: nothing. */
extern const char *run_question, *run_typed;

/* Asserts the exit status, and one line on stderr that contains `text` (NULL: nothing on stderr). A
 * failure shows all output. */
void run_ended(const struct run *run, int status, const char *text);
