/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/text_private.h"

#include <string.h>

#include "base/text.h"

void blx_text_put(char *field, size_t field_bytes, const char *text)
{
    size_t length = strnlen(text, field_bytes - 1);
    memset(field, 0, field_bytes);
    memcpy(field, text, length);
    blx_text_clean(field);
}

bool blx_text_is_valid(const char *field, size_t field_bytes)
{
    size_t length = strnlen(field, field_bytes);
    if (length == field_bytes)
        return false;
    for (size_t at = 0; at < length;) {
        size_t bytes = blx_text_character_bytes(field + at, length - at);
        if (bytes == 0)
            return false;
        at += bytes;
    }
    for (size_t at = length; at < field_bytes; at++) {
        if (field[at] != '\0')
            return false;
    }
    return true;
}
