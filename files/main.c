/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blxrep-files: lists files of a checkpoint and copies them out. `blxrep dispatcher files` becomes
 * it. Three processes, none of which may do what the others do:
 *
 *     keeper   the data directory's owner: has the store and the keys, answers with blocks
 *       ▲│
 *       │▼
 *     reader   nobody, in a jail: reads the filesystem, which may be hostile; with --kernel it is
 *       │      root in namespaces of its own, where the kernel mounts the filesystem
 *       │
 *       │      For what only a kernel reads its place is taken by a virtual machine, and nbdkit is
 *       │      the keeper then (machine.h).
 *       │
 *       ▼ records
 *     writer   whoever called it: checks the records, prints them or writes them out
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "config/config.h"
#include "files/archive.h"
#include "files/blocks.h"
#include "files/changes.h"
#include "files/compare.h"
#include "files/jail.h"
#include "files/keeper.h"
#include "files/kernel.h"
#include "files/list.h"
#include "files/machine.h"
#include "files/places.h"
#include "files/probe.h"
#include "files/walk.h"

static const char usage[] =
    "blxrep dispatcher files --agent=ID --checkpoint=TIMESTAMP --data-dir=DIR [--device=/dev/X]\n"
    "       [--output=DIR|-] [--key=FILE ...] [--kernel | --kernel-dir=DIR] [--force] [--json]\n"
    "       [PATH ...]";
static const char pull_usage[] =
    "blxrep agent restore --files --dispatcher-addr=HOST:PORT --token-file=FILE|-\n"
    "       [--device=/dev/X] [--output=DIR|-] [--key=FILE ...] [--force] [PATH ...]";
static const char info_usage[] =
    "blxrep dispatcher info --compare=TIMESTAMP --checkpoint=TIMESTAMP --agent=ID --data-dir=DIR\n"
    "       [--key=FILE ...] [--json]";
static const char description[] = "Lists files of a checkpoint, or copies them out with --output.";

/* With --kernel the reader mounts here, in its own namespace: so all readers have the same place,
 * and it stays empty. */
#define KERNEL_FOLDER "/run/blxrep-files"

/* Descriptors of the reader in its jail. */
enum { JAIL_BLOCKS_FD = STDERR_FILENO + 1, JAIL_RECORDS_FD, JAIL_PROBE_FD, JAIL_FDS = 3 };

enum { TOKEN_BYTES = 512 };

struct job {
    const struct blx_config *config;
    enum files_task task;
    pid_t reader, keeper; /* 0: not started */
    int records_fd;
    struct files_receiver *receiver;
    struct files_archive *archive;
    struct files_listing listing;
    struct files_changes_print changes;
    uint64_t problems;
    int verdict_fd; /* -1: none; the virtual machine's end, as a struct blx_error */
    int folder_fd;  /* where we were called, which an output to a folder leaves */
};

static volatile sig_atomic_t stopped;

static void stop(int signal_number)
{
    stopped = signal_number;
}

static int fail(const struct blx_error *err)
{
    fprintf(stderr, "blxrep: %s\n", err->message);
    return BLX_EXIT_FAILED;
}

/* What comes from the reader is foreign. */
static void note(const char *text)
{
    char clean[FILES_PATH_BYTES];
    blx_text_set(clean, text);
    blx_text_clean(clean);
    fprintf(stderr, "blxrep: %s\n", clean);
}

static void problem(struct job *job, const char *text)
{
    job->problems++;
    note(text);
}

/* A reader takes as many bytes, which is less than a pipe writes in one piece. */
static void tell(int fd, const struct blx_error *err)
{
    while (write(fd, err, sizeof(*err)) < 0 && errno == EINTR)
        ;
}

static bool makes_tar(const struct blx_config *config)
{
    return config->output != NULL && strcmp(config->output, "-") == 0;
}

static enum files_task task_of(const struct blx_config *config)
{
    if (config->compare != NULL)
        return FILES_COMPARE;
    if (config->output == NULL)
        return FILES_LIST;
    return makes_tar(config) ? FILES_COPY_PATHS : FILES_COPY;
}

