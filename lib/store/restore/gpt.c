/* SPDX-License-Identifier: Apache-2.0 */
#include "store/restore/gpt.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "store/view/gpt_disk_private.h"

enum {
    HEADER_BYTES = sizeof(struct gpt_header_disk),
    ENTRY_BYTES = sizeof(struct gpt_entry_disk),
    SMALL_SECTOR = 512,
    LARGE_SECTOR = 4096,
    TABLE_MAX_BYTES = 1 << 20, /* 8192 entries; UEFI wants 16 KiB at least, and nobody has more */
    MBR_TABLE_AT = 446,
    MBR_ENTRY_BYTES = 16,
    MBR_ENTRIES = 4,
    MBR_TYPE_AT = 4,
    MBR_START_AT = 8,
    MBR_COUNT_AT = 12,
    MBR_PROTECTIVE = 0xee,
};

struct disk {
    const char *path;
    int fd;
    uint64_t bytes;
    uint32_t sector_bytes;
    uint64_t sectors;
};

struct table {
    struct gpt_header_disk header;
    uint64_t other_lba, last_usable_lba;
    uint32_t entries_bytes;
    uint64_t entries_sectors;
    uint64_t last_used_lba; /* of all partitions; 0: there are none */
};

static int damaged(const struct disk *disk, const char *what, struct blx_error *err)
{
    return blx_error_set(err, -EBADMSG,
                         "the GPT of '%s' is damaged (%s) and was left alone: look at it with "
                         "`sgdisk --verify %s`",
                         disk->path, what, disk->path);
}

static int read_at(const struct disk *disk, void *buffer, size_t bytes, uint64_t lba,
                   struct blx_error *err)
{
    int rc = blx_pread_full(disk->fd, buffer, bytes, lba * disk->sector_bytes);
    return rc < 0 ? blx_error_errno(err, rc, "cannot read '%s'", disk->path) : 0;
}

static int write_at(const struct disk *disk, const void *buffer, size_t bytes, uint64_t lba,
                    struct blx_error *err)
{
    int rc = blx_pwrite_full(disk->fd, buffer, bytes, lba * disk->sector_bytes);
    return rc < 0 ? blx_error_errno(err, rc, "cannot write '%s'", disk->path) : 0;
}

static int flush(const struct disk *disk, struct blx_error *err)
{
    return blx_sys->fsync(disk->fd) == 0
               ? 0
               : blx_error_errno(err, -errno, "cannot flush '%s'", disk->path);
}

static int open_disk(const char *path, struct disk *disk, struct blx_error *err)
{
    struct blx_error cause = {0};
    struct stat st;
    *disk = (struct disk){.path = path, .fd = -1, .sector_bytes = SMALL_SECTOR};
    disk->fd = blx_open(path, O_RDWR | O_EXCL | O_NONBLOCK, 0, &cause);
    if (disk->fd == -EBUSY)
        return blx_error_set(err, -EBUSY, "'%s' is in use: unmount what is on it first", path);
    if (disk->fd < 0)
        return blx_error_copy(err, disk->fd, &cause);
    if (fstat(disk->fd, &st) != 0)
        return blx_error_errno(err, -errno, "cannot look at '%s'", path);
    if (S_ISREG(st.st_mode)) {
        disk->bytes = (uint64_t)st.st_size;
        return 0;
    }
    unsigned sector_bytes = 0;
    if (!S_ISBLK(st.st_mode))
        return blx_error_set(err, -EINVAL, "'%s' is neither a block device nor an image", path);
    if (ioctl(disk->fd, BLKGETSIZE64, &disk->bytes) != 0 ||
        ioctl(disk->fd, BLKSSZGET, &sector_bytes) != 0)
        return blx_error_errno(err, -errno, "cannot ask for the size of '%s'", path);
    disk->sector_bytes = sector_bytes;
    return 0;
}

