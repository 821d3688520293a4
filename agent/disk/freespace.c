/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/freespace.h"

#include <errno.h>
#include <linux/fsmap.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/disk/patience.h"
#include "base/bitmap.h"
#include "base/cleanup.h"

enum { RECORDS = 1024 };

/* Where one filesystem's free extents are cleared. */
struct target {
    uint64_t start_bytes; /* of the filesystem on the device */
    uint64_t limit_bytes; /* the device's size */
    unsigned block_shift;
    uint32_t device_number; /* as the kernel writes it into the records */
    uint64_t *wanted;
    uint64_t skipped;
};

/* Blocks that are wholly inside [start, start + length) of the filesystem, so rounded inward. */
static void clear_extent(struct target *target, uint64_t start, uint64_t length)
{
    uint64_t first = 0, end = 0;
    if (__builtin_add_overflow(start, target->start_bytes, &first) ||
        __builtin_add_overflow(first, length, &end))
        return;
    if (end > target->limit_bytes)
        end = target->limit_bytes;
    uint64_t block = UINT64_C(1) << target->block_shift;
    if (first > UINT64_MAX - block)
        return;
    uint64_t first_block = (first + block - 1) >> target->block_shift;
    /* The device's last block may be cut short. If the extent reaches its end that part is free,
     * too. */
    uint64_t end_block =
        (end == target->limit_bytes ? end + block - 1 : end) >> target->block_shift;
    for (uint64_t b = first_block; b < end_block; b++)
        target->skipped += blx_bitmap_test(target->wanted, b);
    if (first_block < end_block)
        blx_bitmap_clear(target->wanted, (struct blx_extent){first_block, end_block - first_block});
}

static void clear_records(struct target *target, const struct fsmap_head *head)
{
    for (uint32_t i = 0; i < head->fmh_entries; i++) {
        const struct fsmap *record = &head->fmh_recs[i];
        if ((record->fmr_flags & FMR_OF_SPECIAL_OWNER) && record->fmr_owner == FMR_OWN_FREE &&
            record->fmr_device == target->device_number)
            clear_extent(target, record->fmr_physical, record->fmr_length);
    }
}

/* The head comes as the argument, and comes back with the records. */
static int ask_in_helper(void *arg, struct agent_patience_io *io)
{
    memcpy(io->data, arg, sizeof(struct fsmap_head));
    return ioctl(io->lent_fd, FS_IOC_GETFSMAP, io->data) < 0 ? -errno : 0;
}

static int ask(const struct agent_mount *mount, struct fsmap_head *head)
{
    static const struct agent_patience_call call = {.run = ask_in_helper,
                                                    .arg_bytes = sizeof(struct fsmap_head)};
    _Static_assert(sizeof(struct fsmap_head) + RECORDS * sizeof(struct fsmap) <=
                       AGENT_PATIENCE_DATA_BYTES,
                   "a page of records fits");
    struct fsmap_head question = *head;
    struct agent_patience_io io = {
        .lent_fd = mount->fd, .data = head, .data_bytes = fsmap_sizeof(RECORDS)};
    char name[AGENT_MOUNT_NAME_BYTES];
    agent_mount_name(mount->mount_point, name);
    return agent_patience_run(name, &call, &question, &io, agent_patience_get_ms());
}

/* All records, page by page. */
static int exclude_filesystem(const struct agent_mount *mount, struct target *target)
{
    BLX_CLEANUP_FREE struct fsmap_head *head = calloc(1, fsmap_sizeof(RECORDS));
    if (head == NULL)
        return -ENOMEM;
    head->fmh_count = RECORDS;
    head->fmh_keys[1].fmr_device = UINT32_MAX;
    head->fmh_keys[1].fmr_flags = UINT32_MAX;
    head->fmh_keys[1].fmr_physical = UINT64_MAX;
    head->fmh_keys[1].fmr_owner = UINT64_MAX;
    head->fmh_keys[1].fmr_offset = UINT64_MAX;
    for (;;) {
        int r = ask(mount, head);
        if (r < 0)
            return r;
        if (head->fmh_entries == 0)
            return 0;
        clear_records(target, head);
        if (head->fmh_recs[head->fmh_entries - 1].fmr_flags & FMR_OF_LAST)
            return 0;
        fsmap_advance(head);
    }
}

/* The errors of kernels and filesystems without the call. */
static bool is_unsupported(int r)
{
    return r == -ENOTTY || r == -EOPNOTSUPP || r == -EINVAL || r == -ENOSYS;
}

int agent_freespace_exclude(const struct agent_device *device, const struct agent_mounts *mounts,
                            unsigned block_shift, uint64_t *wanted, uint64_t *skipped_blocks,
                            struct blx_error *err)
{
    uint64_t skipped = 0;
    for (size_t i = 0; i < mounts->count; i++) {
        const struct agent_mount *mount = &mounts->mounts[i];
        uint64_t start = UINT64_MAX;
        /* Only these two are known to report correctly, and they have one device. */
        if ((strcmp(mount->type, "ext4") != 0 && strcmp(mount->type, "xfs") != 0) ||
            !agent_device_carries(device, mount->major, mount->minor, &start) ||
            start == UINT64_MAX)
            continue;
        struct target target = {
            .start_bytes = start,
            .limit_bytes = device->size_bytes,
            .block_shift = block_shift,
            .device_number = (uint32_t)makedev(mount->major, mount->minor),
            .wanted = wanted,
        };
        /* Blocks that were just deleted count as free only after the filesystem has committed
         * that. */
        int r = agent_mount_sync(mount);
        if (r != -ETIME)
            r = exclude_filesystem(mount, &target);
        skipped += target.skipped;
        if (r < 0 && r != -ETIME && !is_unsupported(r))
            return blx_error_errno(err, r, "cannot ask the filesystem on '%s' for its free space",
                                   mount->mount_point);
    }
    *skipped_blocks = skipped;
    return 0;
}
