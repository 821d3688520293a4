/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the checksums of mutated input right, and the other fields that follow from its bytes, so
 * that the checks after them are reached. Input that is too short to be repaired stays as it is.
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

/* A checksum of the whole input, which stands in it at `offset`. */
void repair_whole(uint8_t *bytes, size_t size, size_t offset);
