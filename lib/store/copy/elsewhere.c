/* SPDX-License-Identifier: Apache-2.0 */
#include "store/copy/elsewhere.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"
#include "store/layout_private.h"

enum { CHECKSUM_OFFSET = (int)offsetof(struct blx_elsewhere_disk, checksum) };

int blx_elsewhere_path(struct blx_agent_store agent, char path[PATH_MAX], struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_agent_store_path(agent, dir, err);
    return rc < 0 ? rc : blx_path_format(path, PATH_MAX, err, "%s/elsewhere", dir);
}

/* The field is zero. */
static void put_text(char field[BLX_TEXT_BYTES], const char *text)
{
    blx_text_copy(field, BLX_TEXT_BYTES, text);
    blx_text_clean(field);
}

int blx_elsewhere_write(struct blx_agent_store agent, const struct blx_elsewhere *elsewhere,
                        struct blx_error *err)
{
    char path[PATH_MAX];
    struct blx_elsewhere_disk disk = {
        .magic = blx_le32_of(BLX_COPIES_MAGIC),
        .version = BLX_LAYOUT_VERSION,
        .lock = (uint8_t)elsewhere->lock,
        .newest = blx_le64_of(elsewhere->newest),
        .copied_s = blx_le64_of((uint64_t)elsewhere->copied_s),
        .locked_until_s = blx_le64_of((uint64_t)elsewhere->locked_until_s),
        .tried_s = blx_le64_of((uint64_t)elsewhere->tried_s),
        .strange_newest = blx_le64_of(elsewhere->strange_newest),
        .strange_count = blx_le64_of(elsewhere->strange_count),
        .retained_s = blx_le64_of((uint64_t)elsewhere->retained_s),
    };
    put_text(disk.place, elsewhere->place);
    put_text(disk.not_locked, elsewhere->not_locked);
    put_text(disk.failure, elsewhere->failure);
    disk.checksum = blx_le64_of(blx_layout_checksum(&disk, sizeof(disk), CHECKSUM_OFFSET));
    int rc = blx_elsewhere_path(agent, path, err);
    /* Readable for a dispatcher of another user, as an order to rescan is. */
    return rc < 0 ? rc : blx_file_replace(path, &disk, sizeof(disk), 0644, err);
}

/* A checkpoint's name, or 0. */
static bool is_timestamp(uint64_t value)
{
    char digits[BLX_TIMESTAMP_TEXT_BYTES];
    blx_timestamp parsed;
    if (value == 0)
        return true;
    if (value > BLX_TIMESTAMP_MAX)
        return false;
    blx_timestamp_format(value, digits);
    return blx_timestamp_parse(digits, &parsed, NULL) == 0 && parsed == value;
}

static bool is_sound(const struct blx_elsewhere_disk *disk)
{
    return disk->lock < BLX_COPIED_LOCKS && is_timestamp(blx_le64_get(disk->newest)) &&
           is_timestamp(blx_le64_get(disk->strange_newest)) &&
           blx_le64_get(disk->copied_s) <= INT64_MAX && blx_le64_get(disk->tried_s) <= INT64_MAX &&
           blx_le64_get(disk->locked_until_s) <= INT64_MAX &&
           blx_le64_get(disk->retained_s) <= INT64_MAX &&
           blx_layout_text_ok(disk->place, sizeof(disk->place)) &&
           blx_layout_text_ok(disk->not_locked, sizeof(disk->not_locked)) &&
           blx_layout_text_ok(disk->failure, sizeof(disk->failure));
}

static void take(const struct blx_elsewhere_disk *disk, struct blx_elsewhere *elsewhere)
{
    *elsewhere = (struct blx_elsewhere){
        .newest = blx_le64_get(disk->newest),
        .copied_s = (int64_t)blx_le64_get(disk->copied_s),
        .locked_until_s = (int64_t)blx_le64_get(disk->locked_until_s),
        .lock = (enum blx_copied_lock)disk->lock,
        .tried_s = (int64_t)blx_le64_get(disk->tried_s),
        .strange_newest = blx_le64_get(disk->strange_newest),
        .strange_count = blx_le64_get(disk->strange_count),
        .retained_s = (int64_t)blx_le64_get(disk->retained_s),
    };
    blx_text_set(elsewhere->place, disk->place);
    blx_text_set(elsewhere->not_locked, disk->not_locked);
    blx_text_set(elsewhere->failure, disk->failure);
}

int blx_elsewhere_read(struct blx_agent_store agent, struct blx_elsewhere *elsewhere,
                       struct blx_error *err)
{
    char path[PATH_MAX], content[sizeof(struct blx_elsewhere_disk) + 1];
    struct blx_elsewhere_disk disk;
    int rc = blx_elsewhere_path(agent, path, err);
    if (rc < 0)
        return rc;
    ssize_t bytes = blx_file_read_small(AT_FDCWD, path, content, sizeof(content));
    if (bytes == -ENOENT)
        return 0;
    if (bytes < 0 && bytes != -EFBIG)
        return blx_error_errno(err, (int)bytes, "cannot read '%s'", path);
    if (bytes != (ssize_t)sizeof(disk))
        return blx_error_set(err, -EBADMSG, "'%s' is damaged: it has another size", path);
    memcpy(&disk, content, sizeof(disk));
    if (blx_le32_get(disk.magic) != BLX_COPIES_MAGIC ||
        blx_layout_checksum(&disk, sizeof(disk), CHECKSUM_OFFSET) != blx_le64_get(disk.checksum))
        return blx_error_set(err, -EBADMSG, "'%s' is damaged: its checksum is wrong", path);
    if (disk.version != BLX_LAYOUT_VERSION)
        return blx_error_set(err, -ENOTSUP,
                             "'%s' has version %u, this program knows %d; use a newer blxrep", path,
                             disk.version, BLX_LAYOUT_VERSION);
    if (!is_sound(&disk))
        return blx_error_set(err, -EBADMSG, "'%s' is damaged: a field cannot have its value", path);
    take(&disk, elsewhere);
    return 1;
}
