/* SPDX-License-Identifier: Apache-2.0 */
/* Working in a data directory as its owner, even if root runs the command. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/command.h"

/* The user that typed the command, after the process has become another user. */
static uid_t caller;
static bool caller_known;

/* Whether the owner can come to the folder at all. The process acts as the owner afterwards. */
static bool owner_reaches(const char *data_dir, const struct stat *st)
{
    return setgroups(0, NULL) == 0 && setegid(st->st_gid) == 0 && seteuid(st->st_uid) == 0 &&
           faccessat(AT_FDCWD, data_dir, R_OK | X_OK, AT_EACCESS) == 0;
}

int cli_become_owner(const char *data_dir, struct blx_error *err)
{
    struct stat st;
    if (geteuid() != 0 || stat(data_dir, &st) != 0 || st.st_uid == 0)
        return 0;
    bool reaches = owner_reaches(data_dir, &st);
    if (seteuid(0) != 0 || setegid(0) != 0)
        return blx_error_errno(err, -errno, "cannot act as root again");
    /* A copy below a folder of root's: its files' owner plays no games there. */
    if (!reaches)
        return 0;
    caller = getuid();
    caller_known = true;
    if (setgid(st.st_gid) != 0 || setuid(st.st_uid) != 0)
        return blx_error_errno(err, -errno, "cannot act as the owner of '%s'", data_dir);
    return 0;
}

uid_t cli_caller_uid(void)
{
    return caller_known ? caller : getuid();
}

int cli_store_open(const char *data_dir, enum blx_store_mode mode, struct blx_store *store,
                   struct blx_error *err)
{
    int rc = cli_become_owner(data_dir, err);
    return rc == 0 ? blx_store_open(data_dir, mode, store, err) : rc;
}
