/* SPDX-License-Identifier: Apache-2.0 */
/* Generations of a volume: random UUIDs. frame.h declares them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "wire/frame.h"

int blx_generation_create(struct blx_generation *generation)
{
    struct blx_generation created;
    size_t filled = 0;
    while (filled < sizeof(created.bytes)) {
        ssize_t got = getrandom(created.bytes + filled, sizeof(created.bytes) - filled, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        filled += (size_t)got;
    }
    /* RFC 4122: version 4, variant 1. So it is never all zero, which would mean "none". */
    created.bytes[6] = (uint8_t)((created.bytes[6] & 0x0f) | 0x40);
    created.bytes[8] = (uint8_t)((created.bytes[8] & 0x3f) | 0x80);
    *generation = created;
    return 0;
}

void blx_generation_format(const struct blx_generation *generation,
                           char text[BLX_GENERATION_TEXT_BYTES])
{
    char *at = text;
    for (size_t i = 0; i < BLX_GENERATION_BYTES; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        at += snprintf(at, 3, "%02x", generation->bytes[i]);
    }
}

bool blx_generation_equal(const struct blx_generation *a, const struct blx_generation *b)
{
    return memcmp(a->bytes, b->bytes, BLX_GENERATION_BYTES) == 0;
}

bool blx_generation_is_none(const struct blx_generation *generation)
{
    static const struct blx_generation none;
    return blx_generation_equal(generation, &none);
}
