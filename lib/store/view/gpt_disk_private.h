/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A GPT on the disk, for view/partitions.c, which reads one, and restore/gpt.c, which moves its
 * second copy. Private to lib/store.
 */
#pragma once

#include <stdint.h>

#include "base/le.h"

/* The fields of a header on the disk; UEFI 2.10, 5.3.2. The rest of its sector is zero. */
struct gpt_header_disk {
    uint8_t signature[8]; /* GPT_SIGNATURE */
    blx_le32 revision;
    blx_le32 header_bytes; /* what header_crc covers */
    blx_le32 header_crc;   /* of the header with this field zero */
    blx_le32 reserved;
    blx_le64 own_lba;
    blx_le64 other_lba; /* the other copy's header */
    blx_le64 first_usable_lba, last_usable_lba;
    uint8_t disk_id[16];
    blx_le64 entries_lba;
    blx_le32 entry_count;
    blx_le32 entry_bytes;
    blx_le32 entries_crc;
} __attribute__((packed));
_Static_assert(sizeof(struct gpt_header_disk) == 92, "UEFI says 92");

struct gpt_entry_disk {
    uint8_t type[16]; /* all zero: unused */
    uint8_t id[16];
    blx_le64 first_lba, last_lba; /* both included */
    blx_le64 flags;
    uint8_t name[72];
} __attribute__((packed));
_Static_assert(sizeof(struct gpt_entry_disk) == 128, "UEFI says 128");

#define GPT_SIGNATURE "EFI PART"
