/* SPDX-License-Identifier: Apache-2.0 */
#include "store/signal/history_codec_private.h"

#include <string.h>

_Static_assert((int)BLX_CHANGE_FIGURES == (int)BLX_CHANGE_FIGURES_DISK, "figures of a change");

enum { CHECKSUM_OFFSET = (int)offsetof(struct blx_history_row_disk, checksum) };

void blx_change_encode(const struct blx_change *change, blx_le64 figures[BLX_CHANGE_FIGURES])
{
    uint64_t values[BLX_CHANGE_FIGURES];
    memcpy(values, change, sizeof(values));
    for (size_t i = 0; i < BLX_CHANGE_FIGURES; i++)
        figures[i] = blx_le64_of(values[i]);
}

void blx_change_decode(const blx_le64 figures[BLX_CHANGE_FIGURES], struct blx_change *change)
{
    uint64_t values[BLX_CHANGE_FIGURES];
    for (size_t i = 0; i < BLX_CHANGE_FIGURES; i++)
        values[i] = blx_le64_get(figures[i]);
    memcpy(change, values, sizeof(values));
}

void blx_history_row_encode(const struct blx_history_row *row, struct blx_history_row_disk *disk)
{
    *disk = (struct blx_history_row_disk){
        .magic = blx_le32_of(BLX_HISTORY_MAGIC),
        .version = BLX_LAYOUT_VERSION,
        .flags = row->suspicious ? BLX_HISTORY_SUSPICIOUS : 0,
        .checkpoint = blx_le64_of(row->checkpoint),
    };
    blx_change_encode(&row->change, disk->figures);
    disk->checksum = blx_le64_of(blx_layout_checksum(disk, sizeof(*disk), CHECKSUM_OFFSET));
}

bool blx_history_row_decode(struct blx_history_row_disk *disk, struct blx_history_row *row)
{
    if (blx_le32_get(disk->magic) != BLX_HISTORY_MAGIC || disk->version != BLX_LAYOUT_VERSION ||
        (disk->flags & ~BLX_HISTORY_SUSPICIOUS) != 0 || blx_le64_get(disk->checkpoint) == 0 ||
        blx_layout_checksum(disk, sizeof(*disk), CHECKSUM_OFFSET) != blx_le64_get(disk->checksum))
        return false;
    *row = (struct blx_history_row){
        .checkpoint = blx_le64_get(disk->checkpoint),
        .suspicious = (disk->flags & BLX_HISTORY_SUSPICIOUS) != 0,
    };
    blx_change_decode(disk->figures, &row->change);
    return true;
}
