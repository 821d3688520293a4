/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the built `blxrep` and keeps what it says. */
#pragma once

enum { RUN_OUTPUT_BYTES = 16384, RUN_MAX_WORDS = 24 };

struct run {
    int status; /* exit status; -1: ended by a signal */
    char out[RUN_OUTPUT_BYTES];
    char err[RUN_OUTPUT_BYTES];
};

/* The words behind the program's name; NULL ends them. The program is that of the build, or
 * `run_program` where it is set. */
extern const char *run_program;
void run_blxrep(struct run *run, ...) __attribute__((sentinel));

/* A cmocka assertion that shows what was said: the status, one line on stderr that has `text`
 * (NULL: nothing on stderr). */
void run_ended(const struct run *run, int status, const char *text);
