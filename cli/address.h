/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatcher's address, for a line that somebody pastes on another machine.
 *
 * Threads: one. May ask the resolver.
 */
#pragma once

#include <stdbool.h>

#include "config/config.h"

enum { CLI_ADDRESS_BYTES = 264 };

/* --dispatcher-addr; without it this machine's name and the port that it listens at, which is a
 * guess: true. */
bool cli_address_guess(const struct blx_config *config, char address[CLI_ADDRESS_BYTES]);
