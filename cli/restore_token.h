/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `restore --token`: a line with which another machine restores.
 *
 * Threads: one. Blocks on the disk.
 */
#pragma once

#include "base/error.h"
#include "config/config.h"
#include "store/checkpoint/manifest.h"
#include "tls/pki_restore.h"

/* Makes the token, as the owner of the data directory, and prints the line; `first` is the first of
 * the granted volumes. */
int cli_restore_token_print(const struct blx_config *config, const struct blx_restore_grant *grant,
                            const struct blx_manifest_volume *first, struct blx_error *err);
