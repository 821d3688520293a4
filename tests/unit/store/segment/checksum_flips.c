/* SPDX-License-Identifier: Apache-2.0 */
#include "checksum_flips.h"

/* For its secret; what it computes is asked of the library. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "store/layout_private.h"

enum {
    LANES = 8,
    STRIPE_BYTES = 64,
    STRIPES = 16, /* of a block */
    BLOCK_BYTES = STRIPES * STRIPE_BYTES,
    WORD_BITS = 64,
    SECRET_BYTES = 192,
    LAST_SECRET = SECRET_BYTES - STRIPE_BYTES - 7, /* of the last stripe */
    MERGE_SECRET = 11,
    SAMPLES = 64, /* that are compared with the library */
};

static const uint64_t prime32_1 = 0x9E3779B1, prime64_1 = 0x9E3779B185EBCA87;
static const uint64_t first_lanes[LANES] = {
    0xC2B2AE3D,         0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
    0x85EBCA77C2B2AE63, 0x85EBCA77,         0x27D4EB2F165667C5, 0x9E3779B1};

/* What the whole blocks add to each lane, and the lanes after the rest. */
struct run {
    const uint8_t *bytes;
    size_t size, blocks;
    uint64_t (*added)[LANES]; /* owned; by block, and after the last whole one */
    uint64_t lanes[LANES];    /* at the end */
};

static uint64_t read_word(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return word;
}

static uint64_t secret_word(size_t offset)
{
    return read_word((const uint8_t *)XXH3_kSecret + offset);
}

static uint64_t product(uint64_t word, uint64_t secret)
{
    uint64_t keyed = word ^ secret;
    return (keyed & UINT32_MAX) * (keyed >> 32);
}

static void add_stripe(uint64_t lanes[LANES], const uint8_t *stripe, size_t secret)
{
    for (size_t i = 0; i < LANES; i++) {
        uint64_t word = read_word(stripe + 8 * i);
        lanes[i ^ 1] += word;
        lanes[i] += product(word, secret_word(secret + 8 * i));
    }
}

static uint64_t scramble(uint64_t lane, size_t i)
{
    lane ^= lane >> 47;
    return (lane ^ secret_word(SECRET_BYTES - STRIPE_BYTES + 8 * i)) * prime32_1;
}

static void run_begin(struct run *run, const uint8_t *bytes, size_t size)
{
    assert_true(size > 240);
    *run = (struct run){.bytes = bytes, .size = size, .blocks = (size - 1) / BLOCK_BYTES};
    run->added = calloc(run->blocks + 1, sizeof(run->added[0]));
    assert_non_null(run->added);
    memcpy(run->lanes, first_lanes, sizeof(run->lanes));
    size_t stripes = (size - 1) / STRIPE_BYTES;
    for (size_t s = 0; s < stripes; s++)
        add_stripe(run->added[s / STRIPES], bytes + s * STRIPE_BYTES, s % STRIPES * 8);
    add_stripe(run->added[run->blocks], bytes + size - STRIPE_BYTES, LAST_SECRET);
    for (size_t b = 0; b <= run->blocks; b++)
        for (size_t i = 0; i < LANES; i++) {
            run->lanes[i] += run->added[b][i];
            if (b < run->blocks)
                run->lanes[i] = scramble(run->lanes[i], i);
        }
}

static uint64_t fold(const uint64_t pair[2], size_t first_lane)
{
    size_t secret = MERGE_SECRET + 8 * first_lane;
    __uint128_t wide =
        (__uint128_t)(pair[0] ^ secret_word(secret)) * (pair[1] ^ secret_word(secret + 8));
    return (uint64_t)wide ^ (uint64_t)(wide >> 64);
}

/* The checksum with other values in the pair that begins with `first_lane`. */
static uint64_t checksum(const struct run *run, const uint64_t pair[2], size_t first_lane)
{
    uint64_t sum = run->size * prime64_1;
    for (size_t i = 0; i < LANES; i += 2)
        sum += fold(i == first_lane ? pair : &run->lanes[i], i);
    sum ^= sum >> 37;
    sum *= 0x165667919E3779F9;
    return sum ^ sum >> 32;
}

