/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/reach.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/io.h"

/* The helper's last one. */
static struct agent_reach kept;
static int kept_fd = -1;

uint64_t agent_reach_read_disk_seq(int fd)
{
#ifndef BLKGETDISKSEQ
    enum { BLKGETDISKSEQ = _IOR(0x12, 128, uint64_t) }; /* the headers are older than the kernel */
#endif
    uint64_t disk_seq = 0;
    return ioctl(fd, BLKGETDISKSEQ, &disk_seq) < 0 ? 0 : disk_seq;
}

static bool is_same(const struct agent_reach *a, const struct agent_reach *b)
{
    return a->major == b->major && a->minor == b->minor && a->disk_seq == b->disk_seq &&
           strcmp(a->node, b->node) == 0;
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
    BLX_CLEANUP_FD int fd = blx_open(reach->node, O_RDONLY | O_DIRECT, 0, NULL);
    if (fd < 0)
        return fd;
    if (!is_behind(reach, fd))
        return -ENXIO;
    kept = *reach;
    return kept_fd = blx_take_fd(&fd);
}
