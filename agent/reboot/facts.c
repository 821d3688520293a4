/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/reboot/facts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/nvme_ioctl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__) || defined(__i386__)
#include <x86intrin.h>
#endif

#include "agent/disk/sysfs.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/units.h"

enum {
    STACK_DEPTH_MAX = 16,
    SECTOR_BYTES = 512,
    READ_ALIGN = 4096,
    PARTITIONS_MAX = 256,
    /* btrfs has its superblock at 64 KiB; ext4, xfs, LVM, md 1.1 and 1.2, LUKS, swap, GPT before.
     */
    HEAD_BYTES = 68 * 1024,
    /* md 0.90 and 1.0, and the second GPT. */
    TAIL_BYTES = 128 * 1024,
    CALIBRATE_NS = 50 * 1000 * 1000,
    STAT_WRITTEN = 6,
    STAT_DISCARDED = 13,
    STAT_FIELDS,
};

void agent_facts_read_boot_id(char boot_id[AGENT_SAVE_BOOT_ID_BYTES])
{
    if (agent_sysfs_read_text(boot_id, AGENT_SAVE_BOOT_ID_BYTES,
                              "/proc/sys/kernel/random/boot_id") < 0)
        boot_id[0] = '\0';
}

uint64_t agent_facts_read_clock_s(void)
{
    uint64_t seconds = 0;
    if (agent_sysfs_read_number(&seconds, "/sys/class/rtc/rtc0/since_epoch") == 0)
        return seconds;
    return blx_clock_realtime_ns() / BLX_NS_PER_S;
}

static uint64_t read_ns(clockid_t clock)
{
    struct timespec now = {0};
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * BLX_NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t agent_facts_read_start_s(void)
{
    return agent_facts_read_clock_s() - read_ns(CLOCK_BOOTTIME) / BLX_NS_PER_S;
}

int64_t agent_facts_measure_firmware_s(void)
{
#if defined(__x86_64__) || defined(__i386__)
    const struct timespec pause = {.tv_nsec = CALIBRATE_NS};
    const uint64_t begun_ns = read_ns(CLOCK_MONOTONIC_RAW), begun = __rdtsc();
    nanosleep(&pause, NULL);
    const uint64_t ticks = __rdtsc() - begun, took_ns = read_ns(CLOCK_MONOTONIC_RAW) - begun_ns;
    if (ticks == 0 || took_ns == 0)
        return -1;
    const double ran_s = (double)(begun + ticks) / (double)ticks * (double)took_ns / 1e9;
    const double firmware_s = ran_s - (double)read_ns(CLOCK_BOOTTIME) / 1e9;
    return firmware_s < 0 || firmware_s > 1e9 ? -1 : (int64_t)(firmware_s + 0.5);
#else
    return -1;
#endif
}

/* ---- what the kernel has counted */

struct written {
    uint64_t sectors;
    bool is_busy;
};

static int add_stat(const char *disk, struct written *written)
{
    char text[512];
    uint64_t fields[STAT_FIELDS], iostats = 0;
    int64_t reads = 0, writes = 0;
    int rc = agent_sysfs_read_text(text, sizeof(text), "/sys/class/block/%s/stat", disk);
    const char *at = text;
    for (int i = 0; rc == 0 && i < STAT_FIELDS; i++) {
        char *end;
        fields[i] = strtoull(at, &end, 10);
        rc = end == at ? -EINVAL : 0;
        at = end;
    }
    if (rc < 0 || agent_sysfs_ask_queue(&iostats, disk, "iostats") < 0 || iostats == 0)
        return -ENOTSUP;
    rc = agent_sysfs_read_text(text, sizeof(text), "/sys/class/block/%s/inflight", disk);
    if (rc < 0 || sscanf(text, "%" SCNd64 " %" SCNd64, &reads, &writes) != 2)
        return -ENOTSUP;
    written->sectors += fields[STAT_WRITTEN] + fields[STAT_DISCARDED];
    written->is_busy |= writes != 0;
    return 0;
}

static int add_below(const char *name, unsigned depth, struct written *written);

/* The disk itself, or that of a partition. */
static int add_one(const char *name, unsigned depth, struct written *written)
{
    char link[PATH_MAX], target[PATH_MAX];
    snprintf(link, sizeof(link), "/sys/class/block/%s/partition", name);
    if (access(link, F_OK) < 0)
        return add_below(name, depth, written);
    snprintf(link, sizeof(link), "/sys/class/block/%s/..", name);
    if (realpath(link, target) == NULL || strrchr(target, '/') == NULL)
        return -ENOTSUP;
    return add_below(strrchr(target, '/') + 1, depth, written);
}

/* A disk without slaves counts itself; the others are as their slaves. */
static int add_below(const char *name, unsigned depth, struct written *written)
{
    char path[PATH_MAX];
    size_t slaves = 0;
    if (depth >= STACK_DEPTH_MAX)
        return -ENOTSUP;
    snprintf(path, sizeof(path), "/sys/class/block/%s/slaves", name);
    BLX_CLEANUP_DIR DIR *folder = opendir(path);
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        slaves++;
        int rc = add_one(entry->d_name, depth + 1, written);
        if (rc < 0)
            return rc;
    }
    return slaves > 0 ? 0 : add_stat(name, written);
}

