/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a machine and its disks tell of themselves, for the proof that nobody wrote to a disk during
 * a reboot (proof.h).
 *
 * Threads: none of its own. Reads from disks, in helpers (disk/patience.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/disk/device.h"
#include "agent/reboot/save.h"
#include "base/error.h"

/* The kernel's name for this boot; "" if it has none. */
void agent_facts_read_boot_id(char boot_id[AGENT_SAVE_BOOT_ID_BYTES]);

/* Seconds of the machine's own clock (RTC), which runs on over a reboot and which no time server
 * moves in between; of the system's clock if there is none. */
uint64_t agent_facts_read_clock_s(void);

/* The same for the moment at which this kernel was started. */
uint64_t agent_facts_read_start_s(void);

/* How long the processor had run since its reset when this kernel was started: what firmware and
 * boot loader took. -1: it does not tell. A processor that is not reset with the machine (some
 * emulators) tells more than that. */
int64_t agent_facts_measure_firmware_s(void);

/*
 * Sectors that were written or discarded since boot, on the device's disk, or on all disks below it
 * if it is bio-based; and whether writes are in flight there. -ENOTSUP: a kernel, or a disk with
 * queue/iostats=0, that does not count.
 */
int agent_facts_read_written(const struct agent_device *device, uint64_t *sectors, bool *is_busy);

/*
 * Digests of the first and last bytes of the volume and of each partition on it, where partition
 * tables and filesystems keep what changes when somebody mounts or rearranges them, and of each
 * device-mapper device on it. Partitions with a FAT are left out: a boot loader may write there.
 * `volume` gets superblocks, above, above_count. -E2BIG: more devices lie on it than a save has
 * room for.
 */
int agent_facts_read_superblocks(const struct agent_device *device,
                                 struct agent_save_volume *volume, struct blx_error *err);

/* Whether they are as in `volume`. A device-mapper device that is not there now is not as then. */
bool agent_facts_has_superblocks(const struct agent_device *device,
                                 const struct agent_save_volume *volume);

/* The volume's extents that lie in partitions with a FAT. At most `max` of them; how many. */
size_t agent_facts_list_fat(const struct agent_device *device, struct blx_extent *extents,
                            size_t max, unsigned block_shift);

/* The write commands that the drive has counted in its life (NVMe); UINT64_MAX: it does not tell.
 */
uint64_t agent_facts_read_commands(const struct agent_device *device);
