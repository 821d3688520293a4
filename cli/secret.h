/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets come from a file, a pipe or the keyboard: every user of a machine can read the words of a
 * command line.
 *
 * Threads: one.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"

/*
 * Reads the first line of the file `path` into `text`, without spaces around it. NULL or "-" is the
 * standard input; on a terminal, `prompt` is shown there, and the typed line is not. -EINVAL for an
 * empty line or one longer than `bytes`, -ECANCELED for Ctrl-C. Cleanse `text` after use.
 */
int cli_secret_read(const char *path, const char *prompt, char *text, size_t bytes,
                    struct blx_error *err);

/* Overwrites the value of the option `name` ("--token") in the process's own command line. */
void cli_secret_wipe(int argc, char **argv, const char *name);
