/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a configuration file, line by line. Text that libconfig would silently misread is
 * refused here, and text that it rejects as a "syntax error" is explained, above all the block
 * style of YAML. Private to lib/config.
 *
 * Threads: all functions are pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum { BLX_SOURCE_LINE_BYTES = 512, BLX_SOURCE_KEY_BYTES = 64 };

/* The number of lines in `text`. */
unsigned blx_source_line_count(const char *text);

/* Line number `line` (from 1), without its comment and the blanks around it, cut at the buffer's
 * size. */
struct blx_source_line {
    size_t indent;
    char text[BLX_SOURCE_LINE_BYTES];
};
void blx_source_line(const char *text, unsigned line, struct blx_source_line *found);

/* Puts "'path', line 3, key 'id'" before the message; without the key if the line has none. */
void blx_source_prefix(const char *path, const char *text, unsigned line, struct blx_error *err);

/*
 * Refuses text that libconfig silently misreads: a NUL byte (it would end the file), @include (it
 * would read another file), a string that is not closed on its line (it would swallow the lines
 * after it), a number that does not fit 32 bits (it would be cut). -EINVAL with the line; `path` is
 * for the message.
 */
int blx_source_check(const char *path, const char *text, size_t bytes, struct blx_error *err);

/* What is wrong with a line that libconfig rejected, for a person who meant YAML. */
struct blx_source_hint {
    unsigned line;
    char key[BLX_SOURCE_KEY_BYTES]; /* empty: the line has none */
    const char *cause;
    char corrected[BLX_SOURCE_LINE_BYTES]; /* the line as it should be; empty: leave it out */
};

/*
 * Looks at `line` and the one before it (libconfig often reports the line after the wrong one).
 * False if neither looks like block YAML.
 */
bool blx_source_explain(const char *text, unsigned line, struct blx_source_hint *hint);
