/* SPDX-License-Identifier: Apache-2.0 */
/* Generations of a volume: random UUIDs. frame.h declares them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "wire/frame.h"

/*
 * A machine that was set back with its memory, or cloned, has the same state of the kernel's random
 * numbers again, and may get the same ones. The clocks go on.
 */
static void mix_in(uint8_t *bytes, clockid_t clock)
{
    struct timespec now = {0};
    clock_gettime(clock, &now);
    uint64_t ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    ns *= UINT64_C(0x9e3779b97f4a7c15); /* spreads it over all bits */
    for (size_t i = 0; i < sizeof(ns); i++)
        bytes[i] ^= (uint8_t)(ns >> (8 * i));
}

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
    mix_in(created.bytes, CLOCK_REALTIME);
    mix_in(created.bytes + 8, CLOCK_MONOTONIC);
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
