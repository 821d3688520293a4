/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/partitions.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/le.h"
#include "store/view/gpt_disk_private.h"

enum {
    SECTOR_BYTES = 512,
    GPT_ENTRY_MIN_BYTES = 128,
    GPT_ENTRY_MAX_BYTES = 4096,
    DOS_SIGNATURE_OFFSET = 440,
    DOS_TABLE_OFFSET = 446,
    DOS_ENTRIES = 4,
    DOS_FIRST_LOGICAL = 5,
    DOS_GPT = 0xee,
    DOS_EXTENDED = 0x05,
    DOS_EXTENDED_LBA = 0x0f,
    DOS_EXTENDED_LINUX = 0x85,
};

struct dos_entry_disk {
    uint8_t status;
    uint8_t first[3];
    uint8_t type;
    uint8_t last[3];
    blx_le32 start;
    blx_le32 count;
} __attribute__((packed));

struct search {
    const struct blx_partitioned *disk;
    struct blx_partition *partitions;
    int count;
    unsigned logical_count, link_count; /* of all extended partitions */
    uint32_t signature;                 /* of a DOS table */
};

/* What is empty, or reaches beyond the disk, is none. NULL then. */
static struct blx_partition *add(struct search *search, unsigned number, uint64_t start,
                                 uint64_t count, unsigned sector_bytes)
{
    uint64_t sectors = search->disk->size_bytes / sector_bytes;
    if (search->count == BLX_MAX_PARTITIONS || start == 0 || count == 0 || start >= sectors ||
        count > sectors - start)
        return NULL;
    struct blx_partition *added = &search->partitions[search->count++];
    *added = (struct blx_partition){
        .number = number, .offset_bytes = start * sector_bytes, .bytes = count * sector_bytes};
    return added;
}

/* The entry's start is counted from `from`. */
static void add_dos(struct search *search, unsigned number, uint64_t from,
                    const struct dos_entry_disk *entry)
{
    struct blx_partition *added = add(search, number, from + blx_le32_get(entry->start),
                                      blx_le32_get(entry->count), SECTOR_BYTES);
    if (added == NULL)
        return;
    snprintf(added->id, sizeof(added->id), "%08x-%02x", search->signature, number);
    snprintf(added->type, sizeof(added->type), "%02x", entry->type);
}

/* The first three fields of a GPT's ID are little-endian. */
static void format_id(const uint8_t id[16], char text[BLX_PARTITION_ID_BYTES])
{
    static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    for (size_t i = 0; i < sizeof(order); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *text++ = '-';
        text += snprintf(text, 3, "%02x", id[order[i]]);
    }
}

static void add_gpt(struct search *search, unsigned number, const struct gpt_entry_disk *entry,
                    unsigned sector_bytes)
{
    uint64_t first = blx_le64_get(entry->first_lba), last = blx_le64_get(entry->last_lba);
    if (first > last || last == UINT64_MAX)
        return;
    struct blx_partition *added = add(search, number, first, last - first + 1, sector_bytes);
    if (added == NULL)
        return;
    format_id(entry->id, added->id);
    format_id(entry->type, added->type);
}

static int read_at(const struct search *search, void *buffer, size_t bytes, uint64_t offset)
{
    const struct blx_partitioned *disk = search->disk;
    if (offset > disk->size_bytes || bytes > disk->size_bytes - offset) {
        memset(buffer, 0, bytes);
        return 0;
    }
    return disk->read(disk->arg, buffer, bytes, offset);
}

/* 1: there is a table, and it was read. */
static int read_gpt(struct search *search, uint64_t header_lba, unsigned sector_bytes)
{
    static const uint8_t unused[16];
    struct gpt_header_disk header;
    int rc = read_at(search, &header, sizeof(header), header_lba * sector_bytes);
    if (rc < 0 || memcmp(header.signature, GPT_SIGNATURE, sizeof(header.signature)) != 0)
        return rc;
    uint64_t lba = blx_le64_get(header.entries_lba);
    uint32_t count = blx_le32_get(header.entry_count), bytes = blx_le32_get(header.entry_bytes);
    if (lba > search->disk->size_bytes / sector_bytes || bytes < GPT_ENTRY_MIN_BYTES ||
        bytes > GPT_ENTRY_MAX_BYTES)
        return 0;
    for (uint32_t i = 0; i < count && i < BLX_MAX_PARTITIONS; i++) {
        struct gpt_entry_disk entry;
        rc = read_at(search, &entry, sizeof(entry), lba * sector_bytes + (uint64_t)i * bytes);
        if (rc < 0)
            return rc;
        if (memcmp(entry.type, unused, sizeof(unused)) != 0)
            add_gpt(search, i + 1, &entry, sector_bytes);
    }
    return 1;
}

