/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tells a disk from another one if neither has a serial number: the UUID of its partition
 * table, or of the filesystem, volume or swap space that begins at its first block.
 *
 * Threads: no shared state. Reads from the disk.
 */
#pragma once

#include "agent/disk/device.h"

/* "content:" and the UUID; "" if the disk has none that is known here, or cannot be read. */
void agent_signature_read(const struct agent_device *device, char text[BLX_TEXT_BYTES]);
