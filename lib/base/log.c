/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/notify.h"
#include "base/text.h"
#include "base/when.h"

enum { LINE_BYTES = 1024, KEPT_BYTES = 64 * 1024 };

static struct {
    pthread_mutex_t lock; /* guards everything below */
    enum blx_log_level level;
    enum blx_log_format format;
    const char *journal;
    bool holding;
    size_t kept_bytes; /* whole lines */
    unsigned dropped;  /* and not told yet */
    char kept[KEPT_BYTES];
} log_state = {.lock = PTHREAD_MUTEX_INITIALIZER,
               .level = BLX_LOG_INFO,
               .journal = "/run/systemd/journal/socket"};

/* $JOURNAL_STREAM is DEVICE:INODE of the stream to the journal. A program whose stderr was sent
 * elsewhere inherits it too, so it has to be compared. */
static bool is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char own[64];
    struct stat status;
    if (stream == NULL || fstat(STDERR_FILENO, &status) < 0)
        return false;
    snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    return strcmp(stream, own) == 0;
}

static const char *level_prefix(enum blx_log_level level)
{
    static const char *const journal[] = {"<0>", "<1>", "<2>", "<3>", "<4>", "<5>", "<6>", "<7>"};
    static const char *const plain[] = {"", "", "", "error: ", "warning: ", "", "", "debug: "};

    return is_journal() ? journal[level] : plain[level];
}

/* Whether stderr takes a line now. A pipe that does has room for PIPE_BUF bytes: more than one. */
static bool is_ready(void)
{
    struct pollfd poller = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&poller, 1, 0) > 0;
}

enum outcome { WRITTEN, NOT_NOW, LOST };

