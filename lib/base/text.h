/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of texts into fields of a fixed size: a name, a reason, a note. A text that is too long
 * loses its end, which is right for what a person reads; a path goes through blx_path_format().
 *
 * And texts of others, who are trusted less: whatever comes from an agent, a store or a file's name
 * is cleaned before a person sees it, on a terminal or in a log.
 *
 * Threads: all functions are pure.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

/* Copies `from` to the `bytes` (at least 1) bytes at `to`, cut to fit, with its NUL. */
void blx_text_copy(char *to, size_t bytes, const char *from);

/* The same for an array, whose size it knows. A pointer, such as an array parameter, is refused. */
#define blx_text_set(array, from)                                                                  \
    do {                                                                                           \
        _Static_assert(!__builtin_types_compatible_p(__typeof__(array), __typeof__(&(array)[0])),  \
                       "blx_text_set() wants an array: use blx_text_copy() with a pointer");       \
        blx_text_copy((array), sizeof(array), (from));                                             \
    } while (0)

/* The bytes of the printable character at `text`, of which `left` bytes are there; 0 if there is
 * none: UTF-8 by RFC 3629, without control characters (C0, DEL, C1). */
size_t blx_text_character_bytes(const char *text, size_t left);

/*
 * Replaces, in place and byte by byte, with '?': what is no printable character, so that no text
 * commands a terminal or breaks its line, and the characters that show a text as another one than
 * it is (they change its direction, or are invisible). Of the same length afterwards.
 */
void blx_text_clean(char *text);

/* Prints a line that has `column` columns already, broken between words at `width` (0: never), with
 * `indent` blanks before each further line, and ends it. Returns the number of lines. `out` NULL:
 * only counts them. */
size_t blx_text_wrap(FILE *out, const char *text, size_t column, size_t indent, size_t width);

/* Looks for the known name that somebody meant who wrote `name`. Begin with the others zero. */
struct blx_guess {
    const char *name;
    const char *nearest; /* of those considered; NULL: none is near */
    size_t distance;     /* how many letters differ */
};

/* `known` is remembered, not copied, if it is nearer than those before. */
void blx_guess_consider(struct blx_guess *guess, const char *known);
