/* SPDX-License-Identifier: Apache-2.0 */
#include "store/signal/suspicion_codec_private.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/text.h"
#include "store/signal/history_codec_private.h"

enum { CHECKSUM_OFFSET = (int)offsetof(struct blx_suspicion_disk, checksum) };

_Static_assert((int)BLX_SIGNAL_REASON_BYTES == (int)BLX_SUSPICION_REASON_BYTES, "reason");

void blx_suspicion_encode(const struct blx_suspicion *suspicion, struct blx_suspicion_disk *disk)
{
    *disk = (struct blx_suspicion_disk){
        .magic = blx_le32_of(BLX_SUSPICION_MAGIC),
        .version = BLX_LAYOUT_VERSION,
        .kind = (uint8_t)suspicion->kind,
        .sensitivity = (uint8_t)suspicion->sensitivity,
        .checkpoint = blx_le64_of(suspicion->checkpoint),
        .since = blx_le64_of(suspicion->since),
        .calm = blx_le64_of(suspicion->calm),
        .judged_realtime_ns = blx_le64_of(suspicion->judged_realtime_ns),
    };
    blx_change_encode(&suspicion->change, disk->figures);
    blx_text_copy(disk->reason, sizeof(disk->reason), suspicion->reason);
    blx_text_clean(disk->reason);
    disk->checksum = blx_le64_of(blx_layout_checksum(disk, sizeof(*disk), CHECKSUM_OFFSET));
}

static bool is_date(blx_timestamp timestamp)
{
    char digits[BLX_TIMESTAMP_TEXT_BYTES];
    blx_timestamp parsed;
    blx_timestamp_format(timestamp, digits);
    return blx_timestamp_parse(digits, &parsed, NULL) == 0 && parsed == timestamp;
}

static bool is_sound(const struct blx_suspicion_disk *disk)
{
    blx_timestamp calm = blx_le64_get(disk->calm);
    return disk->kind > BLX_SIGNAL_NONE && disk->kind < BLX_SIGNAL_KINDS &&
           disk->sensitivity < BLX_SENSITIVITIES && is_date(blx_le64_get(disk->checkpoint)) &&
           is_date(blx_le64_get(disk->since)) && (calm == 0 || is_date(calm)) &&
           blx_layout_text_ok(disk->reason, sizeof(disk->reason));
}

int blx_suspicion_decode(const void *content, size_t bytes, struct blx_suspicion *suspicion,
                         struct blx_error *err)
{
    struct blx_suspicion_disk disk;
    if (bytes != sizeof(disk))
        return blx_error_set(err, -EBADMSG, "it has %zu bytes in place of %zu", bytes,
                             sizeof(disk));
    memcpy(&disk, content, sizeof(disk));
    if (blx_le32_get(disk.magic) != BLX_SUSPICION_MAGIC ||
        blx_layout_checksum(&disk, sizeof(disk), CHECKSUM_OFFSET) != blx_le64_get(disk.checksum))
        return blx_error_set(err, -EBADMSG, "its checksum is wrong");
    if (disk.version != BLX_LAYOUT_VERSION)
        return blx_error_set(err, -ENOTSUP,
                             "it has version %u, this program knows %d; use a newer blxrep",
                             disk.version, BLX_LAYOUT_VERSION);
    if (!is_sound(&disk))
        return blx_error_set(err, -EBADMSG, "a field has a value that it cannot have");
    *suspicion = (struct blx_suspicion){
        .checkpoint = blx_le64_get(disk.checkpoint),
        .since = blx_le64_get(disk.since),
        .calm = blx_le64_get(disk.calm),
        .judged_realtime_ns = blx_le64_get(disk.judged_realtime_ns),
        .kind = (enum blx_signal_kind)disk.kind,
        .sensitivity = (enum blx_sensitivity)disk.sensitivity,
    };
    blx_change_decode(disk.figures, &suspicion->change);
    blx_text_copy(suspicion->reason, sizeof(suspicion->reason), disk.reason);
    blx_text_clean(suspicion->reason);
    return 0;
}