/* A line is written whole or not at all, except to a file that is full in the middle of it. */
static enum outcome write_line(const char *line, size_t length)
{
    if (!is_ready())
        return NOT_NOW;
    ssize_t written;
    do {
        written = send(STDERR_FILENO, line, length, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (written < 0 && errno == ENOTSOCK)
            written = write(STDERR_FILENO, line, length);
    } while (written < 0 && errno == EINTR);
    if (written < 0)
        return errno == EAGAIN ? NOT_NOW : LOST;
    return (size_t)written == length ? WRITTEN : LOST;
}

static void keep_line_locked(const char *line, size_t length)
{
    if (log_state.kept_bytes + length > sizeof(log_state.kept)) {
        log_state.dropped++;
        return;
    }
    memcpy(log_state.kept + log_state.kept_bytes, line, length);
    log_state.kept_bytes += length;
}

/* Tells how many lines are missing at this place. */
static void tell_dropped_locked(void)
{
    char line[128];
    if (log_state.dropped == 0)
        return;
    int length = snprintf(line, sizeof(line),
                          "%s%u log lines were dropped: nobody read them, or they could not be "
                          "written\n",
                          level_prefix(BLX_LOG_WARNING), log_state.dropped);
    if (write_line(line, (size_t)length) == WRITTEN)
        log_state.dropped = 0;
}

/* Writes the kept lines as far as they are taken. */
static void write_kept_locked(void)
{
    size_t done = 0;
    while (done < log_state.kept_bytes) {
        const char *line = log_state.kept + done;
        const char *end = memchr(line, '\n', log_state.kept_bytes - done);
        size_t length = (size_t)(end - line) + 1;
        enum outcome outcome = write_line(line, length);
        if (outcome == NOT_NOW)
            break;
        log_state.dropped += outcome == LOST;
        done += length;
    }
    log_state.kept_bytes -= done;
    memmove(log_state.kept, log_state.kept + done, log_state.kept_bytes);
    if (log_state.kept_bytes == 0)
        tell_dropped_locked();
}

static void put_line_locked(const char *line, size_t length)
{
    if (!log_state.holding)
        write_kept_locked();
    if (log_state.holding || log_state.kept_bytes > 0) {
        keep_line_locked(line, length);
        return;
    }
    enum outcome outcome = write_line(line, length);
    if (outcome == NOT_NOW)
        keep_line_locked(line, length);
    log_state.dropped += outcome == LOST;
}

void blx_log_begin(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
    signal(SIGXFSZ, SIG_IGN);
}

void blx_log_set_level(enum blx_log_level level)
{
    pthread_mutex_lock(&log_state.lock);
    log_state.level = level;
    pthread_mutex_unlock(&log_state.lock);
}

void blx_log_set_format(enum blx_log_format format)
{
    pthread_mutex_lock(&log_state.lock);
    log_state.format = format;
    pthread_mutex_unlock(&log_state.lock);
}

void blx_log_set_journal(const char *path)
{
    pthread_mutex_lock(&log_state.lock);
    log_state.journal = path;
    pthread_mutex_unlock(&log_state.lock);
}

static blx_timestamp now(void)
{
    return blx_timestamp_from_unix((int64_t)(blx_clock_realtime_ns() / BLX_NS_PER_S));
}

/* The line as JSON, without its end. */
static void format_json(enum blx_log_level level, const struct blx_log_about *about,
                        const char *message, char line[LINE_BYTES])
{
    static const char *const levels[] = {"emergency", "alert",  "critical", "error",
                                         "warning",   "notice", "info",     "debug"};
    char time[BLX_WHEN_TEXT_BYTES];
    FILE *out = fmemopen(line, LINE_BYTES - 1, "w");
    if (out == NULL)
        return;
    struct blx_json json = {.out = out, .one_line = true};
    blx_json_open(&json, NULL, '{');
    blx_json_string(&json, "time", blx_when_format(now(), BLX_ZONE_UTC, time));
    blx_json_string(&json, "level", levels[level]);
    if (about->agent != NULL)
        blx_json_string(&json, "agent", about->agent);
    if (about->event != NULL)
        blx_json_string(&json, "event", about->event);
    blx_json_string(&json, "message", message);
    blx_json_close(&json, '}');
    fclose(out);
    line[strcspn(line, "\n")] = '\0';
}

static void format_text(enum blx_log_level level, enum blx_log_format format, const char *message,
                        char line[LINE_BYTES])
{
    char time[BLX_WHEN_TEXT_BYTES] = "";
    if (format == BLX_LOG_TIMED && !is_journal())
        blx_when_format(now(), BLX_ZONE_LOCAL, time);
    size_t used = (size_t)snprintf(line, LINE_BYTES - 1, "%s%s%s", time, time[0] != '\0' ? " " : "",
                                   level_prefix(level));
    blx_text_copy(line + used, LINE_BYTES - 1 - used, message);
}

/* Hands the line over with its fields. False: the journal does not take it so. */
static bool send_fields(enum blx_log_level level, const struct blx_log_about *about,
                        const char *message, const char *journal)
{
    char entry[2 * LINE_BYTES];
    if (about->event == NULL || !is_journal())
        return false;
    snprintf(
        entry, sizeof(entry),
        "MESSAGE=%s\nPRIORITY=%d\nSYSLOG_IDENTIFIER=%s\n%s%s%sBLXREP_EVENT=%s\n%s%s%s", message,
        (int)level, program_invocation_short_name, about->agent != NULL ? "BLXREP_AGENT=" : "",
        about->agent != NULL ? about->agent : "", about->agent != NULL ? "\n" : "", about->event,
        about->message_id != NULL ? "MESSAGE_ID=" : "",
        about->message_id != NULL ? about->message_id : "", about->message_id != NULL ? "\n" : "");
    return blx_notify_socket(journal, entry) == 0;
}

static void log_line(enum blx_log_level level, const struct blx_log_about *about,
                     const char *message)
{
    char line[LINE_BYTES + 1] = "";
    pthread_mutex_lock(&log_state.lock);
    enum blx_log_format format = log_state.format;
    const char *journal = log_state.journal;
    bool wanted = level <= log_state.level;
    bool holding = log_state.holding;
    pthread_mutex_unlock(&log_state.lock);
    if (!wanted ||
        (format != BLX_LOG_JSON && !holding && send_fields(level, about, message, journal)))
        return;
    if (format == BLX_LOG_JSON)
        format_json(level, about, message, line);
    else
        format_text(level, format, message, line);
    size_t length = strlen(line);
    line[length++] = '\n';

    pthread_mutex_lock(&log_state.lock);
    put_line_locked(line, length);
    pthread_mutex_unlock(&log_state.lock);
}

__attribute__((format(printf, 3, 0))) static void log_formatted(enum blx_log_level level,
                                                                const struct blx_log_about *about,
                                                                const char *format, va_list args)
{
    char message[LINE_BYTES];
    if (vsnprintf(message, sizeof(message), format, args) < 0)
        return;
    blx_text_clean(message);
    log_line(level, about, message);
}

void blx_log(enum blx_log_level level, const char *format, ...)
{
    static const struct blx_log_about nothing = {.agent = NULL};
    va_list args;
    va_start(args, format);
    log_formatted(level, &nothing, format, args);
    va_end(args);
}

void blx_log_about(enum blx_log_level level, const struct blx_log_about *about, const char *format,
                   ...)
{
    va_list args;
    va_start(args, format);
    log_formatted(level, about, format, args);
    va_end(args);
}

void blx_log_hold(void)
{
    pthread_mutex_lock(&log_state.lock);
    log_state.holding = true;
    pthread_mutex_unlock(&log_state.lock);
}

void blx_log_release(void)
{
    pthread_mutex_lock(&log_state.lock);
    log_state.holding = false;
    write_kept_locked();
    pthread_mutex_unlock(&log_state.lock);
}
