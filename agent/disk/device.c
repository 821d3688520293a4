/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/device.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "agent/disk/sysfs.h"
#include "base/assert.h"
#include "base/cleanup.h"
#include "base/io.h"

enum {
    SECTOR_BYTES = 512,
    STACK_DEPTH_MAX = 16, /* device-mapper on md on partitions ...: anything deeper is a loop */
};

/* The last two components of the device's place in sysfs: ".../block/loop0/loop0p1" -> "loop0",
 * "loop0p1". */
static int sysfs_names(uint32_t major, uint32_t minor, char name[64], char parent[64])
{
    char link[64], target[PATH_MAX];
    snprintf(link, sizeof(link), "/sys/dev/block/%" PRIu32 ":%" PRIu32, major, minor);
    ssize_t length = readlink(link, target, sizeof(target) - 1);
    if (length < 0)
        return -errno;
    target[length] = '\0';
    char *slash = strrchr(target, '/');
    if (slash == NULL)
        return -EINVAL;
    *slash = '\0';
    char *above = strrchr(target, '/');
    if (strlen(slash + 1) >= 64 || above == NULL || strlen(above + 1) >= 64)
        return -ENAMETOOLONG;
    strcpy(name, slash + 1);
    strcpy(parent, above + 1);
    return 0;
}

/* If major:minor is a partition: its disk and its start there. -ENOENT if it is a whole disk. */
static int partition_of(uint32_t major, uint32_t minor, uint32_t *disk_major, uint32_t *disk_minor,
                        uint64_t *start_sector)
{
    uint64_t number = 0;
    int r = agent_sysfs_read_number(&number, "/sys/dev/block/%" PRIu32 ":%" PRIu32 "/partition",
                                    major, minor);
    if (r < 0)
        return r;
    r = agent_sysfs_read_number(start_sector, "/sys/dev/block/%" PRIu32 ":%" PRIu32 "/start", major,
                                minor);
    if (r < 0)
        return r;
    return agent_sysfs_read_devno(disk_major, disk_minor,
                                  "/sys/dev/block/%" PRIu32 ":%" PRIu32 "/../dev", major, minor);
}

static int find_disk(struct agent_device *device, struct blx_error *err)
{
    char parent[64];
    int r = sysfs_names(device->major, device->minor, device->kernel_name, parent);
    if (r < 0)
        return blx_error_errno(err, r,
                               "cannot find device '%s' (%" PRIu32 ":%" PRIu32
                               ") in /sys/dev/block; is sysfs mounted?",
                               device->path, device->major, device->minor);
    uint64_t start_sector = 0;
    r = partition_of(device->major, device->minor, &device->disk_major, &device->disk_minor,
                     &start_sector);
    if (r == 0) {
        memcpy(device->disk_name, parent, sizeof(parent));
    } else if (r == -ENOENT) {
        memcpy(device->disk_name, device->kernel_name, sizeof(device->disk_name));
        device->disk_major = device->major;
        device->disk_minor = device->minor;
    } else {
        return blx_error_errno(err, r, "cannot read where partition '%s' begins from sysfs",
                               device->path);
    }
    device->disk_start_bytes = start_sector * SECTOR_BYTES;
    return 0;
}

static int refuse_multipath_head(const struct agent_device *device, struct blx_error *err)
{
    char link[128], target[PATH_MAX];
    snprintf(link, sizeof(link), "/sys/block/%s", device->disk_name);
    ssize_t length = readlink(link, target, sizeof(target) - 1);
    if (length < 0)
        return 0;
    target[length] = '\0';
    if (strstr(target, "/nvme-subsystem/") == NULL)
        return 0;
    return blx_error_set(
        err, -ENOTSUP,
        "device '%s' is an NVMe multipath device, whose writes the kernel reports under the "
        "name of a hidden path; boot with nvme_core.multipath=N, or protect a "
        "device-mapper volume on it",
        device->path);
}

