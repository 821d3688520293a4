/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/audit.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"

void dispatcher_audit_entry(const struct dispatcher *dispatcher,
                            const struct blx_audit_entry *entry)
{
    struct blx_audit_entry signed_entry = *entry;
    struct blx_error err = {0};
    signed_entry.uid = getuid();
    if (blx_audit_append(dispatcher->store->data_dir, &signed_entry, &err) < 0)
        blx_log_warning("the audit log lacks a line (%s): %s", entry->event, err.message);
}

void dispatcher_audit(const struct dispatcher *dispatcher, const char *event, const char *agent_id,
                      const char *format, ...)
{
    char text[2 * BLX_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    const struct blx_audit_entry entry = {.event = event, .agent = agent_id, .text = text};
    dispatcher_audit_entry(dispatcher, &entry);
}
