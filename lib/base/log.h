/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemons' log, on stderr: one line for each thing worth knowing. If stderr is the journal
 * ($JOURNAL_STREAM names it) a line begins with the priority prefix that journald understands,
 * otherwise with the time, in a daemon, and a plain "level: ". As JSON it is an object in one line,
 * wherever it goes. lib itself never logs; it returns errors.
 *
 * Nothing here waits for whoever reads the log. If a pipe, a socket or a terminal takes no more,
 * lines are kept in a fixed buffer until it does, in their order. Those that do not fit are counted
 * and dropped, and so are those that cannot be written: to a full disk, to a file at its limit.
 * The count is logged as soon as a line can be written again.
 *
 * While a filesystem is frozen a log line could block for ever on a log file that lies on it. So
 * blx_log_hold() keeps lines in the same buffer, and blx_log_release() writes them out.
 *
 * Threads: all functions may be called from any thread; one mutex guards the buffer and the write.
 * Another process that writes to the same pipe at the same instant can still make a write wait.
 */
#pragma once

enum blx_log_level {
    BLX_LOG_ERROR = 3, /* the numbers are syslog's */
    BLX_LOG_WARNING = 4,
    BLX_LOG_NOTICE = 5,
    BLX_LOG_INFO = 6,
    BLX_LOG_DEBUG = 7,
};

/*
 * The first thing that a daemon does. Of the descriptors 0 to 2 those that are closed lead to
 * /dev/null from now on: they would become sockets or devices, and lines would go there. A log file
 * that reaches its limit (SIGXFSZ) ends nothing.
 */
void blx_log_begin(void);

/* Lines above `level` are dropped. Default: BLX_LOG_INFO. */
void blx_log_set_level(enum blx_log_level level);

/* `format` has no newline. A line is cut at 1 KiB. */
void blx_log(enum blx_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

enum blx_log_format {
    BLX_LOG_PLAIN, /* the default: for commands, which people watch */
    BLX_LOG_TIMED, /* for daemons */
    BLX_LOG_JSON,
};
void blx_log_set_format(enum blx_log_format format);

/* What a line is about: fields of their own in JSON and in the journal. NULL: it has none. */
struct blx_log_about {
    const char *agent;      /* "agent", BLXREP_AGENT */
    const char *event;      /* "event", BLXREP_EVENT */
    const char *message_id; /* MESSAGE_ID: 32 hexadecimal digits; only in the journal */
};
void blx_log_about(enum blx_log_level level, const struct blx_log_about *about, const char *format,
                   ...) __attribute__((format(printf, 3, 4)));

/* Where the journal takes fields; its own socket unless a test sets another. `path` is borrowed. */
void blx_log_set_journal(const char *path);

/* Keeps lines in memory from now on, up to 64 KiB. */
void blx_log_hold(void);

/* Writes the held lines, and from now on each line at once again. */
void blx_log_release(void);

#define blx_log_error(...)   blx_log(BLX_LOG_ERROR, __VA_ARGS__)
#define blx_log_warning(...) blx_log(BLX_LOG_WARNING, __VA_ARGS__)
#define blx_log_notice(...)  blx_log(BLX_LOG_NOTICE, __VA_ARGS__)
#define blx_log_info(...)    blx_log(BLX_LOG_INFO, __VA_ARGS__)
#define blx_log_debug(...)   blx_log(BLX_LOG_DEBUG, __VA_ARGS__)
