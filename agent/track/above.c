/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/track/above_private.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

static bool has_holder(const char *disk, const char *partition)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "/sys/block/%s/%s/holders", disk, partition);
    BLX_CLEANUP_DIR DIR *holders = opendir(path);
    for (struct dirent *entry; holders != NULL && (entry = readdir(holders)) != NULL;) {
        if (entry->d_name[0] != '.' && strncmp(entry->d_name, "dm-", 3) != 0)
            return true;
    }
    return false;
}

bool agent_is_handed_bios(const struct agent_device *device)
{
    const char *disk = device->disk_name;
    char path[PATH_MAX];
    if (has_holder(disk, "."))
        return true;
    /* Partitions are folders that begin with the disk's name. */
    snprintf(path, sizeof(path), "/sys/block/%s", disk);
    BLX_CLEANUP_DIR DIR *entries = opendir(path);
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        if (strncmp(entry->d_name, disk, strlen(disk)) == 0 && has_holder(disk, entry->d_name))
            return true;
    }
    return false;
}
