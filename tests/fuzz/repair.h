/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the checksums, and what else follows from other bytes, of mutated input right, so that the
 * checks behind them are reached. What is too short to be repaired stays as it is.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* A frame of just `size` bytes: its sizes, its checksum. */
void repair_frame(uint8_t *bytes, size_t size);

/* Header and frames of an open segment, up to the first bytes that cannot be a frame's. */
void repair_open_segment(uint8_t *bytes, size_t size);

/* Header, index and footer of a sealed segment, and the frames before the index. */
void repair_sealed_segment(uint8_t *bytes, size_t size);

/* A checksum of everything that lies in it at `offset`. */
void repair_whole(uint8_t *bytes, size_t size, size_t offset);
