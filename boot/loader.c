/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/loader.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { SECTOR_BYTES = 512, CODE_BYTES = 440, MARK_OFFSET = 510, DOS_TYPE_BYTES = 2 };

/* Types of partitions as partitions.h writes them. */
static const char esp_of_gpt[] = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
static const char esp_of_dos[] = "ef";
static const char bios_boot[] = "21686148-6449-6e6f-744e-656564454649";

static bool has_code(const uint8_t sector[SECTOR_BYTES])
{
    static const uint8_t none[CODE_BYTES];
    return sector[MARK_OFFSET] == 0x55 && sector[MARK_OFFSET + 1] == 0xaa &&
           memcmp(sector, none, sizeof(none)) != 0;
}

int boot_loader_find(const struct blx_partitioned *disk, unsigned *loaders)
{
    uint8_t sector[SECTOR_BYTES];
    struct blx_partition partitions[BLX_MAX_PARTITIONS];
    bool has_esp = false, has_bios_boot = false, is_gpt = false;
    *loaders = BOOT_LOADER_NONE;
    if (disk->size_bytes < sizeof(sector))
        return 0;
    int rc = disk->read(disk->arg, sector, sizeof(sector), 0);
    int count = rc == 0 ? blx_partitions_find(disk, partitions) : rc;
    for (int i = 0; i < count; i++) {
        const char *type = partitions[i].type;
        has_esp = has_esp || strcmp(type, esp_of_gpt) == 0 || strcmp(type, esp_of_dos) == 0;
        has_bios_boot = has_bios_boot || strcmp(type, bios_boot) == 0;
        is_gpt = is_gpt || strlen(type) > DOS_TYPE_BYTES;
    }
    if (count < 0)
        return count;
    if (has_code(sector) && (!is_gpt || has_bios_boot || !has_esp))
        *loaders |= BOOT_LOADER_BIOS;
    if (has_esp)
        *loaders |= BOOT_LOADER_UEFI;
    return 0;
}
