/* SPDX-License-Identifier: Apache-2.0 */
#include "store/restore/restore_convert.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/nbdkit_plugin.h"
#include "base/program.h"
#include "base/text.h"
#include "store/owner.h"
#include "store/restore/restore_output_private.h"

enum {
    SAID_BYTES = 640,  /* of the first line that a program says */
    WORD_BYTES = 64,   /* of a word made of numbers */
    TOLD_BYTES = 4096, /* read at once */
    FIRST_FD = 3,      /* of those that a program gets besides the standard ones */
    BLOCK_BYTES = 512, /* of st_blocks */
};

#define READERS "16" /* of qemu-img, which waits for as many frames at once */

static const char converter_mark[] = "qemu-img: ";

/* What the two say on their common standard error. Each says what is wrong before it lets go of the
 * other, so the first that speaks has the cause, and what the other says is a consequence: nbdkit's
 * first line, or qemu-img's last one, before which it tells what it gave up. */
struct said {
    char line[SAID_BYTES]; /* that is not complete */
    size_t bytes;
    char cause[SAID_BYTES]; /* "": nothing yet */
};

/* A conversion under way. */
struct conversion {
    const struct blx_restore_progress *progress; /* or NULL */
    uint64_t total_bytes;
    struct blx_restore_output output;
    int disk_fds[2];              /* nbdkit's end, qemu-img's end */
    int error_fds[2];             /* what both say: our end, theirs */
    int progress_fds[2];          /* what qemu-img has done: our end, its end */
    int key_fds[BLX_KEYRING_MAX]; /* of nbdkit */
    size_t key_count;
    pid_t server, converter; /* 0: none */
    struct said said;
    char percent[WORD_BYTES]; /* the last number that qemu-img has begun */
};

static void drop(int *fd)
{
    blx_cleanup_fd(fd);
    *fd = -1;
}

/* The programs hold their own. nbdkit ends with the last one of qemu-img's end. */
static void drop_their_ends(struct conversion *work)
{
    for (size_t i = 0; i < work->key_count; i++)
        drop(&work->key_fds[i]);
    work->key_count = 0;
    drop(&work->disk_fds[0]);
    drop(&work->disk_fds[1]);
    drop(&work->error_fds[1]);
    drop(&work->progress_fds[1]);
}

static void conversion_done(struct conversion *work)
{
    drop_their_ends(work);
    if (work->converter > 0)
        blx_program_kill(work->converter);
    if (work->server > 0)
        blx_program_kill(work->server);
    drop(&work->error_fds[0]);
    drop(&work->progress_fds[0]);
    blx_restore_output_done(&work->output);
}

static int open_channels(struct conversion *work, struct blx_error *err)
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, work->disk_fds) != 0 ||
        pipe2(work->error_fds, O_CLOEXEC) != 0 || pipe2(work->progress_fds, O_CLOEXEC) != 0)
        return blx_error_errno(err, -errno, "cannot connect nbdkit and qemu-img");
    return 0;
}

/* A key in a file that has no name, for whoever gets its descriptor. */
static int lend_key(struct conversion *work, const struct blx_key *key, struct blx_error *err)
{
    char text[BLX_KEY_PAPER_BYTES];
    int fd = memfd_create("blxrep-key", MFD_CLOEXEC);
    if (fd < 0)
        return blx_error_errno(err, -errno, "cannot lend nbdkit a key");
    work->key_fds[work->key_count++] = fd;
    blx_key_format_for_paper(key, text);
    int rc = blx_pwrite_full(fd, text, strlen(text), 0);
    OPENSSL_cleanse(text, sizeof(text));
    return rc < 0 ? blx_error_errno(err, rc, "cannot lend nbdkit a key") : 0;
}

static int lend_keys(struct conversion *work, const struct blx_keyring *keys, struct blx_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && keys != NULL && i < keys->count; i++)
        rc = lend_key(work, &keys->keys[i], err);
    return rc;
}

/* Both run as whoever has called: nbdkit's plugin becomes the owner of the store by itself, and
 * qemu-img writes where the caller may. */
static int start_as_caller(const struct blx_program *program, pid_t *pid, struct blx_error *err)
{
    struct blx_owner_errand errand;
    int rc = blx_owner_step_out(&errand, err);
    if (rc < 0)
        return rc;
    rc = blx_program_start(program, pid, err);
    int back = blx_owner_step_back(&errand, err);
    return rc < 0 ? rc : back;
}

