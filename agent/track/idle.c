/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/track/idle_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/disk/sysfs.h"
#include "base/cleanup.h"

/* False also if the queue does not answer. */
static bool has_statistics(const char *name)
{
    uint64_t iostats = 0;
    return agent_sysfs_ask_queue(&iostats, name, "iostats") == 0 && iostats != 0;
}

/* The first number, Documentation/block/stat.rst. */
static bool count_reads(const char *name, uint64_t *reads)
{
    char text[512];
    return agent_sysfs_read_text(text, sizeof(text), "/sys/class/block/%s/stat", name) == 0 &&
           sscanf(text, "%" SCNu64, reads) == 1;
}

static bool reads_a_block(const struct agent_device *device)
{
    size_t bytes = device->logical_block_bytes;
    void *buffer = NULL;
    if (posix_memalign(&buffer, bytes < 4096 ? 4096 : bytes, bytes) != 0)
        return false;
    ssize_t count = agent_device_read(device, buffer, bytes, 0);
    free(buffer);
    return count > 0;
}

static bool is_stacked(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "/sys/class/block/%s/slaves", name);
    BLX_CLEANUP_DIR DIR *slaves = opendir(path);
    for (struct dirent *entry; slaves != NULL && (entry = readdir(slaves)) != NULL;) {
        if (entry->d_name[0] != '.')
            return true;
    }
    return false;
}

static bool is_request_based(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "/sys/class/block/%s/mq", name);
    if (access(path, F_OK) == 0)
        return true;
    snprintf(path, sizeof(path), "/sys/class/block/%s/../mq", name);
    return access(path, F_OK) == 0;
}

static bool has_writes_in_flight(const char *name)
{
    char text[64];
    uint64_t reads = 0, writes = 0;
    if (agent_sysfs_read_text(text, sizeof(text), "/sys/class/block/%s/inflight", name) < 0 ||
        sscanf(text, "%" SCNu64 " %" SCNu64, &reads, &writes) != 2)
        return true;
    return writes != 0;
}

/* What stands on others may hold writes without counting them, as dm does for some targets. */
static bool is_plain_and_idle(const char *name)
{
    return !is_stacked(name) && !has_writes_in_flight(name) &&
           (has_statistics(name) || !is_request_based(name));
}

static bool are_slaves_idle(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "/sys/block/%s/slaves", name);
    BLX_CLEANUP_DIR DIR *slaves = opendir(path);
    bool idle = true;
    for (struct dirent *entry; idle && slaves != NULL && (entry = readdir(slaves)) != NULL;)
        idle = entry->d_name[0] == '.' || is_plain_and_idle(entry->d_name);
    return idle;
}

enum agent_idle_view agent_idle_choose_view(const struct agent_device *device)
{
    uint64_t before, after;
    const char *name = device->disk_name;
    if (count_reads(name, &before) && reads_a_block(device) && count_reads(name, &after) &&
        after != before)
        return AGENT_IDLE_OWN;
    return has_statistics(name) || !is_stacked(name) ? AGENT_IDLE_BELOW : AGENT_IDLE_UNKNOWN;
}

bool agent_is_idle(const struct agent_device *device, enum agent_idle_view view)
{
    if (view == AGENT_IDLE_UNKNOWN || has_writes_in_flight(device->disk_name))
        return false;
    return view == AGENT_IDLE_OWN || are_slaves_idle(device->disk_name);
}
