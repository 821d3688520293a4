/* SPDX-License-Identifier: Apache-2.0 */
#include "files/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/io.h"

enum { NOBODY = 65534, FIRST_FD = STDERR_FILENO + 1, MOST_FDS = 8 };

/* Enough for the largest filesystem's group descriptors; not all of the machine. */
#define MEMORY_BYTES (UINT64_C(2) << 30)

static int keep_only(const int *fds, size_t count)
{
    int moved[MOST_FDS];
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return -errno;
    for (size_t i = 0; i < count; i++) { /* away from the numbers that they will have */
        moved[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, FIRST_FD + MOST_FDS);
        if (moved[i] < 0)
            return -errno;
    }
    for (int standard = STDIN_FILENO; standard <= STDERR_FILENO; standard++)
        if (dup2(null, standard) < 0)
            return -errno;
    for (size_t i = 0; i < count; i++)
        if (dup2(moved[i], FIRST_FD + (int)i) < 0)
            return -errno;
    blx_close_from(FIRST_FD + (int)count);
    return 0;
}

static int become_nobody(void)
{
    if (geteuid() != 0)
        return 0;
    if (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 ||
        setresuid(NOBODY, NOBODY, NOBODY) != 0)
        return -errno;
    return 0;
}

static int limit(int resource, rlim_t most)
{
    struct rlimit limit;
    if (getrlimit((__rlimit_resource_t)resource, &limit) != 0)
        return -errno;
    if (most < limit.rlim_max)
        limit.rlim_max = most;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit((__rlimit_resource_t)resource, &limit) != 0 ? -errno : 0;
}

static int limit_resources(void)
{
    int rc = limit(RLIMIT_CORE, 0); /* blocks of an encrypted disk lie in its memory */
#if !defined(__SANITIZE_ADDRESS__)  /* which takes terabytes of addresses */
    if (rc == 0)
        rc = limit(RLIMIT_AS, MEMORY_BYTES);
#endif
    return rc;
}

static int filter_calls(void)
{
    static const int allowed[] = {
        SCMP_SYS(read),
        SCMP_SYS(write),
        SCMP_SYS(pread64),
        SCMP_SYS(pwrite64),
        SCMP_SYS(lseek),
        SCMP_SYS(fstat),
        SCMP_SYS(mmap),
        SCMP_SYS(munmap),
        SCMP_SYS(mremap),
        SCMP_SYS(madvise),
        SCMP_SYS(brk),
        SCMP_SYS(futex),
        SCMP_SYS(rt_sigreturn),
        SCMP_SYS(rt_sigprocmask),
        SCMP_SYS(getrandom),
        SCMP_SYS(clock_gettime),
        SCMP_SYS(fadvise64),
        SCMP_SYS(exit_group),
        SCMP_SYS(restart_syscall),
        SCMP_SYS(ftruncate),
        SCMP_SYS(sysinfo),
        /* qsort() */ SCMP_SYS(sigaltstack),
        SCMP_SYS(gettid), /* the sanitizers */
    };
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int rc = filter == NULL ? -ENOMEM : 0;
    for (size_t i = 0; rc == 0 && i < sizeof(allowed) / sizeof(allowed[0]); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc;
}

/* A parent that ended before this call is seen by the pipes, which are closed then. */
static int end_with_parent(void)
{
    return prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 ? -errno : 0;
}

int files_jail_enter(const int *fds, size_t count, struct blx_error *err)
{
    int rc = count > MOST_FDS ? -EINVAL : keep_only(fds, count);
    if (rc == 0)
        rc = become_nobody();
    if (rc == 0)
        rc = end_with_parent();
    if (rc == 0 && prctl(PR_SET_DUMPABLE, 0) != 0)
        rc = -errno;
    if (rc == 0)
        rc = limit_resources();
    if (rc == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        rc = -errno;
    if (rc == 0)
        rc = filter_calls();
    return rc < 0 ? blx_error_errno(err, rc, "cannot lock up the reader of the filesystem") : 0;
}
