/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/bars.h"

#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/landlock.h"

enum { NOBODY = 65534 };

/* Enough for the check of a filesystem of many terabytes; not all of the machine. */
#define MEMORY_BYTES (UINT64_C(4) << 30)

static int become_nobody(void)
{
    if (geteuid() != 0)
        return 0;
    if (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 ||
        setresuid(NOBODY, NOBODY, NOBODY) != 0)
        return -errno;
    return 0;
}

static int limit(__rlimit_resource_t resource, rlim_t most)
{
    const struct rlimit limit = {most, most};
    return setrlimit(resource, &limit) != 0 ? -errno : 0;
}

static int limit_resources(uint64_t cpu_seconds)
{
    int rc = limit(RLIMIT_CORE, 0); /* blocks of an encrypted disk lie in its memory */
#if !defined(__SANITIZE_ADDRESS__)  /* which takes terabytes of addresses */
    if (rc == 0)
        rc = limit(RLIMIT_AS, MEMORY_BYTES);
#endif
    if (rc == 0)
        rc = limit(RLIMIT_CPU, cpu_seconds);
    return rc;
}

static int hide_files(bool is_nobody)
{
    static const struct blx_landlock_place open_to_all[] = {
        {.path = "/usr"},
        {.path = "/lib"},
        {.path = "/lib64"},
        {.path = "/bin"},
        {.path = "/sbin"},
        {.path = "/etc"},
        /* e2fsck complains without it */
        {.path = "/dev/null", .access = BLX_LANDLOCK_WRITE}};
    int rc = blx_landlock_show_only(open_to_all, sizeof(open_to_all) / sizeof(open_to_all[0]));
    /* Nobody cannot come to the store either. */
    return rc == -EOPNOTSUPP && is_nobody ? 0 : rc;
}

/* What e2fsck, debugfs, xfs_repair and btrfs call, and what starts them. */
static const int allowed[] = {
    SCMP_SYS(access),
    SCMP_SYS(arch_prctl),
    SCMP_SYS(brk),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(close),
    SCMP_SYS(dup),
    SCMP_SYS(execve),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(fadvise64),
    SCMP_SYS(fcntl),
    SCMP_SYS(fdatasync),
    SCMP_SYS(fstat),
    SCMP_SYS(fsync),
    SCMP_SYS(futex),
    SCMP_SYS(getcwd),
    SCMP_SYS(getdents64),
    SCMP_SYS(getegid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getpid),
    SCMP_SYS(getrandom),
    SCMP_SYS(getrusage),
    SCMP_SYS(gettid),
    SCMP_SYS(getuid),
    SCMP_SYS(ioctl),
    SCMP_SYS(lseek),
    SCMP_SYS(lstat),
    SCMP_SYS(madvise),
    SCMP_SYS(membarrier),
    SCMP_SYS(mmap),
    SCMP_SYS(mprotect),
    SCMP_SYS(mremap),
    SCMP_SYS(munmap),
    SCMP_SYS(nanosleep),
    SCMP_SYS(newfstatat),
    SCMP_SYS(open),
    SCMP_SYS(openat),
    SCMP_SYS(prctl),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(rseq),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_yield),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(set_tid_address),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(stat),
    SCMP_SYS(statfs),
    SCMP_SYS(statx),
    SCMP_SYS(sysinfo),
    SCMP_SYS(uname),
    SCMP_SYS(umask),
};

/* Other ways to read a file, and everything else, are refused as if the kernel did not have them.
 */
static const int asked_about[] = {SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(pread64),
                                  SCMP_SYS(pwrite64)};

static int add_rules(scmp_filter_ctx filter)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof(allowed) / sizeof(allowed[0]); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; rc == 0 && i < sizeof(asked_about) / sizeof(asked_about[0]); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_NOTIFY, asked_about[i], 0);
    /* Threads, no processes. glibc goes back to clone if there is no clone3. */
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    /* To itself alone: it asks for the limits that it has. */
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1,
                              SCMP_A2(SCMP_CMP_EQ, 0, 0));
    /* The way of the descriptor that answers, which is closed when the program begins. */
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(sendmsg), 0);
    return rc;
}

static int filter_calls(int *notify_fd)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    int rc = filter == NULL ? -ENOMEM : add_rules(filter);
    if (rc == 0)
        rc = seccomp_load(filter);
    if (rc == 0) {
        rc = seccomp_notify_fd(filter);
        *notify_fd = rc;
    }
    seccomp_release(filter);
    return rc < 0 ? rc : 0;
}

int proof_bars_close(uint64_t cpu_seconds, int *notify_fd)
{
    bool is_root = geteuid() == 0;
    int rc = become_nobody();
    if (rc == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        rc = -errno;
    if (rc == 0)
        rc = limit_resources(cpu_seconds);
    if (rc == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        rc = -errno;
    if (rc == 0)
        rc = hide_files(is_root);
    return rc == 0 ? filter_calls(notify_fd) : rc;
}