/* The first copy, or the second one at the disk's end; of a disk with small or large sectors. */
static int find_gpt(struct search *search)
{
    static const unsigned sizes[] = {512, 4096};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t sectors = search->disk->size_bytes / sizes[i];
        rc = read_gpt(search, 1, sizes[i]);
        if (rc == 0 && sectors > 1)
            rc = read_gpt(search, sectors - 1, sizes[i]);
    }
    return rc;
}

static bool is_extended(const struct dos_entry_disk *entry)
{
    return entry->type == DOS_EXTENDED || entry->type == DOS_EXTENDED_LBA ||
           entry->type == DOS_EXTENDED_LINUX;
}

/* 1: there is a table in the sector. */
static int read_dos(const struct search *search, uint64_t sector,
                    struct dos_entry_disk entries[DOS_ENTRIES])
{
    uint8_t bytes[SECTOR_BYTES];
    int rc = read_at(search, bytes, sizeof(bytes), sector * SECTOR_BYTES);
    if (rc < 0 || bytes[510] != 0x55 || bytes[511] != 0xaa)
        return rc;
    memcpy(entries, bytes + DOS_TABLE_OFFSET, DOS_ENTRIES * sizeof(entries[0]));
    for (size_t i = 0; i < DOS_ENTRIES; i++)
        if ((entries[i].status & 0x7f) != 0)
            return 0; /* the first sector of a filesystem, which has the same mark */
    return 1;
}

/* The logical partitions are a chain of tables, each with one partition and the next table's place.
 * As many are followed as there may be partitions. A link whose partition was deleted takes no
 * number, as with the kernel. */
static int read_logical(struct search *search, uint64_t extended)
{
    uint64_t at = extended;
    while (search->link_count++ < BLX_MAX_PARTITIONS) {
        struct dos_entry_disk entries[DOS_ENTRIES];
        int rc = read_dos(search, at, entries);
        if (rc <= 0)
            return rc;
        if (blx_le32_get(entries[0].count) != 0)
            add_dos(search, DOS_FIRST_LOGICAL + search->logical_count++, at, &entries[0]);
        if (!is_extended(&entries[1]) || blx_le32_get(entries[1].count) == 0)
            return 0;
        at = extended + blx_le32_get(entries[1].start);
    }
    return 0;
}

static int find_dos(struct search *search, const struct dos_entry_disk entries[DOS_ENTRIES])
{
    blx_le32 signature;
    int rc = read_at(search, &signature, sizeof(signature), DOS_SIGNATURE_OFFSET);
    search->signature = rc == 0 ? blx_le32_get(signature) : 0;
    for (unsigned i = 0; i < DOS_ENTRIES; i++)
        if (entries[i].type != 0 && entries[i].type != DOS_GPT && !is_extended(&entries[i]))
            add_dos(search, i + 1, 0, &entries[i]);
    for (unsigned i = 0; rc == 0 && i < DOS_ENTRIES; i++)
        if (is_extended(&entries[i]))
            rc = read_logical(search, blx_le32_get(entries[i].start));
    return rc;
}

int blx_partitions_find(const struct blx_partitioned *disk,
                        struct blx_partition partitions[BLX_MAX_PARTITIONS])
{
    struct search search = {.disk = disk, .partitions = partitions};
    struct dos_entry_disk entries[DOS_ENTRIES];
    int rc = read_dos(&search, 0, entries);
    if (rc <= 0)
        return rc;
    bool protects_gpt = false;
    for (size_t i = 0; i < DOS_ENTRIES; i++)
        protects_gpt = protects_gpt || entries[i].type == DOS_GPT;
    rc = protects_gpt ? find_gpt(&search) : 0;
    if (rc == 0)
        rc = find_dos(&search, entries);
    return rc < 0 ? rc : search.count;
}

void blx_partition_name(const char *disk, unsigned number, char *name, size_t bytes)
{
    bool digit = isdigit((unsigned char)disk[strlen(disk) - 1]) != 0;
    snprintf(name, bytes, "%s%s%u", disk, digit ? "p" : "", number);
}
