/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"

enum { NAME_MAX_LENGTH = 32 }; /* of a name that is guessed */

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

size_t blx_text_wrap(FILE *out, const char *text, size_t column, size_t indent, size_t width)
{
    size_t lines = 1;
    bool at_start = true;
    while (*text != '\0') {
        size_t blanks = strspn(text, " "), length = strcspn(text + blanks, " ");
        if (width > 0 && !at_start && column + blanks + length > width) {
            if (out != NULL)
                fprintf(out, "\n%*s", (int)indent, "");
            column = indent;
            blanks = 0;
            lines++;
        }
        const char *word = text + strspn(text, " ");
        if (out != NULL)
            fprintf(out, "%*s%.*s", (int)blanks, "", (int)length, word);
        column += blanks + length;
        text = word + length;
        at_start = false;
    }
    if (out != NULL)
        fputc('\n', out);
    return lines;
}

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* How many letters must be added, removed, changed or swapped with their neighbours to turn `b`
 * into `a`. Both are at most NAME_MAX_LENGTH long. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t to[NAME_MAX_LENGTH + 1][NAME_MAX_LENGTH + 1]; /* of the first i and j letters */
    const size_t a_length = strlen(a), b_length = strlen(b);
    for (size_t i = 0; i <= a_length; i++) {
        for (size_t j = 0; j <= b_length; j++) {
            if (i == 0 || j == 0) {
                to[i][j] = i + j;
                continue;
            }
            to[i][j] = smallest(to[i - 1][j - 1] + (a[i - 1] != b[j - 1]), to[i - 1][j] + 1,
                                to[i][j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                to[i][j] = smallest(to[i][j], to[i - 2][j - 2] + 1, SIZE_MAX);
        }
    }
    return to[a_length][b_length];
}

void blx_guess_consider(struct blx_guess *guess, const char *known)
{
    size_t length = strlen(guess->name);
    if (length < 2 || length > NAME_MAX_LENGTH || strlen(known) > NAME_MAX_LENGTH)
        return;
    bool begins_so = length > 2 && strncmp(known, guess->name, length) == 0;
    size_t distance = begins_so ? 1 : edit_distance(guess->name, known);
    size_t limit = guess->nearest != NULL ? guess->distance : length / 3 + 2;
    if (distance < limit) {
        guess->nearest = known;
        guess->distance = distance;
    }
}
