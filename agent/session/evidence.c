/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/session/evidence_private.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "agent/disk/sysfs.h"

enum { SECTOR_BYTES = 512, WORD_BITS = 64 };

static int add(struct agent_evidence *evidence, const struct agent_evidence_range *range)
{
    if (evidence->count == evidence->capacity) {
        size_t capacity = 2 * evidence->capacity + 16;
        struct agent_evidence_range *grown =
            reallocarray(evidence->ranges, capacity, sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        evidence->ranges = grown;
        evidence->capacity = capacity;
    }
    evidence->ranges[evidence->count++] = *range;
    return 0;
}

/* The range of each volume that the block device is, if it is one range there. */
static int add_device(const struct agent *agent, struct agent_devno devno, size_t mount,
                      struct agent_evidence *evidence)
{
    for (size_t v = 0; v < agent->volume_count; v++) {
        uint64_t start = UINT64_MAX, sectors = 0;
        if (!agent_device_carries(&agent->devices[v], devno.major, devno.minor, &start) ||
            start == UINT64_MAX ||
            agent_sysfs_read_number(&sectors, "/sys/dev/block/%" PRIu32 ":%" PRIu32 "/size",
                                    devno.major, devno.minor) < 0)
            continue;
        struct agent_evidence_range range = {.volume = v,
                                             .mount = mount,
                                             .begin_bytes = start,
                                             .end_bytes = start + sectors * SECTOR_BYTES};
        int rc = add(evidence, &range);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Swap in a file lies in its filesystem's range. */
static int add_swap(const struct agent *agent, struct agent_evidence *evidence)
{
    BLX_CLEANUP_FILE FILE *file = fopen("/proc/swaps", "re");
    BLX_CLEANUP_FREE char *line = NULL;
    size_t capacity = 0;
    int rc = 0;
    while (rc == 0 && file != NULL && getline(&line, &capacity, file) >= 0) {
        char path[PATH_MAX];
        struct stat st;
        if (sscanf(line, "%4095s partition", path) != 1 || path[0] != '/' || stat(path, &st) < 0 ||
            !S_ISBLK(st.st_mode))
            continue;
        rc = add_device(agent, (struct agent_devno){major(st.st_rdev), minor(st.st_rdev)}, SIZE_MAX,
                        evidence);
    }
    return rc;
}

int agent_evidence_prepare(const struct agent *agent, const struct agent_mounts *mounts,
                           struct agent_evidence *evidence, struct blx_error *err)
{
    int rc = add_swap(agent, evidence);
    for (size_t m = 0; m < mounts->count; m++) {
        const struct agent_mount *mount = &mounts->mounts[m];
        for (size_t p = 0; rc == 0 && p < mount->part_count; p++)
            rc = add_device(agent, mount->parts[p], m, evidence);
    }
    return rc == 0 ? 0 : blx_error_errno(err, rc, "cannot prepare a cut");
}

void agent_evidence_done(struct agent_evidence *evidence)
{
    free(evidence->ranges);
    *evidence = (struct agent_evidence){0};
}

static bool counts(const struct agent_evidence_range *range, const struct agent *agent)
{
    return range->mount == SIZE_MAX || agent_freeze_holds(agent->freezer, range->mount);
}

bool agent_evidence_covers(const struct agent_evidence *evidence, const struct agent *agent,
                           size_t volume)
{
    for (size_t i = 0; i < evidence->count; i++)
        if (evidence->ranges[i].volume == volume && counts(&evidence->ranges[i], agent))
            return true;
    return false;
}

static bool is_excepted(const struct agent_evidence *evidence, const struct agent *agent,
                        size_t volume, uint64_t block)
{
    unsigned shift = agent->volumes[volume].block_shift;
    for (size_t i = 0; i < evidence->count; i++) {
        const struct agent_evidence_range *range = &evidence->ranges[i];
        if (range->volume == volume && range->begin_bytes <= block << shift &&
            (block + 1) << shift <= range->end_bytes && counts(range, agent))
            return true;
    }
    return false;
}

bool agent_evidence_find_writer(const struct agent_evidence *evidence, const struct agent *agent,
                                size_t volume, uint64_t *block)
{
    const struct agent_volume *one = &agent->volumes[volume];
    uint64_t words = (one->blocks + WORD_BITS - 1) / WORD_BITS;
    for (uint64_t w = 0; w < words; w++) {
        uint64_t bits = __atomic_load_n(&one->dirty[w], __ATOMIC_SEQ_CST);
        for (; bits != 0; bits &= bits - 1) {
            *block = w * WORD_BITS + (uint64_t)__builtin_ctzll(bits);
            if (!is_excepted(evidence, agent, volume, *block))
                return true;
        }
    }
    return false;
}

void agent_evidence_name(const struct agent *agent, size_t volume, uint64_t block, char name[80])
{
    const struct agent_device *device = &agent->devices[volume];
    uint64_t sector =
        ((block << agent->volumes[volume].block_shift) + device->disk_start_bytes) / SECTOR_BYTES;
    char path[128];
    snprintf(name, 80, "/dev/%s", device->kernel_name);
    snprintf(path, sizeof(path), "/sys/block/%s", device->disk_name);
    BLX_CLEANUP_DIR DIR *disk = opendir(path);
    for (struct dirent *entry; disk != NULL && (entry = readdir(disk)) != NULL;) {
        uint64_t start = 0, sectors = 0;
        if (agent_sysfs_read_number(&start, "%s/%s/start", path, entry->d_name) < 0 ||
            agent_sysfs_read_number(&sectors, "%s/%s/size", path, entry->d_name) < 0)
            continue;
        if (start <= sector && sector < start + sectors)
            snprintf(name, 80, "/dev/%.70s", entry->d_name);
    }
}