/* Carries the values of a lane from after block `block` to the end. */
static void carry(const struct run *run, size_t block, size_t lane, uint64_t values[WORD_BITS])
{
    uint64_t secret = secret_word(SECRET_BYTES - STRIPE_BYTES + 8 * lane);
    for (; block < run->blocks; block++) {
        uint64_t added = run->added[block + 1][lane];
        for (size_t bit = 0; bit < WORD_BITS; bit++)
            values[bit] = ((values[bit] ^ values[bit] >> 47) ^ secret) * prime32_1 + added;
    }
}

static void compare_with_library(const struct run *run, uint8_t *bytes, size_t offset, unsigned bit,
                                 uint64_t found)
{
    bytes[offset + bit / 8] ^= (uint8_t)(1U << bit % 8);
    assert_int_equal(blx_layout_checksum_all(bytes, run->size), found);
    bytes[offset + bit / 8] ^= (uint8_t)(1U << bit % 8);
}

/* All 64 bits of the word at `offset`. `lanes` as they are after its block. */
static uint64_t blind_bits_of_word(const struct run *run, uint8_t *bytes, size_t offset,
                                   const uint64_t lanes[LANES], bool sample)
{
    size_t lane = offset % STRIPE_BYTES / 8, stripe = offset / STRIPE_BYTES;
    uint64_t secret = secret_word(stripe % STRIPES * 8 + 8 * lane);
    uint64_t word = read_word(bytes + offset), own[WORD_BITS], other[WORD_BITS];
    for (size_t bit = 0; bit < WORD_BITS; bit++) {
        uint64_t changed = word ^ (UINT64_C(1) << bit);
        own[bit] = lanes[lane] + product(changed, secret) - product(word, secret);
        other[bit] = lanes[lane ^ 1] + changed - word;
    }
    carry(run, stripe / STRIPES, lane, own);
    carry(run, stripe / STRIPES, lane ^ 1, other);
    size_t first = lane & ~(size_t)1;
    uint64_t as_it_is = fold(&run->lanes[first], first), blind = 0;
    for (size_t bit = 0; bit < WORD_BITS; bit++) {
        uint64_t pair[2] = {lane == first ? own[bit] : other[bit],
                            lane == first ? other[bit] : own[bit]};
        blind += fold(pair, first) == as_it_is;
        if (sample && bit % 9 == 0)
            compare_with_library(run, bytes, offset, (unsigned)bit, checksum(run, pair, first));
    }
    return blind;
}

static uint64_t blind_bits_one_by_one(uint8_t *bytes, size_t size, size_t from, size_t end)
{
    uint64_t as_it_is = blx_layout_checksum_all(bytes, size), blind = 0;
    for (size_t bit = from * 8; bit < end * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        blind += blx_layout_checksum_all(bytes, size) == as_it_is;
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    return blind;
}

uint64_t test_checksum_blind_bits(uint8_t *bytes, size_t size)
{
    struct run run;
    run_begin(&run, bytes, size);
    assert_int_equal(checksum(&run, run.lanes, 0), blx_layout_checksum_all(bytes, size));
    uint64_t lanes[LANES], blind = 0;
    size_t tail = (size - STRIPE_BYTES) / 8 * 8;
    size_t sample_step = size / 8 / SAMPLES + 1;
    memcpy(lanes, first_lanes, sizeof(lanes));
    for (size_t offset = 0; offset < tail; offset += 8) {
        size_t block = offset / BLOCK_BYTES;
        for (size_t i = 0; offset % BLOCK_BYTES == 0 && i < LANES; i++)
            lanes[i] = (block == 0 ? lanes[i] : scramble(lanes[i], i)) + run.added[block][i];
        blind += blind_bits_of_word(&run, bytes, offset, lanes, offset / 8 % sample_step == 0);
    }
    blind += blind_bits_one_by_one(bytes, size, tail, size);
    free(run.added);
    return blind;
}
