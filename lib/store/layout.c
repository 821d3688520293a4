/* SPDX-License-Identifier: Apache-2.0 */
#include "store/layout_private.h"

#include <string.h>
#include <xxhash.h>

uint64_t blx_layout_checksum(void *data, size_t bytes, size_t checksum_offset)
{
    uint8_t *field = (uint8_t *)data + checksum_offset;
    uint8_t kept[sizeof(blx_le64)];
    memcpy(kept, field, sizeof(kept));
    memset(field, 0, sizeof(kept));
    uint64_t checksum = XXH3_64bits(data, bytes);
    memcpy(field, kept, sizeof(kept));
    return checksum;
}

uint64_t blx_layout_checksum_all(const void *data, size_t bytes)
{
    return XXH3_64bits(data, bytes);
}

bool blx_layout_text_ok(const char *text, size_t bytes)
{
    const char *end = memchr(text, '\0', bytes);
    if (end == NULL)
        return false;
    for (const char *at = text; at < end; at++) {
        unsigned char c = (unsigned char)*at;
        if (c < 0x20 || c == 0x7f)
            return false;
    }
    return true;
}
