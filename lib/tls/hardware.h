/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By what a machine is known again after its disk was restored: two machines with one disk's
 * content have the same files, certificates and machine-id, and only the hardware tells them apart.
 *
 * It is the UUID that the firmware or the hypervisor gives the machine, in DMI
 * (/sys/class/dmi/id/product_uuid), or the serial number in the device tree. Both are the same in a
 * rescue system and in the system that boots from the disk. What leaves the machine is a digest.
 *
 * Threads: no shared state. Reads two small files of sysfs.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "wire/message.h"

#define BLX_HARDWARE_SYSFS "/sys"

/* `sysfs` is where that is mounted. -ENODEV: the machine has nothing of the kind, or what many
 * machines have; `identity` is zero after any error. */
int blx_hardware_identify(const char *sysfs, uint8_t identity[BLX_HARDWARE_BYTES],
                          struct blx_error *err);
