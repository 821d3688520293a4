/* SPDX-License-Identifier: Apache-2.0 */
/* Writing into a data directory as its owner, even if root runs the command. */
#include <errno.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/command.h"

static int become_owner(const char *data_dir, struct blx_error *err)
{
    struct stat st;
    if (geteuid() != 0 || stat(data_dir, &st) != 0 || st.st_uid == 0)
        return 0;
    if (setgroups(0, NULL) != 0 || setgid(st.st_gid) != 0 || setuid(st.st_uid) != 0)
        return blx_error_errno(err, -errno, "cannot act as the owner of '%s'", data_dir);
    return 0;
}

void cli_audit(const char *data_dir, const struct blx_audit_entry *entry)
{
    struct blx_error err = {0};
    int rc = become_owner(data_dir, &err);
    if (rc == 0)
        rc = blx_audit_append(data_dir, entry, &err);
    if (rc < 0)
        cli_note("the audit log lacks a line (%s): %s", entry->event, err.message);
}

int cli_open_for_writing(const char *data_dir, struct blx_store *store, struct blx_error *err)
{
    int rc = become_owner(data_dir, err);
    return rc == 0 ? blx_store_open(data_dir, BLX_STORE_READ, store, err) : rc;
}
