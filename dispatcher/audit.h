/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatcher's lines in the audit log (store/audit.h). A line that cannot be written is logged,
 * and what it tells of goes on: a full disk must not keep anybody from being revoked.
 *
 * Threads: any. Waits for the disk.
 */
#pragma once

#include "dispatcher/dispatcher.h"
#include "store/audit.h"

void dispatcher_audit_entry(const struct dispatcher *dispatcher,
                            const struct blx_audit_entry *entry);

/* `agent_id` may be NULL. */
void dispatcher_audit(const struct dispatcher *dispatcher, const char *event, const char *agent_id,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));
