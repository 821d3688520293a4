/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Suspicious checkpoints, for `show`, `info` and `status`.
 *
 * Threads: one. Reads the store.
 */
#pragma once

#include <stdbool.h>

#include "base/json.h"
#include "store/signal/suspicion.h"

enum { CLI_SUSPICION_TEXT_BYTES = 192 };

/* The checkpoint's mark, if it has one. A mark that cannot be read is noted, and claims nothing. */
bool cli_suspicion_read(struct blx_agent_store agent, blx_timestamp checkpoint,
                        struct blx_suspicion *suspicion);

/* "suspicious since ..., unpin ... if all is well" as long as the automatic pin of a signal stands;
 * "": none does. */
const char *cli_suspicion_explain(const char *data_dir, const char *agent_id,
                                  char text[CLI_SUSPICION_TEXT_BYTES]);

/* The members "suspicious", the newest mark or null, and "automatic_pin", the checkpoint or null.
 */
void cli_suspicion_json(struct blx_json *json, const char *data_dir, const char *agent_id);
