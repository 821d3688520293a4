/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/cage.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/program.h"
#include "base/text.h"
#include "files/blocks.h"
#include "proof/bars.h"

enum {
    STAND_IN_FD = 3,
    AWAY_FD = 64,                     /* from here on nobody's number is */
    CALL_MAX_BYTES = 256 << 20,       /* of one read or write */
    PIECE_BYTES = FILES_ASK_MAX_BYTES /* that is asked for at once */
};

/* What the program's process inherits. */
struct inherited {
    int stand_in_fd, output_fd, channel_fd;
};

struct run {
    const struct proof_cage *cage;
    struct proof_cage_end *end;
    pid_t pid; /* 0: none */
    int pid_fd, notify_fd, output_fd;
    struct stat stand_in; /* its device and inode tell it from other files */
    size_t said;
    uint8_t *piece; /* owned, PIECE_BYTES */
    bool overlay_failed;
};

/* Of the disk's size, and nobody can write to it: what it holds is never the disk's. */
static int make_stand_in(uint64_t size_bytes, struct blx_error *err)
{
    BLX_CLEANUP_FD int fd = memfd_create("disk", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)size_bytes) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        return blx_error_errno(err, -errno, "cannot make a file in memory");
    return blx_take_fd(&fd);
}

/* Sends an errno, or 0 and the descriptor. */
static void send_fd(int channel_fd, int status, int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec data = {&status, sizeof(status)};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    if (status == 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(int));
    }
    sendmsg(channel_fd, &message, MSG_NOSIGNAL);
}

/* 1: it came; 0: the other side is gone, which is what a program that began looks like; -errno. */
static int receive_fd(int channel_fd, int *fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    int status = 0;
    struct iovec data = {&status, sizeof(status)};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    ssize_t got;
    do
        got = recvmsg(channel_fd, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return got < 0 ? -errno : 0;
    if (got != sizeof(status) || status != 0)
        return got == sizeof(status) && status < 0 ? status : -EPROTO;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header == NULL || header->cmsg_type != SCM_RIGHTS)
        return -EPROTO;
    memcpy(fd, CMSG_DATA(header), sizeof(int));
    return 1;
}

