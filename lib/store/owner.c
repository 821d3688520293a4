/* SPDX-License-Identifier: Apache-2.0 */
#include "store/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* The signal that this process wants if its parent dies (base/program.h). The kernel forgets it
 * when a process changes its user. */
struct last_signal {
    int number; /* 0: none */
    pid_t parent;
};

static struct last_signal note_last_signal(void)
{
    struct last_signal wanted = {.parent = getppid()};
    prctl(PR_GET_PDEATHSIG, &wanted.number);
    return wanted;
}

static void want_again(const struct last_signal *wanted)
{
    if (wanted->number == 0)
        return;
    prctl(PR_SET_PDEATHSIG, wanted->number);
    if (getppid() != wanted->parent)
        raise(wanted->number); /* it has died meanwhile */
}

/* Whether the owner can come to the folder at all; its own mode does not count, as the owner can
 * change it. The process acts as the owner afterwards. */
static bool owner_reaches(const char *data_dir, const struct stat *st)
{
    return setgroups(0, NULL) == 0 && setegid(st->st_gid) == 0 && seteuid(st->st_uid) == 0 &&
           faccessat(AT_FDCWD, data_dir, F_OK, AT_EACCESS) == 0;
}

int blx_owner_visit(const char *data_dir, enum blx_owner *owner, struct blx_error *err)
{
    struct stat st;
    *owner = BLX_OWNER_KEPT;
    if (geteuid() != 0 || stat(data_dir, &st) != 0 || st.st_uid == 0)
        return 0;
    const struct last_signal wanted = note_last_signal();
    *owner = owner_reaches(data_dir, &st) ? BLX_OWNER_BECAME : BLX_OWNER_OUTSIDE;
    want_again(&wanted);
    return *owner == BLX_OWNER_BECAME ? 0 : blx_owner_leave(BLX_OWNER_BECAME, err);
}

int blx_owner_leave(enum blx_owner owner, struct blx_error *err)
{
    if (owner != BLX_OWNER_BECAME)
        return 0;
    const struct last_signal wanted = note_last_signal();
    int rc = seteuid(0) == 0 && setegid(0) == 0 ? 0 : -errno;
    want_again(&wanted);
    return rc < 0 ? blx_error_errno(err, rc, "cannot act as root again") : 0;
}

int blx_owner_step_out(struct blx_owner_errand *errand, struct blx_error *err)
{
    *errand = (struct blx_owner_errand){geteuid(), getegid()};
    if (getuid() != 0 || errand->uid == 0)
        return 0;
    return blx_owner_leave(BLX_OWNER_BECAME, err);
}

int blx_owner_step_back(const struct blx_owner_errand *errand, struct blx_error *err)
{
    if (errand->uid == geteuid())
        return 0;
    const struct last_signal wanted = note_last_signal();
    int rc = setegid(errand->gid) == 0 && seteuid(errand->uid) == 0 ? 0 : -errno;
    want_again(&wanted);
    return rc < 0 ? blx_error_errno(err, rc, "cannot act as user %u again", errand->uid) : 0;
}

int blx_owner_become(const char *data_dir, enum blx_owner *owner, struct blx_error *err)
{
    int rc = blx_owner_visit(data_dir, owner, err);
    if (rc < 0 || *owner != BLX_OWNER_BECAME)
        return rc;
    const uid_t uid = geteuid();
    const gid_t gid = getegid();
    rc = blx_owner_leave(*owner, err);
    const struct last_signal wanted = note_last_signal();
    if (rc == 0 && (setgid(gid) != 0 || setuid(uid) != 0))
        rc = blx_error_errno(err, -errno, "cannot act as the owner of '%s'", data_dir);
    want_again(&wanted);
    return rc;
}