int agent_facts_read_written(const struct agent_device *device, uint64_t *sectors, bool *is_busy)
{
    struct written written = {0};
    int rc = device->bio_based ? add_below(device->disk_name, 0, &written)
                               : add_stat(device->disk_name, &written);
    *sectors = written.sectors;
    *is_busy = written.is_busy;
    return rc;
}

/* ---- superblocks */

/* A range of the volume. */
struct part {
    uint64_t start, bytes;
};

struct parts {
    struct part list[PARTITIONS_MAX];
    size_t count;
};

static int compare_parts(const void *one, const void *two)
{
    const struct part *a = one, *b = two;
    return a->start < b->start ? -1 : a->start > b->start;
}

/* The volume, and the partitions of its disk that lie within it, by their place. */
static void find_parts(const struct agent_device *device, struct parts *parts)
{
    char path[128];
    parts->list[0] = (struct part){0, device->size_bytes};
    parts->count = 1;
    snprintf(path, sizeof(path), "/sys/block/%s", device->disk_name);
    BLX_CLEANUP_DIR DIR *folder =
        strcmp(device->disk_name, device->kernel_name) == 0 ? opendir(path) : NULL;
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        uint64_t start = 0, sectors = 0, number = 0;
        if (entry->d_name[0] == '.' || parts->count == PARTITIONS_MAX ||
            agent_sysfs_read_number(&number, "%s/%s/partition", path, entry->d_name) < 0 ||
            agent_sysfs_read_number(&start, "%s/%s/start", path, entry->d_name) < 0 ||
            agent_sysfs_read_number(&sectors, "%s/%s/size", path, entry->d_name) < 0)
            continue;
        parts->list[parts->count++] = (struct part){start * SECTOR_BYTES, sectors * SECTOR_BYTES};
    }
    qsort(parts->list, parts->count, sizeof(parts->list[0]), compare_parts);
}

/* Any bytes of the device, which is read in aligned pieces. */
static int read_any(const struct agent_device *device, uint64_t start, size_t bytes, uint8_t *to)
{
    uint8_t *buffer = aligned_alloc(READ_ALIGN, AGENT_PATIENCE_DATA_BYTES);
    int rc = buffer == NULL ? -ENOMEM : 0;
    while (rc == 0 && bytes > 0) {
        const uint64_t first = start / READ_ALIGN * READ_ALIGN;
        const size_t skip = (size_t)(start - first);
        size_t want = AGENT_PATIENCE_DATA_BYTES / 2;
        ssize_t got = agent_device_read(device, buffer, want, first);
        if (got <= (ssize_t)skip) {
            rc = got < 0 ? (int)got : -ENODATA;
            break;
        }
        size_t piece = (size_t)got - skip;
        piece = piece < bytes ? piece : bytes;
        memcpy(to, buffer + skip, piece);
        to += piece;
        start += piece;
        bytes -= piece;
    }
    free(buffer);
    return rc;
}