static int start_server(struct conversion *work, struct blx_agent_store agent,
                        blx_timestamp checkpoint, const char *volume, const char *plugin,
                        struct blx_error *err)
{
    int fds[FIRST_FD + BLX_KEYRING_MAX] = {work->disk_fds[0], work->disk_fds[0],
                                           work->error_fds[1]};
    const char *words[8 + BLX_KEYRING_MAX] = {"nbdkit", "-s", plugin};
    char data_dir[PATH_MAX + 16], id[BLX_NAME_BYTES + 16], time[WORD_BYTES],
        name[BLX_NAME_BYTES + 16], keys[BLX_KEYRING_MAX][WORD_BYTES];
    size_t count = 3;
    snprintf(data_dir, sizeof(data_dir), "data-dir=%s", agent.store->data_dir);
    snprintf(id, sizeof(id), "agent=%s", agent.id);
    snprintf(time, sizeof(time), "checkpoint=%" PRIu64, checkpoint);
    snprintf(name, sizeof(name), "volume=%s", volume);
    words[count++] = data_dir;
    words[count++] = id;
    words[count++] = time;
    words[count++] = name;
    for (size_t i = 0; i < work->key_count; i++) {
        fds[FIRST_FD + i] = work->key_fds[i];
        snprintf(keys[i], WORD_BYTES, "key=/proc/self/fd/%zu", FIRST_FD + i);
        words[count++] = keys[i];
    }
    const struct blx_program nbdkit = {
        .words = words, .fds = fds, .fd_count = FIRST_FD + work->key_count, .package = "nbdkit"};
    return start_as_caller(&nbdkit, &work->server, err);
}

static int start_converter(struct conversion *work, enum blx_image_format format,
                           struct blx_error *err)
{
    const int fds[] = {-1, work->progress_fds[1], work->error_fds[1], work->disk_fds[1],
                       work->output.fd};
    const char *words[16] = {
        "qemu-img", "convert", "-p", "-m", READERS, "-O", blx_image_format_driver(format)};
    size_t count = 7;
    if (blx_image_format_options(format)[0] != '\0') {
        words[count++] = "-o";
        words[count++] = blx_image_format_options(format);
    }
    words[count++] = "json:{\"driver\":\"raw\",\"file\":{\"driver\":\"nbd\","
                     "\"server\":{\"type\":\"fd\",\"str\":\"3\"}}}";
    words[count++] = "/proc/self/fd/4";
    const struct blx_program qemu_img = {.words = words,
                                         .fds = fds,
                                         .fd_count = sizeof(fds) / sizeof(fds[0]),
                                         .package = "qemu-utils (Debian) or qemu-img (RPM)"};
    return start_as_caller(&qemu_img, &work->converter, err);
}

static bool is_converters(const char *line)
{
    return strncmp(line, converter_mark, sizeof(converter_mark) - 1) == 0;
}

/* Warnings are no cause. */
static void end_line(struct said *said)
{
    said->line[said->bytes] = '\0';
    said->bytes = 0;
    if (said->line[0] == '\0' || strstr(said->line, "warning:") != NULL)
        return;
    if (said->cause[0] == '\0' || (is_converters(said->cause) && is_converters(said->line)))
        blx_text_set(said->cause, said->line);
}

static void take_said(struct conversion *work, const char *text, size_t bytes)
{
    struct said *said = &work->said;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\n')
            end_line(said);
        else if (said->bytes + 1 < sizeof(said->line))
            said->line[said->bytes++] = text[i];
    }
}

static void report(const struct conversion *work, double percent)
{
    const struct blx_restore_progress *progress = work->progress;
    if (progress != NULL && progress->report != NULL && percent >= 0 && percent <= 100)
        progress->report(progress->arg, (uint64_t)((double)work->total_bytes * percent / 100),
                         work->total_bytes);
}

/* "    (41.25/100%)\r", again and again. */
static void take_progress(struct conversion *work, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        size_t used = strlen(work->percent);
        if (text[i] == '(')
            work->percent[0] = '\0';
        else if (text[i] == '/' && used > 0) {
            report(work, strtod(work->percent, NULL));
            work->percent[0] = '\0';
        } else if (used + 1 < sizeof(work->percent)) {
            work->percent[used] = text[i];
            work->percent[used + 1] = '\0';
        }
    }
}

static void listen_to(struct conversion *work, int *fd,
                      void (*take)(struct conversion *work, const char *text, size_t bytes))
{
    char text[TOLD_BYTES];
    ssize_t got = read(*fd, text, sizeof(text));
    if (got > 0)
        take(work, text, (size_t)got);
    else if (got == 0 || errno != EINTR)
        drop(fd);
}

