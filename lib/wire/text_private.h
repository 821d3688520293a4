/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts in messages: UTF-8 without control characters, in a field of fixed size, padded with NULs.
 * Private to lib/wire.
 *
 * Threads: all functions are pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Copies `text` into the field, cut if it is too long. A byte that is not printable UTF-8 becomes
 * '?', so that a text from anywhere (a hook's output, a path) never makes a message that the other
 * side refuses.
 */
void blx_text_put(char *field, size_t field_bytes, const char *text);

/* Whether blx_text_put() could have written this field. */
bool blx_text_is_valid(const char *field, size_t field_bytes);