static bool has_fat(const struct agent_device *device, const struct part *part)
{
    enum { FAT16_AT = 54, FAT32_AT = 82 };
    uint8_t sector[SECTOR_BYTES];
    if (part->bytes < sizeof(sector) || read_any(device, part->start, sizeof(sector), sector) < 0)
        return false;
    return sector[510] == 0x55 && sector[511] == 0xaa &&
           (memcmp(sector + FAT16_AT, "FAT1", 4) == 0 ||
            memcmp(sector + FAT32_AT, "FAT32", 5) == 0);
}

static int digest_range(EVP_MD_CTX *context, const struct agent_device *device, uint64_t start,
                        size_t bytes)
{
    BLX_CLEANUP_FREE uint8_t *data = malloc(bytes);
    int rc = data == NULL ? -ENOMEM : read_any(device, start, bytes, data);
    if (rc == 0 && EVP_DigestUpdate(context, data, bytes) != 1)
        rc = -ENOMEM;
    return rc;
}

static int digest_part(EVP_MD_CTX *context, const struct agent_device *device,
                       const struct part *part)
{
    const size_t head = part->bytes < HEAD_BYTES ? (size_t)part->bytes : HEAD_BYTES;
    const size_t tail = part->bytes < TAIL_BYTES ? (size_t)part->bytes : TAIL_BYTES;
    if (EVP_DigestUpdate(context, part, sizeof(*part)) != 1)
        return -ENOMEM;
    int rc = digest_range(context, device, part->start, head);
    return rc < 0 ? rc : digest_range(context, device, part->start + part->bytes - tail, tail);
}

static int digest_parts(const struct agent_device *device, const struct parts *parts,
                        uint8_t digest[AGENT_SAVE_DIGEST_BYTES])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int rc = context == NULL || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1 ? -ENOMEM : 0;
    for (size_t i = 0; rc == 0 && i < parts->count; i++)
        if (!has_fat(device, &parts->list[i]))
            rc = digest_part(context, device, &parts->list[i]);
    if (rc == 0 && EVP_DigestFinal_ex(context, digest, NULL) != 1)
        rc = -ENOMEM;
    EVP_MD_CTX_free(context);
    return rc;
}

static int digest_text(const char *text, uint8_t digest[AGENT_SAVE_DIGEST_BYTES])
{
    return EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
}

/* 0 and one more in `above`, or what keeps it from being told. */
static int add_above(const struct agent_device *device, const char *name,
                     struct agent_save_above *above, uint32_t *count)
{
    char uuid[160], path[PATH_MAX];
    uint32_t major = 0, minor = 0;
    uint64_t start = 0;
    struct agent_device upper;
    if (agent_sysfs_read_text(uuid, sizeof(uuid), "/sys/class/block/%s/dm/uuid", name) < 0 ||
        agent_sysfs_read_devno(&major, &minor, "/sys/class/block/%s/dev", name) < 0 ||
        !agent_device_carries(device, major, minor, &start) || start != UINT64_MAX)
        return 0;
    if (uuid[0] == '\0' || *count == AGENT_SAVE_ABOVE)
        return -E2BIG;
    snprintf(path, sizeof(path), "/dev/%s", name);
    int rc = agent_device_find(path, &upper, NULL);
    const struct parts whole = {.list = {{0, upper.size_bytes}}, .count = 1};
    if (rc == 0)
        rc = digest_parts(&upper, &whole, above[*count].superblock);
    if (rc == 0)
        rc = digest_text(uuid, above[*count].uuid);
    *count += rc == 0;
    return rc;
}

static int find_above(const struct agent_device *device, struct agent_save_above *above,
                      uint32_t *count)
{
    BLX_CLEANUP_DIR DIR *folder = opendir("/sys/class/block");
    int rc = folder == NULL ? -errno : 0;
    *count = 0;
    for (struct dirent *entry; rc == 0 && (entry = readdir(folder)) != NULL;)
        if (strncmp(entry->d_name, "dm-", 3) == 0)
            rc = add_above(device, entry->d_name, above, count);
    return rc;
}