static int check_size(const struct agent_device *device, struct blx_error *err)
{
    if (device->size_bytes != 0)
        return 0;
    return blx_error_set(err, -ENOMEDIUM,
                         "device '%s' has size zero; attach a medium or set its size first",
                         device->path);
}

/* 0 before Linux 5.15, which has none. */
static uint64_t disk_sequence(const char *disk_name)
{
    uint64_t sequence = 0;
    if (agent_sysfs_read_number(&sequence, "/sys/block/%s/diskseq", disk_name) < 0)
        return 0;
    return sequence;
}

/* Serial numbers come padded with blanks, and may contain any byte. */
static void make_printable(char *text)
{
    size_t length = 0;
    for (const char *c = text + strspn(text, " "); *c != '\0'; c++)
        text[length++] = *c > ' ' && *c < 127 ? *c : '_';
    while (length > 0 && text[length - 1] == '_')
        length--;
    text[length] = '\0';
}

/* The unit serial number page of a SCSI disk, for one that has no WWID. */
static void read_vpd_serial(const char *disk_name, char *text, size_t bytes)
{
    enum { LENGTH = 3, SERIAL = 4 };
    char path[160];
    uint8_t page[256];
    text[0] = '\0';
    snprintf(path, sizeof(path), "/sys/block/%s/device/vpd_pg80", disk_name);
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDONLY, 0, NULL);
    ssize_t got = fd < 0 ? -1 : read(fd, page, sizeof(page));
    if (got > SERIAL && got - SERIAL >= page[LENGTH])
        snprintf(text, bytes, "%.*s", page[LENGTH], (const char *)page + SERIAL);
}

static void read_identity(struct agent_device *device)
{
    static const char *const files[] = {"wwid",    "device/wwid", "dm/uuid",
                                        "md/uuid", "serial",      "device/serial"};
    char disk[160] = "";
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]) && disk[0] == '\0'; i++) {
        if (agent_sysfs_read_text(disk, sizeof(disk), "/sys/block/%s/%s", device->disk_name,
                                  files[i]) < 0)
            disk[0] = '\0';
        make_printable(disk);
    }
    if (disk[0] == '\0') {
        read_vpd_serial(device->disk_name, disk, sizeof(disk));
        make_printable(disk);
    }
    uint64_t number = 0;
    bool partition = agent_sysfs_read_number(&number, "/sys/block/%s/%s/partition",
                                             device->disk_name, device->kernel_name) == 0;
    device->identity[0] = '\0';
    if (disk[0] != '\0' && partition)
        snprintf(device->identity, sizeof(device->identity), "%s-part%" PRIu64, disk, number);
    else if (disk[0] != '\0')
        snprintf(device->identity, sizeof(device->identity), "%s", disk);
}

static int fill(struct agent_device *device, struct blx_error *err)
{
    int r = find_disk(device, err);
    if (r == 0)
        r = refuse_multipath_head(device, err);
    if (r == 0)
        r = check_size(device, err);
    if (r < 0)
        return r;
    char mq[128];
    snprintf(mq, sizeof(mq), "/sys/block/%s/mq", device->disk_name);
    device->bio_based = access(mq, F_OK) < 0;
    read_identity(device);
    blx_name_from_device(device->path, device->name);
    return 0;
}

/* A device that is looked for, in a helper: also sysfs may wait for a disk, as for a virtio one's
 * serial number. */
struct finding {
    struct agent_device device; /* `path` is given */
    bool found;                 /* stat() has succeeded */
    struct blx_error error;     /* of what was found */
};

static void put_name(const char *path, char name[BLX_TEXT_BYTES + 2])
{
    snprintf(name, BLX_TEXT_BYTES + 2, "'%s'", path);
}

/* What the name leads to. */
static int follow(struct finding *finding)
{
    struct agent_device *device = &finding->device;
    char node[PATH_MAX];
    struct stat st;
    if (realpath(device->path, node) == NULL || stat(node, &st) < 0)
        return -errno;
    finding->found = true;
    if (!S_ISBLK(st.st_mode)) /* opening a FIFO would wait for a writer */
        return -ENOTBLK;
    if (strlen(node) >= sizeof(device->node))
        return -ENAMETOOLONG;
    strcpy(device->node, node);
    device->major = major(st.st_rdev);
    device->minor = minor(st.st_rdev);
    return 0;
}

