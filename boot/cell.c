/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/cell.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/landlock.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int hide_files(const struct boot_cell *cell)
{
    const struct blx_landlock_place places[] = {
        {.path = "/usr"},
        {.path = "/lib"},
        {.path = "/lib64"},
        {.path = "/bin"},
        {.path = "/sbin"},
        {.path = "/etc"},
        {.path = "/dev/null", .access = BLX_LANDLOCK_WRITE},
        {.path = "/dev/urandom"},
        {.path = "/dev/kvm", .access = BLX_LANDLOCK_WRITE},
        {.fd = cell->files[0]},
        {.fd = cell->files[1]},
    };
    int rc = blx_landlock_show_only(places, COUNT(places));
    return rc == -EOPNOTSUPP ? 0 : rc;
}

/* What QEMU does without. Most of it changes files by their paths, which Landlock does not bound,
 * or reaches other processes of the same user; io_uring would be a way round this filter. QEMU's
 * own filter (-sandbox) forbids more, among that to start programs. */
static const int forbidden[] = {
    SCMP_SYS(truncate),
    SCMP_SYS(chmod),
    SCMP_SYS(fchmodat),
    SCMP_SYS(chown),
    SCMP_SYS(lchown),
    SCMP_SYS(fchownat),
    SCMP_SYS(setxattr),
    SCMP_SYS(lsetxattr),
    SCMP_SYS(removexattr),
    SCMP_SYS(lremovexattr),
    SCMP_SYS(utime),
    SCMP_SYS(utimes),
    SCMP_SYS(utimensat),
    SCMP_SYS(futimesat),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(pidfd_open),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(pidfd_send_signal),
    SCMP_SYS(kill),
    SCMP_SYS(tkill),
    SCMP_SYS(rt_sigqueueinfo),
    SCMP_SYS(rt_tgsigqueueinfo),
    SCMP_SYS(shmget),
    SCMP_SYS(msgget),
    SCMP_SYS(semget),
    SCMP_SYS(mq_open),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(add_key),
    SCMP_SYS(keyctl),
    SCMP_SYS(request_key),
    /* fchmodat2, setxattrat, removexattrat and file_setattr, which this library may not know. */
    452,
    463,
    466,
    469,
};

/* Who gets a signal when something happens to a descriptor: any process of the same user. */
static const scmp_datum_t of_owners[] = {F_SETOWN, F_SETSIG, F_SETOWN_EX};

static int forbid_owners(scmp_filter_ctx filter)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < COUNT(of_owners); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(fcntl), 1,
                              SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, of_owners[i]));
    return rc;
}

/* A datagram's socket reaches whoever it names, also one of a pair. */
static const int of_sockets[] = {SCMP_SYS(socket), SCMP_SYS(socketpair), SCMP_SYS(connect),
                                 SCMP_SYS(bind), SCMP_SYS(listen)};

static int forbid(scmp_filter_ctx filter, const int *calls, size_t count)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), calls[i], 0);
    return rc;
}

static int add_rules(scmp_filter_ctx filter, const struct boot_cell *cell)
{
    int rc = forbid(filter, forbidden, COUNT(forbidden));
    if (rc == 0 && cell->sockets == BOOT_CELL_NO_SOCKETS)
        rc = forbid(filter, of_sockets, COUNT(of_sockets));
    if (rc == 0)
        rc = forbid_owners(filter);
    /* Its own threads are woken by signals; its limits are its own. */
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(tgkill), 1,
                              SCMP_A0(SCMP_CMP_NE, (scmp_datum_t)getpid(), 0));
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prlimit64), 1,
                              SCMP_A0(SCMP_CMP_NE, 0, 0));
    return rc;
}

static int filter_calls(const struct boot_cell *cell)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int rc = filter == NULL ? -ENOMEM : add_rules(filter, cell);
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc;
}

int boot_cell_enter(const struct boot_cell *cell)
{
    int rc = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ? -errno : 0;
    if (rc == 0)
        rc = hide_files(cell);
    return rc == 0 ? filter_calls(cell) : rc;
}
