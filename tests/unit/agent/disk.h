/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real block devices for tests that need root: loop devices on memory, and zram. The kernel takes a
 * loop device down when its last user is gone (autoclear), and all mounts are in a mount namespace
 * of the test's own. So a test that crashes leaves at worst a zram device.
 *
 * Every function fails the test instead of returning an error. Threads: one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct disk {
    char path[40]; /* "/dev/loop3" */
    char name[32]; /* "loop3" */
    int fd;        /* O_RDWR | O_DIRECT */
    uint64_t bytes;
    int zram; /* its number, or -1 */
};

/* Goes into a private mount namespace with an empty /mnt, and without what is mounted from other
 * tests' disks. Once, at the beginning of main(). */
void disk_world_enter(void);

/* `number` -1: any free one. */
void disk_loop(struct disk *disk, uint64_t bytes, int number);

/* Puts another medium of `bytes` under the same loop number; `disk->fd` is reopened. */
void disk_loop_swap(struct disk *disk, uint64_t bytes);
void disk_zram(struct disk *disk, uint64_t bytes);
void disk_done(struct disk *disk);

/* Takes its partitions away. A helper of the agent may have one open for a moment after a read. */
void disk_unpartition(const struct disk *disk);

/* Runs a shell command; it must succeed. */
void disk_shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Writes `bytes` of a pattern that changes with every call, with O_DIRECT. Both numbers are
 * multiples of 512. */
void disk_write(const struct disk *disk, uint64_t offset, uint64_t bytes);

/* The whole content, read with O_DIRECT; to be freed. */
uint8_t *disk_read(const struct disk *disk);

/* Ends the test unless `pid` ends within `seconds`. Returns its status. */
int disk_wait(int pid, unsigned seconds);
