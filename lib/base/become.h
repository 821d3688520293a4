/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Becoming another program of blxrep. Programs of one build tree, and those of an installation, lie
 * beside each other.
 *
 * Threads: the process becomes another one.
 */
#pragma once

#include <limits.h>

#include "base/error.h"

/* The folder of this program. */
int blx_own_folder(char folder[PATH_MAX], struct blx_error *err);

/* Runs the program words[0] in place of this one, from this one's folder or else from PATH: it
 * returns only if that fails. */
int blx_become_program(char **words, struct blx_error *err);
