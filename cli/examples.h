/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The examples in the help of each command.
 *
 * Threads: constant.
 */
#pragma once

#include "config/config.h"

/* Lines, two or more, each with an indent of two; NULL: there are none. */
const char *cli_examples_of(enum blx_command command);
