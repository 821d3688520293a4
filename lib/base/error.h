/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors that a person can act on.
 *
 * A function that can fail returns 0 or -errno. If it knows more than the number can say it also
 * fills a `struct blx_error`, which the caller owns (usually on its stack) and may pass as NULL.
 * The message is written once, at the lowest level that knows the object's name. It says what
 * failed, the object in quotes, the cause, and what to do. It is one line: control characters,
 * which come from outside only, become '?'.
 *
 * Threads: a blx_error belongs to one thread. Nothing here blocks, allocates or prints.
 */
#pragma once

#include <stdarg.h>

enum { BLX_ERROR_MESSAGE_BYTES = 1024 };

struct blx_error {
    int code; /* 0 while empty, otherwise -errno */
    char message[BLX_ERROR_MESSAGE_BYTES];
};

/* The exit codes of every program. */
enum blx_exit {
    BLX_EXIT_OK = 0,
    BLX_EXIT_FAILED = 1,
    BLX_EXIT_USAGE = 2,
    BLX_EXIT_NO_ANSWER = 3, /* of `status --check`: nobody could be asked */
};

/*
 * Writes the message into `err` (NULL: nothing is written) unless it already holds one, and returns
 * `code`, so that `return blx_error_set(err, -ENOENT, ...)` is the idiom. `code` must be negative.
 */
int blx_error_set(struct blx_error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same, with ": <strerror of code>" appended. */
int blx_error_errno(struct blx_error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * The same with the message that `cause` holds, for a caller that looked at an error of its own
 * before it passed it on. If `cause` is empty the message is <strerror of code>.
 */
int blx_error_copy(struct blx_error *err, int code, const struct blx_error *cause);

/* Puts "prefix: " before the message, for a caller that knows a context which the callee does not
 * know. */
void blx_error_prefix(struct blx_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Makes `err` empty again. NULL is allowed. */
void blx_error_clear(struct blx_error *err);