int agent_facts_read_superblocks(const struct agent_device *device,
                                 struct agent_save_volume *volume, struct blx_error *err)
{
    struct parts parts;
    find_parts(device, &parts);
    int rc = digest_parts(device, &parts, volume->superblocks);
    if (rc == 0)
        rc = find_above(device, volume->above, &volume->above_count);
    if (rc == -E2BIG)
        return blx_error_set(
            err, rc, "more than %d device-mapper devices lie on '%s', or one without a UUID",
            AGENT_SAVE_ABOVE, device->path);
    return rc < 0 ? blx_error_errno(err, rc, "cannot read the superblocks on '%s'", device->path)
                  : 0;
}

static bool has_above(const struct agent_save_above *wanted, const struct agent_save_above *list,
                      uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (memcmp(&list[i], wanted, sizeof(*wanted)) == 0)
            return true;
    return false;
}

bool agent_facts_has_superblocks(const struct agent_device *device,
                                 const struct agent_save_volume *volume)
{
    struct agent_save_volume found = {0};
    if (agent_facts_read_superblocks(device, &found, NULL) < 0 ||
        memcmp(found.superblocks, volume->superblocks, sizeof(found.superblocks)) != 0)
        return false;
    for (uint32_t i = 0; i < volume->above_count; i++)
        if (!has_above(&volume->above[i], found.above, found.above_count))
            return false;
    return true;
}

size_t agent_facts_list_fat(const struct agent_device *device, struct blx_extent *extents,
                            size_t max, unsigned block_shift)
{
    struct parts parts;
    size_t count = 0;
    find_parts(device, &parts);
    for (size_t i = 0; i < parts.count && count < max; i++) {
        const struct part *part = &parts.list[i];
        if (part->bytes == 0 || !has_fat(device, part))
            continue;
        const uint64_t first = part->start >> block_shift;
        const uint64_t last = (part->start + part->bytes - 1) >> block_shift;
        extents[count++] = (struct blx_extent){first, last - first + 1};
    }
    return count;
}

/* ---- the drive's own count */

struct smart {
    struct agent_reach reach;
    uint64_t commands;
};

/* Log page 2, "SMART / Health Information": bytes 80 to 95 are the Host Write Commands. */
static int ask_smart(void *arg, struct agent_patience_io *io)
{
    enum { GET_LOG_PAGE = 2, PAGE = 2, PAGE_BYTES = 512, COMMANDS_AT = 80 };
    struct smart *smart = arg;
    uint8_t *page = io->data;
    const uint32_t dwords = PAGE_BYTES / 4 - 1;
    int fd = agent_reach_open(&smart->reach);
    if (fd < 0)
        return fd;
    memset(page, 0, PAGE_BYTES);
    struct nvme_admin_cmd command = {.opcode = GET_LOG_PAGE,
                                     .nsid = UINT32_MAX,
                                     .addr = (uint64_t)(uintptr_t)page,
                                     .data_len = PAGE_BYTES,
                                     .cdw10 = PAGE | dwords << 16};
    int rc = ioctl(fd, NVME_IOCTL_ADMIN_CMD, &command);
    agent_reach_rest();
    if (rc != 0)
        return rc < 0 ? -errno : -EIO;
    memcpy(&smart->commands, page + COMMANDS_AT, sizeof(smart->commands));
    return 0;
}

uint64_t agent_facts_read_commands(const struct agent_device *device)
{
    static const struct agent_patience_call call = {.run = ask_smart,
                                                    .arg_bytes = sizeof(struct smart)};
    struct smart smart = {.reach = agent_device_get_reach(device)};
    struct agent_patience_io io = {.lent_fd = -1};
    if (strncmp(device->disk_name, "nvme", 4) != 0 ||
        agent_device_run(device, &call, &smart, &io, agent_patience_get_ms()) < 0)
        return UINT64_MAX;
    return le64toh(smart.commands);
}
