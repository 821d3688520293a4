/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a flipped bit change a checksum? Counted without computing the checksum again for each bit,
 * which would take hours for some MiB.
 *
 * It follows XXH3 (64 bits, more than 240 bytes) as its specification gives it: eight accumulators,
 * to which every 64 bytes add; a scrambling of each after every 1,024 bytes; at the end a sum over
 * four pairs of them, each folded from 128 bits to 64. All but the fold are bijections of the
 * accumulators. So a flipped bit of accumulator i changes i or i ^ 1 or both, until the end, and
 * nothing else; and the checksum changes exactly if that pair's fold does. A pair is carried to the
 * end in as many steps as there are 1,024 bytes after the bit.
 *
 * The last bytes, which are added twice, are flipped one by one.
 *
 * Threads: none shared.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* How many of the `size` bytes' bits may flip without a change of blx_layout_checksum_all().
 * `bytes` are changed meanwhile, and as they were afterwards. Fails the test if its result differs
 * from the library's. */
uint64_t test_checksum_blind_bits(uint8_t *bytes, size_t size);
