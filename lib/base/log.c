/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

enum { LINE_BYTES = 1024, HELD_BYTES = 64 * 1024 };

static struct {
    pthread_mutex_t lock; /* guards everything below */
    enum blx_log_level level;
    bool holding;
    size_t held_bytes;
    unsigned held_dropped;
    char held[HELD_BYTES];
} log_state = {.lock = PTHREAD_MUTEX_INITIALIZER, .level = BLX_LOG_INFO};

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

static void write_out(const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t written = write(STDERR_FILENO, bytes, count);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return; /* there is nowhere to report it */
        bytes += written;
        count -= (size_t)written;
    }
}

static void hold_line(const char *line, size_t length)
{
    if (log_state.held_bytes + length > sizeof(log_state.held)) {
        log_state.held_dropped++;
        return;
    }
    memcpy(log_state.held + log_state.held_bytes, line, length);
    log_state.held_bytes += length;
}

void blx_log_set_level(enum blx_log_level level)
{
    pthread_mutex_lock(&log_state.lock);
    log_state.level = level;
    pthread_mutex_unlock(&log_state.lock);
}

void blx_log(enum blx_log_level level, const char *format, ...)
{
    char line[LINE_BYTES];
    int used = snprintf(line, sizeof(line), "%s", level_prefix(level));
    va_list args;
    va_start(args, format);
    int more = vsnprintf(line + used, sizeof(line) - (size_t)used - 1, format, args);
    va_end(args);
    if (more < 0)
        return;
    blx_text_clean(line + used);
    size_t length = strlen(line);
    line[length++] = '\n';

    pthread_mutex_lock(&log_state.lock);
    if (level <= log_state.level) {
        if (log_state.holding)
            hold_line(line, length);
        else
            write_out(line, length);
    }
    pthread_mutex_unlock(&log_state.lock);
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
    unsigned dropped = log_state.held_dropped;
    write_out(log_state.held, log_state.held_bytes);
    log_state.holding = false;
    log_state.held_bytes = 0;
    log_state.held_dropped = 0;
    pthread_mutex_unlock(&log_state.lock);
    if (dropped > 0)
        blx_log_warning("%u log lines were dropped while the log was held", dropped);
}