static int ask_size(int fd, struct agent_device *device)
{
    int logical_block_bytes = 0;
    if (ioctl(fd, BLKGETSIZE64, &device->size_bytes) < 0 ||
        ioctl(fd, BLKSSZGET, &logical_block_bytes) < 0)
        return -errno;
    device->logical_block_bytes = (uint32_t)logical_block_bytes;
    return 0;
}

static int find_in_helper(void *arg, struct agent_patience_io *io)
{
    enum { FIRST_BYTES = 4096 };
    struct finding *finding = arg;
    struct agent_device *device = &finding->device;
    int rc = follow(finding);
    if (rc < 0)
        return rc;
    const struct agent_reach reach = agent_device_get_reach(device);
    int fd = agent_reach_open(&reach);
    if (fd < 0)
        return fd;
    device->disk_seq = agent_reach_read_disk_seq(fd);
    rc = ask_size(fd, device);
    /* Does it answer? Whether it can be read is found out later. */
    ssize_t got = pread(fd, io->data, FIRST_BYTES, 0);
    (void)got;
    agent_reach_rest(); /* before the caller goes on, who may want to see it free */
    return rc < 0 ? rc : fill(device, &finding->error);
}

/* Why it could not be opened. */
static int explain(int rc, const struct finding *finding, struct blx_error *err)
{
    const char *path = finding->device.path;
    char name[BLX_TEXT_BYTES + 2], since[BLX_TEXT_BYTES];
    put_name(path, name);
    if (rc == -ETIME && agent_patience_explain(name, since, sizeof(since)))
        return blx_error_set(err, rc, "%s", since);
    if (rc == -ETIME) /* it has just answered */
        return blx_error_set(err, rc, "'%s' did not answer in time", path);
    if (finding->error.code != 0)
        return blx_error_copy(err, rc, &finding->error);
    if (rc != -EAGAIN && !finding->found)
        return blx_error_set(err, rc, "cannot find device '%s': %s; check the name with lsblk",
                             path, strerror(-rc));
    if (rc == -ENOTBLK)
        return blx_error_set(
            err, rc, "'%s' is no block device; name a disk, partition or volume that lsblk lists",
            path);
    if (rc == -EACCES || rc == -EPERM)
        return blx_error_set(err, rc, "cannot open device '%s': %s; run the agent as root", path,
                             strerror(-rc));
    if (rc == -ENXIO || rc == -ENOMEDIUM)
        return blx_error_set(
            err, rc,
            "cannot open device '%s': no medium is attached to it, or it takes no requests", path);
    return blx_error_errno(err, rc, "cannot open device '%s'", path);
}

int agent_device_find(const char *path, struct agent_device *device, struct blx_error *err)
{
    static const struct agent_patience_call call = {.run = find_in_helper,
                                                    .arg_bytes = sizeof(struct finding)};
    struct agent_patience_io io = {.lent_fd = -1};
    struct finding finding = {.found = false};
    if (strlen(path) >= sizeof(finding.device.path))
        return blx_error_set(err, -ENAMETOOLONG,
                             "the device's name '%.64s...' is too long; name a shorter link to it",
                             path);
    strcpy(finding.device.path, path);
    char name[BLX_TEXT_BYTES + 2];
    put_name(path, name);
    int rc = agent_patience_run(name, &call, &finding, &io, agent_patience_get_ms());
    if (rc == 0 || finding.error.code == -ENOMEDIUM)
        *device = finding.device;
    return rc < 0 ? explain(rc, &finding, err) : 0;
}

struct agent_reach agent_device_get_reach(const struct agent_device *device)
{
    struct agent_reach reach = {
        .major = device->major, .minor = device->minor, .disk_seq = device->disk_seq};
    strcpy(reach.node, device->node);
    return reach;
}

