/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cost of encryption for the agent's processors: frames of 256 KiB are packed without a key and
 * with one, in turns, and the processor time of both is compared. Prints the two rates and their
 * ratio for data that compresses (text) and data that does not, with each codec.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wire/frame.h"

enum {
    BLOCKS = 64,
    BLOCK_BYTES = 4096,
    DATA_BYTES = BLOCKS * BLOCK_BYTES,
    FRAMES = 40,
    ROUNDS = 15
};

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Words in random order, which zstd makes about three times smaller; or noise. */
static void fill(uint8_t *data, bool text)
{
    static const char *const words[] = {"block ",   "extent ",     "volume ",
                                        "frame\n",  "segment ",    "checkpoint ",
                                        "session ", "generation ", "0x7f3a "};
    uint64_t state = 88172645463325252U;
    for (size_t at = 0; at < DATA_BYTES;) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char noise[9];
        memcpy(noise, &state, 8);
        const char *word = text ? words[state % 9] : noise;
        size_t length = text ? strlen(word) : 8;
        length = length < DATA_BYTES - at ? length : DATA_BYTES - at;
        memcpy(data + at, word, length);
        at += length;
    }
}

/* Processor time of packing FRAMES frames. */
static uint64_t pack(struct blx_frame_content *content, const struct blx_volume_key *key,
                     uint8_t *buffer)
{
    content->key = key;
    uint64_t begun_ns = cpu_ns();
    for (uint64_t i = 0; i < FRAMES; i++) {
        size_t bytes = 0;
        if (blx_frame_pack(content, buffer, &bytes, NULL) < 0)
            abort();
        blx_frame_seal(buffer, i + 1);
    }
    return cpu_ns() - begun_ns;
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The median of the rounds' ratios: both halves of a round have met the same machine. */
static void measure(enum blx_codec codec, bool text, const struct blx_volume_key *key,
                    uint8_t *data, uint8_t *buffer)
{
    const struct blx_frame_extent extent = {.extent = {1000, BLOCKS}};
    struct blx_frame_content content = {.codec = codec,
                                        .block_shift = 12,
                                        .generation = {{1}},
                                        .extents = &extent,
                                        .extent_count = 1,
                                        .data = data,
                                        .data_bytes = DATA_BYTES};
    double ratios[ROUNDS], plain[ROUNDS], keyed[ROUNDS];
    const double mib = (double)FRAMES * DATA_BYTES / (1 << 20);
    fill(data, text);
    for (size_t i = 0; i < ROUNDS; i++) {
        uint64_t plain_ns = pack(&content, NULL, buffer), keyed_ns = pack(&content, key, buffer);
        ratios[i] = (double)keyed_ns / (double)plain_ns;
        plain[i] = mib * 1e9 / (double)plain_ns;
        keyed[i] = mib * 1e9 / (double)keyed_ns;
    }
    qsort(ratios, ROUNDS, sizeof(ratios[0]), compare);
    qsort(plain, ROUNDS, sizeof(plain[0]), compare);
    qsort(keyed, ROUNDS, sizeof(keyed[0]), compare);
    printf("%-4s %-5s %6.0f MiB/s, encrypted %6.0f MiB/s: %.2f times the processor time\n",
           blx_codec_name(codec), text ? "text" : "noise", plain[ROUNDS / 2], keyed[ROUNDS / 2],
           ratios[ROUNDS / 2]);
}

int main(void)
{
    struct blx_key key;
    struct blx_volume_key derived;
    uint8_t *data = aligned_alloc(BLOCK_BYTES, DATA_BYTES), *buffer = malloc(BLX_FRAME_MAX_BYTES);
    if (data == NULL || buffer == NULL || blx_key_create(&key, NULL) < 0 ||
        blx_volume_key_derive(&key, "bench", "vda", &derived, NULL) < 0)
        return 1;
    for (int codec = BLX_CODEC_NONE; codec <= BLX_CODEC_ZSTD; codec++) {
        measure((enum blx_codec)codec, true, &derived, data, buffer);
        measure((enum blx_codec)codec, false, &derived, data, buffer);
    }
    free(data);
    free(buffer);
    return 0;
}
