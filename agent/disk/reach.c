/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/reach.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

#ifndef BLKGETDISKSEQ /* the headers are older than the kernel */
#define BLKGETDISKSEQ _IOR(0x12, 128, uint64_t)
#endif

/* The helper's last one. */
static struct agent_reach kept;
static int kept_fd = -1;

uint64_t agent_reach_read_disk_seq(int fd)
{
    uint64_t disk_seq = 0;
    return ioctl(fd, BLKGETDISKSEQ, &disk_seq) < 0 ? 0 : disk_seq;
}

static bool is_same(const struct agent_reach *a, const struct agent_reach *b)
{
    return a->major == b->major && a->minor == b->minor && a->disk_seq == b->disk_seq &&
           strcmp(a->node, b->node) == 0;
}

/* Opening the node of an array or a loop device that is gone would make it again. A file, which
 * stands for a device in tests, has no number. */
static bool is_there(const struct agent_reach *reach)
{
    char link[64];
    snprintf(link, sizeof(link), "/sys/dev/block/%" PRIu32 ":%" PRIu32, reach->major, reach->minor);
    return (reach->major == 0 && reach->minor == 0) || access(link, F_OK) == 0;
}

static bool is_behind(const struct agent_reach *reach, int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_rdev == makedev(reach->major, reach->minor) &&
           (reach->disk_seq == 0 || agent_reach_read_disk_seq(fd) == reach->disk_seq);
}

void agent_reach_rest(void)
{
    blx_cleanup_fd(&kept_fd);
    kept_fd = -1;
}

int agent_reach_open(const struct agent_reach *reach)
{
    if (kept_fd >= 0 && is_same(reach, &kept))
        return kept_fd;
    agent_reach_rest();
    if (!is_there(reach))
        return -ENODEV;
    BLX_CLEANUP_FD int fd = blx_open(reach->node, O_RDONLY | O_DIRECT, 0, NULL);
    if (fd < 0)
        return fd;
    if (!is_behind(reach, fd))
        return -ESTALE;
    kept = *reach;
    return kept_fd = blx_take_fd(&fd);
}
