/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"

void blx_text_copy(char *to, size_t bytes, const char *from)
{
    blx_assert(bytes > 0);
    size_t length = strnlen(from, bytes - 1);
    memmove(to, from, length);
    to[length] = '\0';
}

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

size_t blx_text_character_bytes(const char *text, size_t left)
{
    return left == 0 ? 0 : character_bytes((const uint8_t *)text, left);
}

static uint32_t code_of(const uint8_t *text, size_t bytes)
{
    uint32_t code = bytes == 1 ? text[0] : text[0] & (0xffU >> (bytes + 1));
    for (size_t i = 1; i < bytes; i++)
        code = code << 6 | (text[i] & 0x3fU);
    return code;
}

/* Unicode's characters that have no shape of their own and change that of others: marks and
 * overrides of the direction, joiners, separators of lines, tags. */
static bool is_deceptive(uint32_t code)
{
    static const uint32_t ranges[][2] = {
        {0x00ad, 0x00ad}, {0x034f, 0x034f}, {0x061c, 0x061c}, {0x115f, 0x1160}, {0x17b4, 0x17b5},
        {0x180b, 0x180f}, {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f}, {0x3164, 0x3164},
        {0xfe00, 0xfe0f}, {0xfeff, 0xfeff}, {0xffa0, 0xffa0}, {0xfff0, 0xfffb}, {0xe0000, 0xe0fff},
    };
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        if (code >= ranges[i][0] && code <= ranges[i][1])
            return true;
    }
    return false;
}

void blx_text_clean(char *text)
{
    uint8_t *at = (uint8_t *)text;
    for (size_t left = strlen(text); left > 0;) {
        size_t bytes = character_bytes(at, left);
        bool bad = bytes == 0 || is_deceptive(code_of(at, bytes));
        bytes = bytes == 0 ? 1 : bytes;
        if (bad)
            memset(at, '?', bytes);
        at += bytes;
        left -= bytes;
    }
}
