/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of texts into fields of a fixed size: a name, a reason, a note. A text that is too long
 * loses its end, which is right for what a person reads; a path goes through blx_path_format().
 *
 * Threads: all functions are pure.
 */
#pragma once

#include <stddef.h>

/* Copies `from` to the `bytes` (at least 1) bytes at `to`, cut to fit, with its NUL. */
void blx_text_copy(char *to, size_t bytes, const char *from);

/* The same for an array, whose size it knows. A pointer, such as an array parameter, is refused. */
#define blx_text_set(array, from)                                                                  \
    do {                                                                                           \
        _Static_assert(!__builtin_types_compatible_p(__typeof__(array), __typeof__(&(array)[0])),  \
                       "blx_text_set() wants an array: use blx_text_copy() with a pointer");       \
        blx_text_copy((array), sizeof(array), (from));                                             \
    } while (0)