/* -EINVAL is a usage error. */
static int check_request(const struct blx_config *config, struct blx_error *err)
{
    if (config->kernel && geteuid() != 0)
        return blx_error_set(err, -EINVAL, "--kernel mounts filesystems, so only root can use it");
    if (config->device_count > 1)
        return blx_error_set(err, -EINVAL, "--device names one filesystem here");
    if (config->output != NULL && config->json)
        return blx_error_set(err, -EINVAL, "--json lists, and --output copies: give one of them");
    if (config->force && (config->output == NULL || makes_tar(config)))
        return blx_error_set(err, -EINVAL,
                             "--force replaces what lies in a folder: name it with --output");
    if (config->output != NULL && config->path_count == 0)
        return blx_error_set(err, -EINVAL,
                             "--output needs a PATH: '/' is everything on that filesystem");
    if (makes_tar(config) && isatty(STDOUT_FILENO) == 1)
        return blx_error_set(err, -EINVAL,
                             "--output=- writes a tar archive, and the standard output is a "
                             "terminal: send it to a file or a program");
    return 0;
}

static int look_around(struct files_source *source, struct files_probe *probe,
                       const struct job *job, struct files_sender *sender, struct blx_error *err)
{
    static char root[] = "/";
    char *everything[] = {root};
    const struct blx_config *config = job->config;
    struct files_places *places = NULL;
    if (job->task == FILES_COMPARE)
        return files_compare(source, probe, sender, err);
    const char *device = config->device_count > 0 ? config->devices[0] : NULL;
    int rc = files_places_open(source, probe, device, &places, err);
    bool none = config->path_count == 0;
    if (rc == 0)
        rc = files_walk(places, job->task, none ? everything : config->paths,
                        none ? 1 : config->path_count, sender, err);
    files_places_close(places);
    return rc;
}

/* Tells its failure as a record, if somebody still listens. */
static void read_filesystem(const struct job *job, struct files_source *source,
                            struct files_probe *probe, int records_fd)
{
    struct files_sender sender;
    struct blx_error err = {0};
    if (files_sender_init(&sender, records_fd) < 0)
        return;
    int rc = look_around(source, probe, job, &sender, &err);
    if (rc < 0)
        files_send_text(&sender,
                        rc == FILES_ONLY_A_KERNEL ? FILES_RECORD_KERNEL : FILES_RECORD_FAILED,
                        err.message);
    files_sender_done(&sender);
}

/* With --kernel. The exit code, or in the parent of the one that did the work, its exit code. */
static int run_kernel_reader(const struct job *job, int blocks_fd, int records_fd)
{
    struct files_probe *probe = NULL;
    struct files_source *blocks = NULL, *source = NULL;
    struct blx_error err = {0};
    struct files_sender sender;
    int rc = files_sender_init(&sender, records_fd);
    if (rc == 0)
        rc = files_kernel_enter(&err);
    if (rc > 0)
        return rc - 1;
    if (rc == 0) {
        blocks = files_blocks_new(blocks_fd);
        rc = blocks == NULL ? -ENOMEM : files_probe_new(JAIL_PROBE_FD, &probe, &err);
    }
    if (rc == 0)
        rc = files_kernel_start(job->config, blocks, KERNEL_FOLDER, &source, &err);
    if (rc == 0)
        rc = look_around(source, probe, job, &sender, &err);
    if (rc < 0)
        files_send_text(&sender, FILES_RECORD_FAILED, err.message);
    return rc < 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}

static _Noreturn void run_reader(const struct job *job, int blocks_fd, int records_fd)
{
    struct files_probe *probe = NULL;
    struct blx_error err = {0};
    /* Away from the number that the probe has, in the jail and before. */
    int fds[JAIL_FDS] = {fcntl(blocks_fd, F_DUPFD_CLOEXEC, JAIL_PROBE_FD + 1),
                         fcntl(records_fd, F_DUPFD_CLOEXEC, JAIL_PROBE_FD + 1), JAIL_PROBE_FD};
    if (job->config->kernel)
        _exit(run_kernel_reader(job, fds[0], fds[1]));
    int rc = fds[0] < 0 || fds[1] < 0 ? -errno : files_probe_new(JAIL_PROBE_FD, &probe, &err);
    if (rc == 0)
        rc = files_jail_enter(fds, JAIL_FDS, &err);
    struct files_source *source = rc == 0 ? files_blocks_new(JAIL_BLOCKS_FD) : NULL;
    if (source == NULL)
        fail(&err);
    else
        read_filesystem(job, source, probe, JAIL_RECORDS_FD);
    _exit(source == NULL ? BLX_EXIT_FAILED : BLX_EXIT_OK); /* nothing of the parent's is undone */
}

