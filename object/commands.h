/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What blxrep-copy does, one function for each subcommand of `blxrep dispatcher` that becomes it.
 * They print their results, and return an exit status, or -errno.
 *
 * Threads: one.
 */
#pragma once

#include "base/error.h"
#include "config/config.h"
#include "object/pull.h"

int object_command_check(const struct blx_config *config, struct blx_error *err);
int object_command_copy(const struct blx_config *config, struct blx_error *err);
/* `copy` and `adopt` with --from=HOST:PORT. */
int object_command_pull(const struct blx_config *config, enum object_pull_end end,
                        struct blx_error *err);
int object_command_adopt(const struct blx_config *config, struct blx_error *err);

/* Copies as a data directory in the cache; the last word says how much is fetched at once. */
int object_command_fetch_lists(const struct blx_config *config, struct blx_error *err);
int object_command_fetch_tails(const struct blx_config *config, struct blx_error *err);
int object_command_fetch_ahead(const struct blx_config *config, struct blx_error *err);
int object_command_fetch_wholes(const struct blx_config *config, struct blx_error *err);
