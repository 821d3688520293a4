/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of the commands in the audit log. */
#include "store/audit.h"

#include "cli/command.h"

void cli_audit(const char *data_dir, const struct blx_audit_entry *entry)
{
    struct blx_audit_entry signed_entry = *entry;
    struct blx_error err = {0};
    int rc = cli_become_owner(data_dir, &err);
    signed_entry.uid = cli_caller_uid();
    if (rc == 0)
        rc = blx_audit_append(data_dir, &signed_entry, &err);
    if (rc < 0)
        cli_note("the audit log lacks a line (%s): %s", entry->event, err.message);
}
