/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemons' log, on stderr: one line for each thing worth knowing. If stderr is the journal
 * ($JOURNAL_STREAM names it) a line begins with the priority prefix that journald understands,
 * otherwise with a plain "level: ". lib itself never logs; it returns errors.
 *
 * While a filesystem is frozen a log line could block for ever on a log file that lies on it. So
 * blx_log_hold() keeps lines in a fixed buffer, and blx_log_release() writes them out.
 *
 * Threads: all functions may be called from any thread; one mutex guards the buffer and the write.
 */
#pragma once

enum blx_log_level {
    BLX_LOG_ERROR = 3, /* the numbers are syslog's */
    BLX_LOG_WARNING = 4,
    BLX_LOG_NOTICE = 5,
    BLX_LOG_INFO = 6,
    BLX_LOG_DEBUG = 7,
};

/* Lines above `level` are dropped. Default: BLX_LOG_INFO. */
void blx_log_set_level(enum blx_log_level level);

/* `format` has no newline. A line is cut at 1 KiB. */
void blx_log(enum blx_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Keeps lines in memory from now on, up to 64 KiB. Further lines are counted and dropped, and the
 * count is logged. */
void blx_log_hold(void);

/* Writes the held lines, and from now on each line at once again. */
void blx_log_release(void);

#define blx_log_error(...)   blx_log(BLX_LOG_ERROR, __VA_ARGS__)
#define blx_log_warning(...) blx_log(BLX_LOG_WARNING, __VA_ARGS__)
#define blx_log_notice(...)  blx_log(BLX_LOG_NOTICE, __VA_ARGS__)
#define blx_log_info(...)    blx_log(BLX_LOG_INFO, __VA_ARGS__)
#define blx_log_debug(...)   blx_log(BLX_LOG_DEBUG, __VA_ARGS__)
