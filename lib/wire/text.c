/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/text_private.h"

#include <stdint.h>
#include <string.h>

static bool is_tail(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/* Bytes of the printable character at the start of `text`, 0 if there is none: RFC 3629, without
 * C0, DEL and C1. */
static size_t character_bytes(const uint8_t *text, size_t left)
{
    uint8_t first = text[0];
    if (first < 0x80)
        return first >= 0x20 && first != 0x7f ? 1 : 0;
    size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || left < bytes)
        return 0;
    for (size_t i = 1; i < bytes; i++) {
        if (!is_tail(text[i]))
            return 0;
    }
    uint8_t second = text[1];
    bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
    bool surrogate = first == 0xed && second >= 0xa0;
    bool too_large = first == 0xf4 && second >= 0x90;
    bool control = first == 0xc2 && second < 0xa0;
    return overlong || surrogate || too_large || control ? 0 : bytes;
}

void blx_text_put(char *field, size_t field_bytes, const char *text)
{
    size_t length = strnlen(text, field_bytes - 1);
    memset(field, 0, field_bytes);
    for (size_t at = 0; at < length;) {
        size_t bytes = character_bytes((const uint8_t *)text + at, length - at);
        if (bytes == 0)
            field[at++] = '?';
        else
            memcpy(field + at, text + at, bytes);
        at += bytes;
    }
}

bool blx_text_is_valid(const char *field, size_t field_bytes)
{
    size_t length = strnlen(field, field_bytes);
    if (length == field_bytes)
        return false;
    for (size_t at = 0; at < length;) {
        size_t bytes = character_bytes((const uint8_t *)field + at, length - at);
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
