/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A volume without a kernel tracker: an ordinary array stands for the kernel's dirty bitmap, an
 * ordinary file for the device, so that the moves of marks can be tested block by block. The real
 * tracker has tests of its own.
 */
#pragma once

#include <stdint.h>

#include "agent/track/volume.h"

enum { FAKE_BLOCKS = 1000, FAKE_BLOCK_BYTES = 4096 };

struct fake_volume {
    struct agent_volume volume;
    uint64_t dirty[(FAKE_BLOCKS + 63) / 64];
    int fd; /* of the device */
    char folder[64];
};

/* A device of FAKE_BLOCKS blocks less `short_bytes`, filled with zeros. */
void fake_volume_make(struct fake_volume *fake, uint64_t short_bytes);
void fake_volume_remove(struct fake_volume *fake);

/* What the kernel does when a write to the block completes; also fills the block with `byte`. */
void fake_volume_write(struct fake_volume *fake, uint64_t block, uint8_t byte);