static int prepare_kernel(const struct job *job, struct blx_error *err)
{
    if (!job->config->kernel)
        return 0;
    note("this host's kernel reads the server's filesystem: if the server was broken into, it can "
         "harm this host");
    if (mkdir(KERNEL_FOLDER, 0700) != 0 && errno != EEXIST)
        return blx_error_errno(err, -errno, "cannot make '%s'", KERNEL_FOLDER);
    return 0;
}

static int start_reader(struct job *job, int *blocks_fd, struct blx_error *err)
{
    int sockets[2] = {-1, -1}, pipes[2] = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
        return blx_error_errno(err, -errno, "cannot start the reader");
    if (pipe2(pipes, O_CLOEXEC) != 0) {
        close(sockets[0]);
        close(sockets[1]);
        return blx_error_errno(err, -errno, "cannot start the reader");
    }
    fcntl(pipes[1], F_SETPIPE_SZ, FILES_DATA_MAX_BYTES); /* fewer switches; fine without */
    pid_t pid = fork();
    if (pid == 0)
        run_reader(job, sockets[1], pipes[1]);
    int rc = pid < 0 ? -errno : 0;
    close(sockets[1]);
    close(pipes[1]);
    *blocks_fd = sockets[0];
    job->records_fd = pipes[0];
    job->reader = pid > 0 ? pid : 0;
    return rc < 0 ? blx_error_errno(err, rc, "cannot start the reader") : 0;
}

/* In the process that has the virtual machine. */
static _Noreturn void run_machine(const struct job *job, int records_fd, int verdict_fd)
{
    struct blx_error err = {0};
    struct files_machine *machine = NULL;
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    int rc = prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || fchdir(job->folder_fd) != 0
                 ? blx_error_errno(&err, -errno, "cannot start a virtual machine")
                 : files_machine_start(job->config, job->task, records_fd, &machine, &err);
    tell(verdict_fd, &err); /* it begins, or not */
    if (rc == 0) {
        files_machine_follow(machine, &err);
        tell(verdict_fd, &err);
    }
    files_machine_free(machine);
    _exit(BLX_EXIT_FAILED);
}

static int start_machine(struct job *job, struct blx_error *err)
{
    int records[2] = {-1, -1}, verdict[2] = {-1, -1};
    pid_t pid = -1;
    if (pipe2(records, O_CLOEXEC) == 0 && pipe2(verdict, O_CLOEXEC) == 0)
        pid = fork();
    if (pid == 0) {
        close(records[0]);
        close(verdict[0]);
        run_machine(job, records[1], verdict[1]);
    }
    int rc = pid < 0 ? -errno : 0;
    blx_cleanup_fd(&records[1]);
    blx_cleanup_fd(&verdict[1]);
    job->records_fd = records[0];
    job->verdict_fd = verdict[0];
    job->reader = pid > 0 ? pid : 0;
    return rc < 0 ? blx_error_errno(err, rc, "cannot start a virtual machine") : 0;
}

/* Whole, and without spaces around it: `blxrep` has put it there. */
static int read_token(const struct job *job, char token[TOKEN_BYTES], struct blx_error *err)
{
    size_t have = 0;
    ssize_t got = 1;
    token[0] = '\0';
    if (!job->config->files)
        return 0;
    while (have + 1 < TOKEN_BYTES && got > 0) {
        got = read(STDIN_FILENO, token + have, TOKEN_BYTES - 1 - have);
        have += got > 0 ? (size_t)got : 0;
    }
    token[have] = '\0';
    return got == 0 ? 0 : blx_error_set(err, -EINVAL, "cannot read the token");
}

