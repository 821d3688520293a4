/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `blxrep dispatcher page`: prints an address that opens the page once, within
 * PAGE_TOKEN_SECONDS.
 *
 * Threads: one.
 */
#pragma once

#include "config/config.h"

/* Becomes the data directory's owner, makes the token, adds a line to the audit log, and prints. */
int page_invite(const struct blx_config *config, struct blx_error *err);
