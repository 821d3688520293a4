/* SPDX-License-Identifier: Apache-2.0 */
#include "store/receive/volume_file_private.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "store/layout_private.h"

enum { CHECKSUM_OFFSET = (int)offsetof(struct blx_volume_file_disk, checksum) };

static int file_path(const char *volume_dir, char path[PATH_MAX], struct blx_error *err)
{
    return blx_path_format(path, PATH_MAX, err, "%s/volume", volume_dir);
}

static bool is_sound(struct blx_volume_file_disk *disk)
{
    if (blx_le32_get(disk->magic) != BLX_VOLUME_MAGIC ||
        blx_layout_checksum(disk, sizeof(*disk), CHECKSUM_OFFSET) != blx_le64_get(disk->checksum))
        return false;
    return disk->block_shift >= BLX_BLOCK_SHIFT_MIN && disk->block_shift <= BLX_BLOCK_SHIFT_MAX &&
           blx_layout_text_ok(disk->device, sizeof(disk->device)) &&
           blx_layout_text_ok(disk->identity, sizeof(disk->identity));
}

int blx_volume_file_read(const char *volume_dir, struct blx_volume_file *file,
                         struct blx_error *err)
{
    char path[PATH_MAX];
    struct blx_volume_file_disk disk;
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes;
    int rc = file_path(volume_dir, path, err);
    if (rc == 0)
        rc = blx_file_read(path, 65536, &content, &bytes, err);
    if (rc < 0)
        return rc;
    if (bytes == sizeof(disk))
        memcpy(&disk, content, sizeof(disk));
    if (bytes != sizeof(disk) || !is_sound(&disk))
        return blx_error_set(err, -EBADMSG, "'%s' is damaged", path);
    if (disk.version != BLX_LAYOUT_VERSION)
        return blx_error_set(err, -ENOTSUP,
                             "'%s' has version %u, this program knows %d; use a newer blxrep", path,
                             disk.version, BLX_LAYOUT_VERSION);
    *file = (struct blx_volume_file){
        .size_bytes = blx_le64_get(disk.size_bytes),
        .block_shift = disk.block_shift,
        .distrusted = (disk.flags & BLX_VOLUME_DISTRUSTED) != 0,
        .full_since = blx_le32_get(disk.full_since),
        .rescan_since = blx_le32_get(disk.rescan_since),
        .seq_before = blx_le64_get(disk.seq_before),
        .full_after = blx_le64_get(disk.full_after),
    };
    memcpy(file->generation.bytes, disk.generation, sizeof(disk.generation));
    memcpy(file->device, disk.device, sizeof(disk.device));
    memcpy(file->identity, disk.identity, sizeof(disk.identity));
    blx_text_clean(file->device);
    blx_text_clean(file->identity);
    return 0;
}

int blx_volume_file_write(const char *volume_dir, const struct blx_volume_file *file,
                          struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = file_path(volume_dir, path, err);
    if (rc < 0)
        return rc;
    struct blx_volume_file_disk disk = {
        .magic = blx_le32_of(BLX_VOLUME_MAGIC),
        .version = BLX_LAYOUT_VERSION,
        .block_shift = (uint8_t)file->block_shift,
        .flags = file->distrusted ? BLX_VOLUME_DISTRUSTED : 0,
        .full_since = blx_le32_of(file->full_since),
        .rescan_since = blx_le32_of(file->rescan_since),
        .size_bytes = blx_le64_of(file->size_bytes),
        .seq_before = blx_le64_of(file->seq_before),
        .full_after = blx_le64_of(file->full_after),
    };
    memcpy(disk.generation, file->generation.bytes, sizeof(disk.generation));
    memcpy(disk.device, file->device, strlen(file->device));
    memcpy(disk.identity, file->identity, strlen(file->identity));
    disk.checksum = blx_le64_of(blx_layout_checksum(&disk, sizeof(disk), CHECKSUM_OFFSET));
    return blx_file_replace(path, &disk, sizeof(disk), 0600, err);
}