/* The token lies in the keeper's memory alone, once it is there. */
static int start_keeper(struct job *job, int blocks_fd, int *ready_fd, struct blx_error *err)
{
    char token[TOKEN_BYTES];
    int rc = read_token(job, token, err);
    if (rc == 0)
        rc = files_keeper_start(
            &(struct files_keeper_start){.config = job->config,
                                         .token = job->config->files ? token : NULL,
                                         .blocks_fd = blocks_fd,
                                         .closed_fd = job->records_fd},
            &job->keeper, ready_fd, err);
    OPENSSL_cleanse(token, sizeof(token));
    return rc;
}

/* Takes what a child of ours tells of itself. False: it ended before, or we are stopped. */
static bool hear(int fd, struct blx_error *told)
{
    ssize_t got;
    do
        got = read(fd, told, sizeof(*told));
    while (got < 0 && errno == EINTR && stopped == 0);
    told->message[sizeof(told->message) - 1] = '\0';
    return got == (ssize_t)sizeof(*told);
}

static int open_output(struct job *job, struct blx_error *err)
{
    const struct blx_config *config = job->config;
    enum files_existing existing = config->force ? FILES_EXISTING_REPLACE : FILES_EXISTING_REFUSE;
    if (job->task == FILES_COMPARE) {
        files_changes_begin(&job->changes, stdout,
                            config->json ? FILES_LISTING_JSON : FILES_LISTING_TEXT);
        return 0;
    }
    if (job->task == FILES_LIST) {
        files_listing_begin(&job->listing, stdout,
                            config->json ? FILES_LISTING_JSON : FILES_LISTING_TEXT);
        return 0;
    }
    return job->task == FILES_COPY_PATHS
               ? files_archive_to_tar(STDOUT_FILENO, &job->archive, err)
               : files_archive_to_folder(config->output, existing, &job->archive, err);
}

/* A file that was not made as it was is told, and the next one comes. */
static int judge(struct job *job, int rc, struct blx_error *told, struct blx_error *err)
{
    if (rc < 0)
        return blx_error_copy(err, rc, told);
    if (rc > 0)
        problem(job, told->message);
    return 0;
}

static int take_copied(struct job *job, const struct files_record *record, struct blx_error *err)
{
    struct blx_error told = {0};
    switch (record->kind) {
    case FILES_RECORD_TOP:
        return files_archive_expect(job->archive, record->text, err);
    case FILES_RECORD_ENTRY:
        return judge(job, files_archive_add(job->archive, &record->entry, &told), &told, err);
    case FILES_RECORD_DATA:
        return files_archive_write(job->archive, record->offset_bytes, record->data, record->bytes,
                                   err);
    case FILES_RECORD_END:
        return judge(job, files_archive_finish(job->archive, &told), &told, err);
    default:
        return blx_error_set(err, -EBADMSG,
                             "the reader of the filesystem lists in place of copying");
    }
}

static int take_listed(struct job *job, const struct files_record *record, struct blx_error *err)
{
    if (record->kind == FILES_RECORD_HEADING || record->kind == FILES_RECORD_ENTRY) {
        files_listing_add(&job->listing, record);
        return 0;
    }
    if (record->kind != FILES_RECORD_END)
        return blx_error_set(err, -EBADMSG,
                             "the reader of the filesystem copies in place of listing");
    int rc = files_listing_end(&job->listing);
    return rc < 0 ? blx_error_errno(err, rc, "cannot print the list") : 0;
}

static int take_compared(struct job *job, const struct files_record *record, struct blx_error *err)
{
    if (record->kind == FILES_RECORD_CHANGES || record->kind == FILES_RECORD_CHANGED) {
        files_changes_add(&job->changes, record);
        return 0;
    }
    if (record->kind != FILES_RECORD_END)
        return blx_error_set(err, -EBADMSG,
                             "the reader of the filesystem lists in place of comparing");
    int rc = files_changes_end(&job->changes);
    return rc < 0 ? blx_error_errno(err, rc, "cannot print what was written") : 0;
}