/* The descriptors 0, 1, ...; the channel keeps the first free one. */
static int lay_out(const struct proof_cage *cage, const struct inherited *inherited,
                   int *channel_fd)
{
    int wanted[STAND_IN_FD + 1 + PROOF_CAGE_MAX_INPUTS + 1];
    size_t count = 0;
    wanted[count++] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    wanted[count++] = inherited->output_fd;
    wanted[count++] = inherited->output_fd;
    wanted[count++] = inherited->stand_in_fd;
    for (size_t i = 0; i < cage->input_count; i++)
        wanted[count++] = cage->inputs[i];
    wanted[count++] = inherited->channel_fd;
    for (size_t i = 0; i < count; i++) {
        wanted[i] = fcntl(wanted[i], F_DUPFD_CLOEXEC, AWAY_FD);
        if (wanted[i] < 0)
            return -errno;
    }
    for (size_t i = 0; i < count; i++)
        if (dup2(wanted[i], (int)i) < 0)
            return -errno;
    *channel_fd = (int)count - 1;
    blx_close_from((int)count);
    return fcntl(*channel_fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

static char *const environment[] = {(char[]){"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
                                    (char[]){"LC_ALL=C"}, NULL};

/* The search of the program needs no reads, so nobody has to answer yet. */
static void become_program(const char *const *words)
{
    static const char *const folders[] = {"/usr/sbin", "/usr/bin", "/sbin", "/bin"};
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
        if (blx_path_format(path, sizeof(path), NULL, "%s/%s", folders[i], words[0]) == 0)
            execve(path, (char *const *)words, environment);
}

static _Noreturn void run_child(const struct proof_cage *cage, const struct inherited *inherited)
{
    int channel_fd = inherited->channel_fd, notify_fd = -1;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    uint64_t seconds = blx_deadline_left_ms(cage->deadline_ns) / 1000 + 1;
    int rc = lay_out(cage, inherited, &channel_fd);
    if (rc == 0)
        rc = proof_bars_close(seconds, &notify_fd);
    send_fd(channel_fd, rc, notify_fd);
    if (rc == 0) {
        close(notify_fd);
        become_program(cage->words);
        send_fd(channel_fd, errno != 0 ? -errno : -ENOENT, -1);
    }
    _exit(BLX_PROGRAM_SIGNALLED - 1);
}

/* 1: the descriptor leads to the stand-in, and *copy to the same open file; 0: to another one, or
 * nowhere; -errno if nobody can tell, because then the program would read zeros. */
static int look_at(const struct run *run, int fd, int *copy)
{
    struct stat st;
    *copy = (int)syscall(SYS_pidfd_getfd, run->pid_fd, fd, 0);
    if (*copy < 0)
        return errno == EBADF || errno == ESRCH ? 0 : -errno;
    if (fstat(*copy, &st) != 0)
        return -errno;
    return st.st_dev == run->stand_in.st_dev && st.st_ino == run->stand_in.st_ino;
}

/* Moves a piece between the program's memory and the disk. Its threads share their memory with the
 * process, whose number is not given to another one before we have waited for it. 0 or -errno. */
static int move_piece(struct run *run, bool writes, uint64_t address, size_t bytes,
                      uint64_t offset_bytes)
{
    struct blx_error cause = {0};
    struct iovec ours = {run->piece, bytes};
    struct iovec theirs = {(void *)(uintptr_t)address, bytes};
    const struct proof_cage *cage = run->cage;
    int rc;
    if (writes) {
        if (process_vm_readv(run->pid, &ours, 1, &theirs, 1, 0) != (ssize_t)bytes)
            return -EFAULT;
        rc = files_blocks_write(cage->blocks, cage->disk, run->piece, bytes, offset_bytes, &cause);
    } else {
        rc = cage->blocks->kind->read(cage->blocks, cage->disk, run->piece, bytes, offset_bytes,
                                      &cause);
        if (rc == 0 && process_vm_writev(run->pid, &ours, 1, &theirs, 1, 0) != (ssize_t)bytes)
            return -EFAULT;
    }
    if (rc < 0 && run->end->trouble.code == 0)
        blx_error_copy(&run->end->trouble, rc, &cause);
    if (rc < 0 && writes)
        run->overlay_failed = true;
    return rc < 0 ? -EIO : 0;
}

/* The call's result: bytes, or -errno. */
static int64_t move(struct run *run, const struct seccomp_notif *call, bool writes,
                    uint64_t offset_bytes)
{
    const uint64_t size_bytes = run->cage->size_bytes;
    uint64_t bytes = call->data.args[2], done = 0;
    if (writes && run->cage->access == PROOF_CAGE_READS)
        return -EROFS;
    if (bytes > CALL_MAX_BYTES)
        return -EINVAL;
    if (offset_bytes >= size_bytes)
        return writes ? -ENOSPC : 0;
    if (bytes > size_bytes - offset_bytes)
        bytes = size_bytes - offset_bytes;
    while (done < bytes) {
        size_t piece = bytes - done < PIECE_BYTES ? (size_t)(bytes - done) : PIECE_BYTES;
        int rc = move_piece(run, writes, call->data.args[1] + done, piece, offset_bytes + done);
        if (rc < 0)
            return rc;
        done += piece;
    }
    return (int64_t)done;
}

/* A read or write without an offset goes on from the open file's own. */
static int64_t move_on(struct run *run, const struct seccomp_notif *call, bool writes, int copy)
{
    off_t at = lseek(copy, 0, SEEK_CUR);
    int64_t moved = at < 0 ? -errno : move(run, call, writes, (uint64_t)at);
    if (moved > 0 && lseek(copy, at + moved, SEEK_SET) < 0)
        return -errno;
    return moved;
}

/* A file that is none of ours is the kernel's business. -errno: the program cannot go on. */
static int answer_call(struct run *run, const struct seccomp_notif *call,
                       struct seccomp_notif_resp *answer)
{
    BLX_CLEANUP_FD int copy = -1;
    const int number = call->data.nr;
    const bool writes = number == SCMP_SYS(write) || number == SCMP_SYS(pwrite64);
    *answer = (struct seccomp_notif_resp){.id = call->id};
    int rc = look_at(run, (int)call->data.args[0], &copy);
    if (rc <= 0) {
        answer->flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        return rc;
    }
    int64_t moved = number == SCMP_SYS(read) || number == SCMP_SYS(write)
                        ? move_on(run, call, writes, copy)
                        : move(run, call, writes, call->data.args[3]);
    answer->error = moved < 0 ? (int32_t)moved : 0;
    answer->val = moved < 0 ? 0 : moved;
    return 0;
}

/* The kernel wants zeros for what it fills. A program that was killed meanwhile asks no more. */
static int take_call(struct run *run, struct seccomp_notif *call, struct seccomp_notif_resp *answer)
{
    memset(call, 0, sizeof(*call));
    if (seccomp_notify_receive(run->notify_fd, call) < 0)
        return errno == ENOENT || errno == EINTR || errno == EAGAIN ? 0 : -errno;
    int rc = answer_call(run, call, answer);
    if (rc == 0)
        seccomp_notify_respond(run->notify_fd, answer);
    return rc;
}

/* False: nothing will come any more. What has no room is dropped. */
static bool take_output(struct run *run)
{
    char rest[1024];
    size_t room = sizeof(run->end->said) - 1 - run->said;
    ssize_t got = read(run->output_fd, room > 0 ? run->end->said + run->said : rest,
                       room > 0 ? room : sizeof(rest));
    if (got > 0 && room > 0)
        run->said += (size_t)got;
    return got > 0 || (got < 0 && errno == EINTR);
}

enum { POLL_NOTIFY, POLL_OUTPUT, POLL_END, POLL_WAKE, POLL_COUNT };

/* Whether the program may go on. */
static int check_limits(const struct run *run, const struct pollfd *wake, struct blx_error *err)
{
    if (wake->revents != 0)
        return blx_error_set(err, -EINTR, "stopped by a signal");
    if (blx_deadline_left_ms(run->cage->deadline_ns) == 0)
        return blx_error_set(err, -ETIME, "'%s' took too long", run->cage->words[0]);
    return 0;
}

static int follow(struct run *run, struct seccomp_notif *call, struct seccomp_notif_resp *answer,
                  struct blx_error *err)
{
    struct pollfd pollers[POLL_COUNT] = {
        [POLL_NOTIFY] = {.fd = run->notify_fd, .events = POLLIN},
        [POLL_OUTPUT] = {.fd = run->output_fd, .events = POLLIN},
        [POLL_END] = {.fd = run->pid_fd, .events = POLLIN},
        [POLL_WAKE] = {.fd = run->cage->wake_fd, .events = POLLIN}};
    while (pollers[POLL_END].revents == 0) {
        int rc = 0;
        if (poll(pollers, POLL_COUNT, blx_deadline_poll_ms(run->cage->deadline_ns)) < 0) {
            if (errno != EINTR)
                return blx_error_errno(err, -errno, "cannot wait for '%s'", run->cage->words[0]);
            continue;
        }
        if (pollers[POLL_NOTIFY].revents == POLLIN)
            rc = take_call(run, call, answer);
        else if (pollers[POLL_NOTIFY].revents != 0)
            pollers[POLL_NOTIFY].fd = -1;
        if (rc < 0)
            return blx_error_errno(err, rc, "cannot answer '%s'", run->cage->words[0]);
        if (pollers[POLL_OUTPUT].revents != 0 && !take_output(run))
            pollers[POLL_OUTPUT].fd = -1;
        rc = check_limits(run, &pollers[POLL_WAKE], err);
        if (rc < 0)
            return rc;
    }
    while (take_output(run))
        ;
    return 0;
}

static int start(struct run *run, struct blx_error *err)
{
    int output[2] = {-1, -1}, channel[2] = {-1, -1};
    BLX_CLEANUP_FD int stand_in = make_stand_in(run->cage->size_bytes, err);
    if (stand_in < 0)
        return stand_in;
    int rc = fstat(stand_in, &run->stand_in) != 0 || pipe2(output, O_CLOEXEC) != 0 ||
                     socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) != 0
                 ? -errno
                 : 0;
    run->output_fd = output[0];
    BLX_CLEANUP_FD int ours = channel[0];
    const struct inherited inherited = {stand_in, output[1], channel[1]};
    pid_t pid = rc == 0 ? fork() : -1;
    if (pid == 0)
        run_child(run->cage, &inherited);
    if (rc == 0 && pid < 0)
        rc = -errno;
    blx_cleanup_fd(&output[1]);
    blx_cleanup_fd(&channel[1]);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot start '%s'", run->cage->words[0]);
    run->pid = pid;
    run->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
    rc = run->pid_fd < 0 ? -errno : receive_fd(ours, &run->notify_fd);
    if (rc == 1)
        rc = receive_fd(ours, &run->notify_fd) /* it closes its end if the program begins */;
    if (rc == -EACCES || rc == -ENOENT)
        return blx_error_set(err, -ENOENT, "cannot find the program '%s': install the package %s",
                             run->cage->words[0], run->cage->package);
    if (rc == -EOPNOTSUPP)
        return blx_error_set(err, rc,
                             "this kernel has no Landlock, so '%s' cannot be locked up: test as "
                             "root, or with a kernel that has it",
                             run->cage->words[0]);
    return rc < 0 ? blx_error_errno(err, rc, "cannot lock up '%s'", run->cage->words[0]) : 0;
}

static void run_done(struct run *run)
{
    if (run->pid > 0)
        blx_program_kill(run->pid);
    blx_cleanup_fd(&run->pid_fd);
    blx_cleanup_fd(&run->notify_fd);
    blx_cleanup_fd(&run->output_fd);
    free(run->piece);
}

int proof_cage_run(const struct proof_cage *cage, struct proof_cage_end *end, struct blx_error *err)
{
    BLX_CLEANUP(run_done)
    struct run run = {.cage = cage, .end = end, .pid_fd = -1, .notify_fd = -1, .output_fd = -1};
    struct seccomp_notif *call = NULL;
    struct seccomp_notif_resp *answer = NULL;
    memset(end, 0, sizeof(*end));
    run.piece = malloc(PIECE_BYTES);
    int rc = run.piece == NULL || cage->input_count > PROOF_CAGE_MAX_INPUTS ||
                     seccomp_notify_alloc(&call, &answer) != 0
                 ? blx_error_errno(err, -ENOMEM, "cannot start '%s'", cage->words[0])
                 : 0;
    if (rc == 0)
        rc = start(&run, err);
    if (rc == 0 && fcntl(run.output_fd, F_SETFL, O_NONBLOCK) != 0)
        rc = blx_error_errno(err, -errno, "cannot listen to '%s'", cage->words[0]);
    if (rc == 0)
        rc = follow(&run, call, answer, err);
    if (rc == 0) {
        end->status = blx_program_wait(run.pid);
        run.pid = 0;
    }
    seccomp_notify_free(call, answer);
    if (rc == 0 && run.overlay_failed)
        rc = blx_error_copy(err, end->trouble.code, &end->trouble);
    return rc;
}