int agent_device_run(const struct agent_device *device, const struct agent_patience_call *call,
                     void *arg, struct agent_patience_io *io, uint64_t timeout_ms)
{
    char name[BLX_TEXT_BYTES + 2];
    put_name(device->path, name);
    io->lent_fd = -1;
    return agent_patience_run(name, call, arg, io, timeout_ms);
}

struct piece {
    struct agent_reach reach;
    uint64_t offset;
    size_t bytes;
    ssize_t got;
};

static int read_in_helper(void *arg, struct agent_patience_io *io)
{
    struct piece *piece = arg;
    int fd = agent_reach_open(&piece->reach);
    if (fd < 0)
        return fd;
    piece->got = pread(fd, io->data, piece->bytes, (off_t)piece->offset);
    return piece->got < 0 ? -errno : 0;
}

ssize_t agent_device_read(const struct agent_device *device, void *buffer, size_t bytes,
                          uint64_t offset)
{
    static const struct agent_patience_call call = {
        .run = read_in_helper, .rest = agent_reach_rest, .arg_bytes = sizeof(struct piece)};
    struct piece piece = {
        .reach = agent_device_get_reach(device), .offset = offset, .bytes = bytes};
    struct agent_patience_io io = {.data = buffer, .data_bytes = bytes};
    blx_assert(bytes <= AGENT_PATIENCE_DATA_BYTES);
    int r = agent_device_run(device, &call, &piece, &io, agent_patience_get_ms());
    return r < 0 ? r : piece.got;
}

bool agent_device_is_stuck(const struct agent_device *device, char why[BLX_TEXT_BYTES])
{
    char name[BLX_TEXT_BYTES + 2];
    put_name(device->path, name);
    return agent_patience_explain(name, why, BLX_TEXT_BYTES);
}

int agent_device_knock(const struct agent_device *device)
{
    static _Thread_local uint64_t turn;
    uint8_t sector[4096];
    size_t bytes = device->logical_block_bytes;
    uint64_t sectors = device->size_bytes / bytes;
    /* Far apart, in no order: what some cache has says nothing about the disk. */
    uint64_t number = sectors > 0 ? (++turn * UINT64_C(0x9e3779b97f4a7c15)) % sectors : 0;
    if (bytes > sizeof(sector))
        return 0;
    ssize_t got = agent_device_read(device, sector, bytes, number * bytes);
    return got == -ETIME ? -ETIME : 0;
}

/* A disk that was pulled out or has failed is not in sysfs; one without a medium has no size. */
static bool is_gone(const struct agent_device *device, uint64_t *size_bytes, char name[64])
{
    char parent[64];
    uint64_t sectors = 0;
    int r = agent_sysfs_read_number(&sectors, "/sys/dev/block/%" PRIu32 ":%" PRIu32 "/size",
                                    device->major, device->minor);
    *size_bytes = sectors * SECTOR_BYTES;
    return r < 0 || sectors == 0 || sysfs_names(device->major, device->minor, name, parent) < 0;
}

const char *agent_device_find_change(const struct agent_device *device)
{
    uint64_t size_bytes = 0, start_sector = 0;
    uint32_t disk_major = device->major, disk_minor = device->minor;
    char name[64];
    if (is_gone(device, &size_bytes, name))
        return "is gone: it was unplugged, has failed, or lost its medium";
    int r = partition_of(device->major, device->minor, &disk_major, &disk_minor, &start_sector);
    if ((r < 0 && r != -ENOENT) || size_bytes != device->size_bytes ||
        strcmp(name, device->kernel_name) != 0 || disk_major != device->disk_major ||
        disk_minor != device->disk_minor ||
        start_sector * SECTOR_BYTES != device->disk_start_bytes ||
        disk_sequence(device->disk_name) != device->disk_seq)
        return "is no longer the device that was opened: it was resized or replaced";
    return NULL;
}

static bool carries(const struct agent_device *device, uint32_t major, uint32_t minor,
                    uint64_t *start_bytes, unsigned depth);