/* 1: sector 1 of sectors of this size begins as a GPT does. */
static int has_signature(const struct disk *disk, uint32_t sector_bytes, struct blx_error *err)
{
    uint8_t signature[sizeof(GPT_SIGNATURE) - 1];
    if (disk->bytes < 3 * (uint64_t)sector_bytes)
        return 0;
    const struct disk as = {.path = disk->path, .fd = disk->fd, .sector_bytes = sector_bytes};
    int rc = read_at(&as, signature, sizeof(signature), 1, err);
    return rc < 0 ? rc : memcmp(signature, GPT_SIGNATURE, sizeof(signature)) == 0;
}

/* 1: there is a GPT for sectors of the disk's own size; an image has the size of its table. */
static int find_table(struct disk *disk, struct blx_error *err)
{
    static const uint32_t sizes[] = {SMALL_SECTOR, LARGE_SECTOR};
    struct stat st;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        int rc = has_signature(disk, sizes[i], err);
        if (rc < 0)
            return rc;
        if (rc == 0)
            continue;
        if (sizes[i] != disk->sector_bytes && fstat(disk->fd, &st) == 0 && S_ISBLK(st.st_mode))
            return blx_error_set(err, -EBADMSG,
                                 "the GPT of '%s' is for sectors of %u bytes, and the disk has "
                                 "sectors of %u bytes: the server cannot boot from it; restore to "
                                 "a disk with sectors of %u bytes",
                                 disk->path, sizes[i], disk->sector_bytes, sizes[i]);
        disk->sector_bytes = sizes[i];
        disk->sectors = disk->bytes / disk->sector_bytes;
        return 1;
    }
    return 0;
}

static uint32_t checksum(const void *bytes, size_t count)
{
    return (uint32_t)crc32(0, bytes, (uInt)count);
}

static uint32_t header_checksum(const struct gpt_header_disk *header)
{
    struct gpt_header_disk copy = *header;
    copy.header_crc = blx_le32_of(0);
    return checksum(&copy, sizeof(copy));
}

/* A header may say that it is longer than what is known of it; then it could mean more, too. */
static int check_header(const struct disk *disk, struct table *table, struct blx_error *err)
{
    const struct gpt_header_disk *header = &table->header;
    uint32_t entry_bytes = blx_le32_get(header->entry_bytes);
    uint64_t bytes = (uint64_t)blx_le32_get(header->entry_count) * entry_bytes;
    if (blx_le32_get(header->header_bytes) != HEADER_BYTES)
        return damaged(disk, "its header has an unknown length", err);
    if (blx_le32_get(header->header_crc) != header_checksum(header))
        return damaged(disk, "the header's checksum does not match", err);
    if (blx_le64_get(header->own_lba) != 1)
        return damaged(disk, "the header says that it lies elsewhere", err);
    if (entry_bytes < ENTRY_BYTES || entry_bytes % ENTRY_BYTES != 0 || bytes == 0 ||
        bytes > TABLE_MAX_BYTES)
        return damaged(disk, "its size makes no sense", err);
    table->entries_bytes = (uint32_t)bytes;
    table->entries_sectors = (bytes + disk->sector_bytes - 1) / disk->sector_bytes;
    table->other_lba = blx_le64_get(header->other_lba);
    table->last_usable_lba = blx_le64_get(header->last_usable_lba);
    uint64_t entries = blx_le64_get(header->entries_lba);
    uint64_t first = blx_le64_get(header->first_usable_lba);
    if (table->other_lba >= disk->sectors || table->last_usable_lba >= table->other_lba)
        return blx_error_set(err, -ENOSPC,
                             "the GPT of '%s' is of a larger disk (%llu sectors; this one has "
                             "%llu): restore to a disk at least as large as the old one",
                             disk->path, (unsigned long long)table->other_lba + 1,
                             (unsigned long long)disk->sectors);
    if (entries < 2 || first > table->last_usable_lba || first < table->entries_sectors ||
        entries > first - table->entries_sectors)
        return damaged(disk, "it does not lie before the partitions", err);
    return 0;
}