/* 1: that was all. */
static int take(struct job *job, const struct files_record *record, struct blx_error *err)
{
    char clean[FILES_PATH_BYTES];
    switch (record->kind) {
    case FILES_RECORD_NOTE:
        note(record->text);
        return 0;
    case FILES_RECORD_PROBLEM:
        problem(job, record->text);
        return 0;
    case FILES_RECORD_FAILED:
    case FILES_RECORD_KERNEL:
        blx_text_set(clean, record->text);
        blx_text_clean(clean);
        return blx_error_set(err, record->kind == FILES_RECORD_KERNEL ? FILES_ONLY_A_KERNEL : -EIO,
                             "%s", clean);
    default:
        break;
    }
    int rc = job->task == FILES_COMPARE ? take_compared(job, record, err)
             : job->task == FILES_LIST  ? take_listed(job, record, err)
                                        : take_copied(job, record, err);
    return rc == 0 && record->kind == FILES_RECORD_END ? 1 : rc;
}

static int take_all(struct job *job, struct blx_error *err)
{
    struct files_record record;
    int rc = 0;
    job->receiver = files_receiver_new(job->records_fd);
    if (job->receiver == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot take what the reader says");
    while (rc == 0 && stopped == 0) {
        rc = files_receive(job->receiver, &record, err);
        if (rc == 0)
            rc = take(job, &record, err);
    }
    if (rc <= 0 && stopped != 0) {
        blx_error_clear(err);
        return blx_error_set(err, -EINTR, "stopped by a signal");
    }
    return rc < 0 ? rc : 0;
}

static int reap(pid_t pid)
{
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

/* Whether they ended well only matters if something was missing. */
static void end_children(struct job *job, int rc, struct blx_error *err)
{
    blx_cleanup_fd(&job->records_fd);
    if (rc < 0 && job->reader > 0 && rc != -ENODATA)
        kill(job->reader, SIGKILL);
    int status = reap(job->reader);
    reap(job->keeper);
    job->reader = job->keeper = 0;
    if (rc == -ENODATA && WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        blx_error_prefix(err, "it tried what it may not do, so the filesystem may be hostile");
    else if (rc == -ENODATA && WIFSIGNALED(status))
        blx_error_prefix(err, "it was killed by signal %d", WTERMSIG(status));
}

static int read_in_jail(struct job *job, struct blx_error *err)
{
    BLX_CLEANUP_FD int blocks_fd = -1;
    BLX_CLEANUP_FD int ready_fd = -1;
    int rc = start_reader(job, &blocks_fd, err);
    if (rc == 0)
        rc = start_keeper(job, blocks_fd, &ready_fd, err);
    if (blocks_fd >= 0)
        close(blx_take_fd(&blocks_fd)); /* the keeper's alone, so that its end is seen */
    if (rc == 0)
        rc = files_keeper_await(ready_fd, &stopped, err);
    if (rc == 0)
        rc = open_output(job, err);
    if (rc == 0)
        rc = take_all(job, err);
    end_children(job, rc, err);
    return rc;
}

/* Until it begins. `reason` says what only a kernel reads. */
static int await_machine(const struct job *job, const struct blx_error *reason,
                         struct blx_error *err)
{
    struct blx_error told = {0};
    char text[sizeof(reason->message) + 64];
    bool heard = hear(job->verdict_fd, &told);
    if (stopped != 0)
        return blx_error_set(err, -EINTR, "stopped by a signal");
    if (!heard || told.code < 0)
        return blx_error_set(err, -ECHILD,
                             "%s: the virtual machine for that cannot be started: %s; or, as root, "
                             "--kernel has this host's kernel do so, if you trust that server",
                             reason->message, heard ? told.message : "it was killed");
    snprintf(text, sizeof(text), "%s: a small virtual machine does so, in some seconds",
             reason->message);
    note(text);
    return 0;
}

/* Its process knows better than the records why they have no end. */
static int judge_machine(const struct job *job, int rc, struct blx_error *err)
{
    struct blx_error told = {0};
    if (!hear(job->verdict_fd, &told) || told.code >= 0)
        return rc;
    blx_error_clear(err);
    return blx_error_copy(err, told.code, &told);
}

/* Nothing was written yet. */
static int read_in_machine(struct job *job, const struct blx_error *reason, struct blx_error *err)
{
    files_receiver_free(job->receiver);
    job->receiver = NULL;
    int rc = start_machine(job, err);
    if (rc == 0)
        rc = await_machine(job, reason, err);
    if (rc == 0)
        rc = take_all(job, err);
    if (rc == -ENODATA)
        rc = judge_machine(job, rc, err);
    if (job->reader > 0)
        kill(job->reader, SIGKILL); /* if it has told all, it would only be switched off */
    end_children(job, rc, err);
    blx_cleanup_fd(&job->verdict_fd);
    return rc;
}

static int run_job(struct job *job, struct blx_error *err)
{
    struct blx_error reason = {0};
    int rc = prepare_kernel(job, err);
    job->folder_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (rc == 0 && job->folder_fd < 0)
        rc = blx_error_errno(err, -errno, "cannot open the current folder");
    if (rc == 0)
        rc = read_in_jail(job, &reason);
    if (rc == FILES_ONLY_A_KERNEL && job->config->files)
        return blx_error_set(err, rc,
                             "%s: `blxrep dispatcher files` on the dispatcher's host can have a "
                             "virtual machine do so, or restore the disk",
                             reason.message);
    if (rc == FILES_ONLY_A_KERNEL && !job->config->kernel)
        return read_in_machine(job, &reason, err);
    return rc < 0 && reason.code != 0 ? blx_error_copy(err, rc, &reason) : rc;
}

static void sum_up(const struct job *job)
{
    if (job->archive != NULL)
        fprintf(stderr, "blxrep: %llu files and folders were copied%s\n",
                (unsigned long long)files_archive_count(job->archive),
                job->problems > 0 ? "; not all is as it was, see above" : "");
}

static int run(const struct blx_config *config)
{
    struct job job = {.config = config,
                      .task = task_of(config),
                      .records_fd = -1,
                      .verdict_fd = -1,
                      .folder_fd = -1};
    struct blx_error err = {0};
    const struct sigaction action = {.sa_handler = stop}; /* interrupts a read */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    int rc = run_job(&job, &err);
    if (rc < 0)
        fail(&err);
    else
        sum_up(&job);
    files_receiver_free(job.receiver);
    files_archive_free(job.archive);
    blx_cleanup_fd(&job.folder_fd);
    return rc < 0 || job.problems > 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}

enum caller { CALLER_FILES, CALLER_PULL, CALLER_INFO };

/* `blxrep agent restore --files` and `blxrep dispatcher info --compare` become this program. */
static enum caller caller_of(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--files", strlen("--files")) == 0)
            return CALLER_PULL;
        if (strncmp(argv[i], "--compare", strlen("--compare")) == 0)
            return CALLER_INFO;
    }
    return CALLER_FILES;
}

int main(int argc, char **argv)
{
    static const struct blx_config_program programs[] = {
        [CALLER_FILES] = {.name = "blxrep-files",
                          .command = BLX_COMMAND_FILES,
                          .help = {.usage = usage, .description = description}},
        [CALLER_PULL] = {.name = "blxrep-files",
                         .command = BLX_COMMAND_PULL,
                         .help = {.usage = pull_usage, .description = description}},
        [CALLER_INFO] = {.name = "blxrep-files",
                         .command = BLX_COMMAND_INFO,
                         .help = {.usage = info_usage, .description = description}}};
    BLX_CLEANUP_CONFIG struct blx_config config = {0};
    struct blx_error err = {0};
    enum blx_config_result result;
    int rc = blx_config_begin(&programs[caller_of(argc, argv)], argc, argv, stdout, &config,
                              &result, &err);
    if (rc == 0 && result != BLX_CONFIG_RUN)
        return BLX_EXIT_OK;
    if (rc == 0)
        rc = check_request(&config, &err);
    if (rc < 0) {
        fail(&err);
        return BLX_EXIT_USAGE;
    }
    return run(&config);
}
