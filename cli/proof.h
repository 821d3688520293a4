/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests have shown of an agent's checkpoints, for `show`, `info` and `status`.
 *
 * Threads: one. Reads the store.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "store/checkpoint/tested.h"

enum { CLI_PROOF_TEXT_BYTES = 256, CLI_PROOF_CELL_BYTES = 48 };

/* "services, boots in 41.2 s", "filesystem", "FAILED". */
const char *cli_proof_format(const struct blx_tested *tested, char text[CLI_PROOF_CELL_BYTES]);

/* "last proven 5 h ago, boots in 41.2 s", and whether the newest test failed; "": never tested. */
const char *cli_proof_explain(const char *data_dir, const char *agent_id, uint64_t now_realtime_ns,
                              char text[CLI_PROOF_TEXT_BYTES]);

/* The member "proven": the record of the newest checkpoint that passed, or null. */
void cli_proof_json(struct blx_json *json, const char *data_dir, const char *agent_id);