static int check_entries(const struct disk *disk, const uint8_t *entries, struct table *table,
                         struct blx_error *err)
{
    static const uint8_t unused[16];
    uint32_t entry_bytes = blx_le32_get(table->header.entry_bytes);
    uint64_t first_usable = blx_le64_get(table->header.first_usable_lba);
    if (checksum(entries, table->entries_bytes) != blx_le32_get(table->header.entries_crc))
        return damaged(disk, "the checksum of the partitions does not match", err);
    for (uint32_t at = 0; at < table->entries_bytes; at += entry_bytes) {
        struct gpt_entry_disk entry;
        memcpy(&entry, entries + at, sizeof(entry));
        if (memcmp(entry.type, unused, sizeof(unused)) == 0)
            continue;
        uint64_t first = blx_le64_get(entry.first_lba), last = blx_le64_get(entry.last_lba);
        if (first < first_usable || last < first || last > table->last_usable_lba)
            return damaged(disk, "a partition lies outside of the room for partitions", err);
        if (last > table->last_used_lba)
            table->last_used_lba = last;
    }
    return 0;
}

/* The first copy and its entries, which the caller frees. */
static int read_table(const struct disk *disk, struct table *table, uint8_t **entries,
                      struct blx_error *err)
{
    *table = (struct table){0};
    int rc = read_at(disk, &table->header, sizeof(table->header), 1, err);
    if (rc == 0)
        rc = check_header(disk, table, err);
    if (rc < 0)
        return rc;
    /* In whole sectors, as they are written again. */
    size_t bytes = (size_t)table->entries_sectors * disk->sector_bytes;
    BLX_CLEANUP_FREE uint8_t *buffer = calloc(1, bytes);
    if (buffer == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read the partitions of '%s'", disk->path);
    rc = read_at(disk, buffer, table->entries_bytes, blx_le64_get(table->header.entries_lba), err);
    if (rc == 0)
        rc = check_entries(disk, buffer, table, err);
    if (rc == 0)
        *entries = blx_take_ptr(buffer);
    return rc;
}

static int write_header(const struct disk *disk, struct gpt_header_disk header,
                        struct blx_error *err)
{
    uint8_t sector[LARGE_SECTOR] = {0};
    header.header_crc = blx_le32_of(header_checksum(&header));
    memcpy(sector, &header, sizeof(header));
    return write_at(disk, sector, disk->sector_bytes, blx_le64_get(header.own_lba), err);
}

static uint32_t protective_count(uint64_t sectors)
{
    return sectors - 1 < UINT32_MAX ? (uint32_t)(sectors - 1) : UINT32_MAX;
}

/* The MBR before a GPT has an entry that covers the disk. Any other entry is somebody's own. */
static int stretch_mbr(const struct disk *disk, uint64_t old_sectors, struct blx_error *err)
{
    uint8_t sector[SMALL_SECTOR];
    int rc = read_at(disk, sector, sizeof(sector), 0, err);
    if (rc < 0 || sector[510] != 0x55 || sector[511] != 0xaa)
        return rc;
    for (size_t i = 0; i < MBR_ENTRIES; i++) {
        uint8_t *entry = sector + MBR_TABLE_AT + i * MBR_ENTRY_BYTES;
        blx_le32 start, count;
        memcpy(&start, entry + MBR_START_AT, sizeof(start));
        memcpy(&count, entry + MBR_COUNT_AT, sizeof(count));
        if (entry[MBR_TYPE_AT] != MBR_PROTECTIVE || blx_le32_get(start) != 1 ||
            blx_le32_get(count) != protective_count(old_sectors))
            continue;
        count = blx_le32_of(protective_count(disk->sectors));
        memcpy(entry + MBR_COUNT_AT, &count, sizeof(count));
        return write_at(disk, sector, sizeof(sector), 0, err);
    }
    return 0;
}

/* Programs that look for copies would find it; but it may lie in no partition's room. */
static int clear_old_copy(const struct disk *disk, const struct table *table, uint64_t new_entries,
                          struct blx_error *err)
{
    static const uint8_t zeroes[LARGE_SECTOR];
    uint8_t signature[sizeof(GPT_SIGNATURE) - 1];
    if (table->other_lba >= new_entries)
        return 0; /* the new copy lies there */
    int rc = read_at(disk, signature, sizeof(signature), table->other_lba, err);
    if (rc < 0 || memcmp(signature, GPT_SIGNATURE, sizeof(signature)) != 0)
        return rc;
    return write_at(disk, zeroes, disk->sector_bytes, table->other_lba, err);
}

/*
 * While the new copy is written the first copy still names the old one. If the disk has grown by
 * less than a table's length the new entries may lie over the old header: then a crash leaves the
 * first copy alone, which is whole and enough for every program.
 */
static int move_copy(const struct disk *disk, const struct table *table, const uint8_t *entries,
                     struct blx_error *err)
{
    uint64_t last = disk->sectors - 1;
    uint64_t new_entries = last - table->entries_sectors;
    struct gpt_header_disk first = table->header, second;
    first.other_lba = blx_le64_of(last);
    first.last_usable_lba = blx_le64_of(new_entries - 1);
    second = first;
    second.own_lba = blx_le64_of(last);
    second.other_lba = blx_le64_of(1);
    second.entries_lba = blx_le64_of(new_entries);
    int rc = write_at(disk, entries, (size_t)table->entries_sectors * disk->sector_bytes,
                      new_entries, err);
    if (rc == 0)
        rc = write_header(disk, second, err);
    if (rc == 0)
        rc = flush(disk, err);
    if (rc == 0)
        rc = write_header(disk, first, err);
    if (rc == 0)
        rc = stretch_mbr(disk, table->other_lba + 1, err);
    if (rc == 0)
        rc = flush(disk, err);
    if (rc == 0)
        rc = clear_old_copy(disk, table, new_entries, err);
    return rc == 0 ? flush(disk, err) : rc;
}

static int move_table(const struct disk *disk, struct blx_gpt_move *move, struct blx_error *err)
{
    struct table table;
    BLX_CLEANUP_FREE uint8_t *entries = NULL;
    int rc = read_table(disk, &table, &entries, err);
    if (rc < 0)
        return rc;
    if (table.other_lba == disk->sectors - 1) {
        *move = (struct blx_gpt_move){.outcome = BLX_GPT_IN_PLACE};
        return 0;
    }
    /* other_lba is below the last sector, and the entries before the partitions have this size. */
    uint64_t last_usable = disk->sectors - 2 - table.entries_sectors;
    if (last_usable < table.last_used_lba || last_usable < table.last_usable_lba)
        return blx_error_set(err, -ENOSPC,
                             "the second copy of the GPT does not fit behind the partitions of "
                             "'%s': it was left alone",
                             disk->path);
    rc = move_copy(disk, &table, entries, err);
    if (rc == 0)
        *move = (struct blx_gpt_move){.outcome = BLX_GPT_MOVED,
                                      .gained_bytes = (last_usable - table.last_usable_lba) *
                                                      disk->sector_bytes};
    return rc;
}

int blx_gpt_move(const char *path, struct blx_gpt_move *move, struct blx_error *err)
{
    struct disk disk;
    int rc = open_disk(path, &disk, err);
    if (rc == 0)
        rc = find_table(&disk, err);
    if (rc > 0)
        rc = move_table(&disk, move, err);
    else if (rc == 0)
        *move = (struct blx_gpt_move){.outcome = BLX_GPT_NONE};
    if (disk.fd >= 0)
        close(disk.fd);
    return rc;
}
