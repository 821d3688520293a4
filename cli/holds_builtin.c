/* SPDX-License-Identifier: Apache-2.0 */
/* Without a library: the signatures that the disks of servers have. */
#include "cli/holds.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/le.h"
#include "base/text.h"

enum {
    HEAD_BYTES = 128 * 1024, /* as far as any of them lies */
    LABEL_MAX_BYTES = 64,
    MBR_MARK_AT = 510,
    MBR_TABLE_AT = 446,
    MBR_ENTRY_BYTES = 16,
    MBR_ENTRIES = 4,
};

struct signature {
    const char *name;
    size_t at;
    const char *magic;
    size_t magic_bytes;
    size_t label_at, label_bytes; /* label_bytes 0: none is looked for */
};

static const struct signature signatures[] = {
    {"xfs", 0, "XFSB", 4, 108, 12},
    {"ext", 0x438, "\x53\xef", 2, 0x478, 16},
    {"btrfs", 0x10040, "_BHRfS_M", 8, 0x1012b, 64},
    {"f2fs", 0x400, "\x10\x20\xf5\xf2", 4, 0, 0},
    {"bcachefs or bcache", 0x1018, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca", 8, 0, 0},
    {"swap", 4096 - 10, "SWAPSPACE2", 10, 0x41c, 16},
    {"LVM2_member", 512 + 24, "LVM2 001", 8, 0, 0},
    {"crypto_LUKS", 0, "LUKS\xba\xbe", 6, 0, 0},
    {"linux_raid_member", 4096, "\xfc\x4e\x2b\xa9", 4, 4096 + 32, 32},
    {"linux_raid_member", 0, "\xfc\x4e\x2b\xa9", 4, 32, 32},
    {"ntfs", 3, "NTFS    ", 8, 0, 0},
    {"vfat", 82, "FAT32   ", 8, 71, 11},
    {"vfat", 54, "FAT1", 4, 43, 11},
    {"iso9660", 0x8001, "CD001", 5, 0x8028, 32},
};

/* The versions of ext differ in their features. */
static const char *ext_version(const uint8_t *head)
{
    enum { HAS_JOURNAL = 0x4, EXTENTS = 0x40, FLEX_BG = 0x200, BIT64 = 0x80 };
    blx_le32 compatible, incompatible;
    memcpy(&compatible, head + 0x45c, sizeof(compatible));
    memcpy(&incompatible, head + 0x460, sizeof(incompatible));
    if ((blx_le32_get(incompatible) & (EXTENTS | FLEX_BG | BIT64)) != 0)
        return "ext4";
    return (blx_le32_get(compatible) & HAS_JOURNAL) != 0 ? "ext3" : "ext2";
}

static void describe(const struct signature *found, const uint8_t *head, char text[CLI_HOLDS_BYTES])
{
    char label[LABEL_MAX_BYTES + 1] = {0};
    memcpy(label, head + found->label_at, found->label_bytes);
    for (size_t end = strlen(label); end > 0 && label[end - 1] == ' '; end--)
        label[end - 1] = '\0';
    blx_text_clean(label);
    bool is_named = label[0] != '\0' && strcmp(label, "NO NAME") != 0;
    snprintf(text, CLI_HOLDS_BYTES, "%s%s%s%s",
             strcmp(found->name, "ext") == 0 ? ext_version(head) : found->name,
             is_named ? " '" : "", is_named ? label : "", is_named ? "'" : "");
}

/* The boot sector of a filesystem has the same mark as a table. In a table each entry begins with 0
 * or 0x80, and one at least is used. */
static bool is_dos_table(const uint8_t *head)
{
    bool is_used = false;
    if (head[MBR_MARK_AT] != 0x55 || head[MBR_MARK_AT + 1] != 0xaa)
        return false;
    for (size_t i = 0; i < MBR_ENTRIES; i++) {
        const uint8_t *entry = head + MBR_TABLE_AT + i * MBR_ENTRY_BYTES;
        if ((entry[0] & 0x7f) != 0)
            return false;
        is_used = is_used || entry[4] != 0;
    }
    return is_used;
}

void cli_holds_describe(int fd, char text[CLI_HOLDS_BYTES])
{
    text[0] = '\0';
    BLX_CLEANUP_FREE uint8_t *head = calloc(1, HEAD_BYTES);
    if (head == NULL)
        return;
    /* A short disk leaves the rest zero. */
    for (size_t at = 0; at < HEAD_BYTES; at += 4096)
        if (blx_pread_full(fd, head + at, 4096, at) < 0)
            break;
    for (size_t i = 0; i < sizeof(signatures) / sizeof(signatures[0]); i++) {
        if (memcmp(head + signatures[i].at, signatures[i].magic, signatures[i].magic_bytes) == 0) {
            describe(&signatures[i], head, text);
            return;
        }
    }
    if (memcmp(head + 512, "EFI PART", 8) == 0 || memcmp(head + 4096, "EFI PART", 8) == 0)
        snprintf(text, CLI_HOLDS_BYTES, "a gpt partition table");
    else if (is_dos_table(head))
        snprintf(text, CLI_HOLDS_BYTES, "a dos partition table");
}
