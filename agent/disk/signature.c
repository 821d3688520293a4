/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/signature.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

enum {
    HEAD_BYTES = 128 * 1024, /* as far as any of them lies, in whole sectors of any size */
    UUID_BYTES = 16,
    LVM_SECTORS = 4, /* the label lies in one of the first four sectors */
    LVM_UUID_BYTES = 32,
    LUKS_UUID_BYTES = 36,
};

/* A superblock: its magic, and its UUID in binary form. */
struct kind {
    const char *name;
    size_t magic_at;
    const char *magic;
    size_t magic_bytes;
    size_t uuid_at;
};

/* GPT comes first: it stands behind an MBR that looks the same on every disk. Its second place is
 * for sectors of 4 KiB. */
static const struct kind kinds[] = {
    {"gpt", 512, "EFI PART", 8, 512 + 56},
    {"gpt", 4096, "EFI PART", 8, 4096 + 56},
    {"xfs", 0, "XFSB", 4, 32},
    {"ext", 0x438, "\x53\xef", 2, 0x468},
    {"btrfs", 0x10040, "_BHRfS_M", 8, 0x10020},
    {"swap", 4096 - 10, "SWAPSPACE2", 10, 0x40c},
};

static void put_hex(char text[BLX_TEXT_BYTES], const char *name, const uint8_t *bytes, size_t count)
{
    size_t used = (size_t)snprintf(text, BLX_TEXT_BYTES, "%s%s:", BLX_IDENTITY_OF_CONTENT, name);
    for (size_t i = 0; i < count && used + 3 < BLX_TEXT_BYTES; i++)
        used += (size_t)snprintf(text + used, 3, "%02x", bytes[i]);
}

/* UUIDs as text, which come from the disk. */
static void put_text(char text[BLX_TEXT_BYTES], const char *name, const uint8_t *bytes,
                     size_t count)
{
    size_t used = (size_t)snprintf(text, BLX_TEXT_BYTES, "%s%s:", BLX_IDENTITY_OF_CONTENT, name);
    for (size_t i = 0; i < count && bytes[i] > ' ' && bytes[i] < 127; i++)
        text[used++] = (char)bytes[i];
    text[used] = '\0';
}

static bool find_superblock(const uint8_t *head, char text[BLX_TEXT_BYTES])
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (memcmp(head + kinds[i].magic_at, kinds[i].magic, kinds[i].magic_bytes) != 0)
            continue;
        put_hex(text, kinds[i].name, head + kinds[i].uuid_at, UUID_BYTES);
        return true;
    }
    return false;
}

static bool find_volume(const uint8_t *head, char text[BLX_TEXT_BYTES])
{
    if (memcmp(head, "LUKS\xba\xbe", 6) == 0) {
        put_text(text, "luks", head + 168, LUKS_UUID_BYTES);
        return true;
    }
    for (size_t at = 0; at < LVM_SECTORS * (size_t)512; at += 512) {
        if (memcmp(head + at, "LABELONE", 8) == 0 && memcmp(head + at + 24, "LVM2 001", 8) == 0) {
            put_text(text, "lvm", head + at + 32, LVM_UUID_BYTES);
            return true;
        }
    }
    return false;
}

/* A partition table without a GPT. Some have no ID: then the table itself must do. */
static void find_mbr(const uint8_t *head, char text[BLX_TEXT_BYTES])
{
    static const uint8_t none[4];
    const uint8_t *id = head + 440, *table = head + 446;
    if (head[510] != 0x55 || head[511] != 0xaa)
        return;
    if (memcmp(id, none, sizeof(none)) != 0)
        put_hex(text, "mbr", id, sizeof(none));
    else
        put_hex(text, "mbr-table", table, 64);
}

void agent_signature_read(const struct agent_device *device, char text[BLX_TEXT_BYTES])
{
    void *buffer = NULL;
    text[0] = '\0';
    if (posix_memalign(&buffer, 4096, HEAD_BYTES) != 0)
        return;
    BLX_CLEANUP_FREE uint8_t *head = buffer;
    memset(head, 0, HEAD_BYTES);
    if (agent_device_read(device, head, HEAD_BYTES, 0) <= 0)
        return;
    if (!find_superblock(head, text) && !find_volume(head, text))
        find_mbr(head, text);
}
