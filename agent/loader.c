/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/loader.h"

#include <fcntl.h>
#include <glob.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"

/* Debian, Red Hat and SUSE; those on an EFI system partition. */
static const char *const patterns[] = {"/boot/grub/grubenv", "/boot/grub2/grubenv",
                                       "/boot/efi/EFI/*/grubenv", "/efi/EFI/*/grubenv"};

enum { EXTENTS = 16 };

/* Marks [start, start + bytes) of the volume. */
static bool mark(struct agent_volume *volume, uint64_t start, uint64_t bytes)
{
    if (bytes == 0 || start >= volume->device.size_bytes ||
        bytes > volume->device.size_bytes - start)
        return false;
    const uint64_t first = start >> volume->block_shift;
    const uint64_t last = (start + bytes - 1) >> volume->block_shift;
    blx_bitmap_set(volume->ledger.pending, (struct blx_extent){first, last - first + 1});
    return true;
}

/* Whether the blocks of the file are known, and marked on each volume that has them. GRUB writes to
 * partitions and whole disks alone: not to LVM, md or what is encrypted. */
static bool mark_file(struct agent *agent, int fd, const struct stat *st)
{
    const size_t bytes = sizeof(struct fiemap) + EXTENTS * sizeof(struct fiemap_extent);
    BLX_CLEANUP_FREE struct fiemap *map = calloc(1, bytes);
    if (map == NULL)
        return false;
    map->fm_length = FIEMAP_MAX_OFFSET;
    map->fm_extent_count = EXTENTS;
    /* The number of a btrfs is no device's: its addresses are not the disk's. */
    if (major(st->st_dev) == 0 || ioctl(fd, FS_IOC_FIEMAP, map) < 0 ||
        map->fm_mapped_extents == EXTENTS)
        return false;
    bool known = true;
    for (size_t i = 0; i < agent->volume_count; i++) {
        struct agent_volume *volume = &agent->volumes[i];
        uint64_t start = 0;
        if (!agent_device_carries(&volume->device, major(st->st_dev), minor(st->st_dev), &start) ||
            start == UINT64_MAX)
            continue;
        for (uint32_t e = 0; e < map->fm_mapped_extents; e++)
            known = mark(volume, start + map->fm_extents[e].fe_physical,
                         map->fm_extents[e].fe_length) &&
                    known;
    }
    return known;
}

static bool mark_files(struct agent *agent, const char *pattern)
{
    glob_t found;
    bool known = true;
    int rc = glob(pattern, GLOB_NOSORT, NULL, &found);
    if (rc != 0)
        return rc == GLOB_NOMATCH; /* there is none */
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct stat st;
        BLX_CLEANUP_FD int fd = blx_open(found.gl_pathv[i], O_RDONLY | O_NONBLOCK, 0, NULL);
        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
            known = false;
            continue;
        }
        bool marked = mark_file(agent, fd, &st);
        if (!marked)
            blx_log_warning("the blocks of '%s' are not known, and the boot loader may write them: "
                            "after a reboot the disks are compared",
                            found.gl_pathv[i]);
        known = known && marked;
    }
    globfree(&found);
    return known;
}

void agent_loader_leave(struct agent *agent)
{
    bool known = true;
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
        known = mark_files(agent, patterns[i]) && known;
    for (size_t i = 0; i < agent->volume_count; i++)
        agent->volumes[i].ledger.head->left =
            known ? AGENT_LEFT_IN_ORDER : AGENT_LEFT_UNKNOWN_LOADER;
}