/* Until both programs have ended. */
static int follow(struct conversion *work, struct blx_error *err)
{
    while (work->error_fds[0] >= 0 || work->progress_fds[0] >= 0) {
        struct pollfd pollers[] = {{.fd = work->error_fds[0], .events = POLLIN},
                                   {.fd = work->progress_fds[0], .events = POLLIN}};
        if (poll(pollers, 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            return blx_error_errno(err, -errno, "cannot wait for qemu-img");
        }
        if (pollers[0].revents != 0)
            listen_to(work, &work->error_fds[0], take_said);
        if (pollers[1].revents != 0)
            listen_to(work, &work->progress_fds[0], take_progress);
    }
    end_line(&work->said);
    return 0;
}

/* "nbdkit: blxrep.1: error: the frame ..." without what is of no use to a person. */
static const char *cause_of(struct said *said)
{
    static const char mark[] = "error: ";
    const char *after = strstr(said->cause, mark);
    blx_text_clean(said->cause);
    if (is_converters(said->cause))
        return said->cause + sizeof(converter_mark) - 1;
    return after != NULL ? after + sizeof(mark) - 1 : said->cause;
}

static int was_killed(int converter, int server, struct blx_error *err)
{
    bool first = converter > BLX_PROGRAM_SIGNALLED;
    int number = (first ? converter : server) - BLX_PROGRAM_SIGNALLED;
    return blx_error_set(err, -EIO, "%s was ended by signal %d (%s)", first ? "qemu-img" : "nbdkit",
                         number, strsignal(number));
}

static int judge(struct conversion *work, struct blx_error *err)
{
    int converter = blx_program_wait(work->converter);
    work->converter = 0;
    int server = blx_program_wait(work->server);
    work->server = 0;
    if (converter == 0 && server == 0)
        return 0;
    if (converter > BLX_PROGRAM_SIGNALLED || server > BLX_PROGRAM_SIGNALLED)
        return was_killed(converter, server, err); /* what was said is a consequence */
    if (work->said.cause[0] != '\0')
        return blx_error_set(err, -EIO, "%s", cause_of(&work->said));
    return blx_error_set(err, -EIO, "qemu-img ended with status %d, and nbdkit with %d", converter,
                         server);
}

static int run(struct conversion *work, struct blx_error *err)
{
    drop_their_ends(work);
    int rc = follow(work, err);
    return rc < 0 ? rc : judge(work, err);
}

static int check(const struct blx_restore_target *target, struct blx_error *err)
{
    struct stat st;
    blx_assert(target->losses == NULL);
    if ((target->flags & ~(unsigned)BLX_RESTORE_FORCE) != 0)
        return blx_error_set(err, -EINVAL,
                             "only a raw image can be brought up to date or continued: leave "
                             "--format out, or --delta and --resume");
    if (stat(target->path, &st) == 0 && S_ISBLK(st.st_mode))
        return blx_error_set(err, -EINVAL,
                             "'%s' is a device, which takes the disk as it is: leave --format out",
                             target->path);
    return 0;
}

static int convert(struct conversion *work, struct blx_agent_store agent, blx_timestamp checkpoint,
                   const char *volume, const struct blx_restore_target *target,
                   const struct blx_restore_conversion *conversion, struct blx_error *err)
{
    int rc = blx_restore_output_open(target, 0, &work->output, err);
    if (rc == 0)
        rc = open_channels(work, err);
    if (rc == 0)
        rc = lend_keys(work, target->keys, err);
    if (rc == 0)
        rc = start_server(work, agent, checkpoint, volume, conversion->plugin, err);
    if (rc == 0)
        rc = start_converter(work, conversion->format, err);
    return rc == 0 ? run(work, err) : rc;
}

static uint64_t size_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? (uint64_t)st.st_blocks * BLOCK_BYTES : 0;
}

int blx_restore_convert(struct blx_agent_store agent, blx_timestamp checkpoint, const char *volume,
                        const struct blx_restore_target *target,
                        const struct blx_restore_conversion *conversion,
                        const struct blx_restore_progress *progress, struct blx_error *err)
{
    BLX_CLEANUP(conversion_done)
    struct conversion work = {.progress = progress,
                              .total_bytes = conversion->total_bytes,
                              .output = {.fd = -1, .direct_fd = -1},
                              .disk_fds = {-1, -1},
                              .error_fds = {-1, -1},
                              .progress_fds = {-1, -1}};
    int rc = check(target, err);
    if (rc == 0)
        rc = blx_nbdkit_plugin_check(conversion->plugin, err);
    if (rc == 0)
        rc = convert(&work, agent, checkpoint, volume, target, conversion, err);
    if (rc == 0)
        rc = blx_restore_output_finish(&work.output, err);
    if (rc == 0 && target->written_bytes != NULL)
        *target->written_bytes = size_of(work.output.fd);
    if (rc < 0)
        blx_error_prefix(err, "cannot make a %s image of '%s' of the checkpoint %" PRIu64,
                         blx_image_format_name(conversion->format), volume, checkpoint);
    return rc;
}