/* The devices below a disk (device-mapper, md, bcache), as /sys/dev/block/M:m/slaves names them. */
static bool carries_slaves(const struct agent_device *device, uint32_t major, uint32_t minor,
                           unsigned depth)
{
    char path[64];
    snprintf(path, sizeof(path), "/sys/dev/block/%" PRIu32 ":%" PRIu32 "/slaves", major, minor);
    BLX_CLEANUP_DIR DIR *slaves = opendir(path);
    if (slaves == NULL)
        return false;
    for (struct dirent *entry; (entry = readdir(slaves)) != NULL;) {
        uint32_t slave_major = 0, slave_minor = 0;
        uint64_t start = 0;
        if (entry->d_name[0] != '.' &&
            agent_sysfs_read_devno(&slave_major, &slave_minor, "%s/%s/dev", path, entry->d_name) ==
                0 &&
            carries(device, slave_major, slave_minor, &start, depth + 1))
            return true;
    }
    return false;
}

static bool carries(const struct agent_device *device, uint32_t major, uint32_t minor,
                    uint64_t *start_bytes, unsigned depth)
{
    *start_bytes = 0;
    if (major == device->major && minor == device->minor)
        return true;
    if (depth >= STACK_DEPTH_MAX)
        return false;
    uint32_t disk_major = major, disk_minor = minor;
    uint64_t start_sector = 0;
    if (partition_of(major, minor, &disk_major, &disk_minor, &start_sector) == 0 &&
        disk_major == device->major && disk_minor == device->minor) {
        *start_bytes = start_sector * SECTOR_BYTES;
        return true;
    }
    *start_bytes = UINT64_MAX;
    return carries_slaves(device, disk_major, disk_minor, depth);
}

bool agent_device_carries(const struct agent_device *device, uint32_t major, uint32_t minor,
                          uint64_t *start_bytes)
{
    uint64_t start = 0;
    if (!carries(device, major, minor, &start, 0))
        return false;
    if (start_bytes != NULL)
        *start_bytes = start;
    return true;
}

static int read_inflight(const struct agent_device *device, int64_t *reads, int64_t *writes)
{
    char text[64];
    int r = agent_sysfs_read_text(text, sizeof(text), "/sys/block/%s/inflight", device->disk_name);
    if (r < 0)
        return r;
    return sscanf(text, "%" SCNd64 " %" SCNd64, reads, writes) == 2 ? 0 : -EINVAL;
}

int64_t agent_device_count_writes(const struct agent_device *device)
{
    int64_t reads = 0, writes = 0;
    int r = read_inflight(device, &reads, &writes);
    return r < 0 ? r : writes;
}

bool agent_device_is_busy(const struct agent_device *device)
{
    int64_t reads = 0, writes = 0;
    return read_inflight(device, &reads, &writes) == 0 && reads + writes > 0;
}

enum { STAT_WRITTEN = 6, STAT_DISCARDED = 13, STAT_FIELDS }; /* Documentation/block/stat.rst */

static int read_stat(const struct agent_device *device, uint64_t fields[STAT_FIELDS])
{
    char text[512];
    int r = agent_sysfs_read_text(text, sizeof(text), "/sys/block/%s/stat", device->disk_name);
    if (r < 0)
        return r;
    const char *at = text;
    for (int i = 0; i < STAT_FIELDS; i++) {
        char *end;
        fields[i] = strtoull(at, &end, 10);
        if (end == at)
            return -EINVAL;
        at = end;
    }
    return 0;
}

int agent_device_read_written_sectors(const struct agent_device *device, uint64_t *sectors)
{
    uint64_t fields[STAT_FIELDS];
    int r = read_stat(device, fields);
    if (r == 0)
        *sectors = fields[STAT_WRITTEN] + fields[STAT_DISCARDED];
    return r;
}

int agent_device_read_discarded_sectors(const struct agent_device *device, uint64_t *sectors)
{
    uint64_t fields[STAT_FIELDS];
    int r = read_stat(device, fields);
    if (r == 0)
        *sectors = fields[STAT_DISCARDED];
    return r;
}
