/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mark beside an agent's credentials, FILE.encrypted: this agent has sent everything encrypted
 * so far, and is not to send in the clear because a line of its configuration is missing.
 * agent/encryption.h says when it comes and goes.
 *
 * Threads: any. Looks at the disk, and changes nothing.
 */
#pragma once

#include <limits.h>

#include "config/config.h"

int blx_encryption_mark_path(const struct blx_config *config, char path[PATH_MAX],
                             struct blx_error *err);

/* -ENOKEY, with the way out, if the mark is there and the configuration has no encryption-key.
 * "none" is one. */
int blx_encryption_mark_check(const struct blx_config *config, struct blx_error *err);
