/* SPDX-License-Identifier: Apache-2.0 */
#include "files/guest_devices.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "files/disks.h"
#include "files/guest_modules.h"

enum { LVM_ID_BYTES = sizeof("LVM-") - 1 + 64 };

/* What is found while it is looked for. */
struct search {
    const struct files_request *request;
    struct files_guest_devices *devices;
    const char *node; /* of the disk whose partitions are found */
    struct blx_error *err;
};

static int add(struct search *search, const struct files_disk *disk, const char *node)
{
    struct files_guest_devices *devices = search->devices;
    struct files_guest_device device = {.disk = *disk};
    if (devices->count == FILES_MAX_DISKS)
        return 0;
    blx_text_set(device.node, node);
    device.fd = blx_open(node, O_RDONLY, 0, search->err);
    if (device.fd < 0)
        return device.fd;
    if (blx_array_make_room(devices->list, devices->count) < 0) {
        close(device.fd);
        return blx_error_errno(search->err, -ENOMEM, "cannot list the disks");
    }
    devices->list[devices->count++] = device;
    return 0;
}

static int add_found(void *arg, const struct files_disk *disk, unsigned number,
                     uint64_t offset_bytes)
{
    struct search *search = arg;
    char node[FILES_NODE_BYTES];
    (void)offset_bytes; /* the kernel knows */
    if (number == 0)
        return add(search, disk, search->node);
    blx_partition_name(search->node, number, node, sizeof(node));
    /* The kernel may see less in a table than we do. */
    return access(node, F_OK) == 0 ? add(search, disk, node) : 0;
}

static int read_node(void *arg, void *buffer, size_t bytes, uint64_t offset_bytes)
{
    return blx_pread_full(*(const int *)arg, buffer, bytes, offset_bytes);
}

/* The device with that node, or its partitions. */
static int add_device(struct search *search, const char *node, const char *device, const char *name)
{
    const struct files_disk_names names = {
        .device = device, .name = name, .wanted = search->request->device};
    BLX_CLEANUP_FD int fd = blx_open(node, O_RDONLY, 0, search->err);
    uint64_t size_bytes = 0;
    if (fd < 0)
        return fd;
    if (ioctl(fd, BLKGETSIZE64, &size_bytes) != 0)
        return blx_error_errno(search->err, -errno, "cannot tell the size of '%s'", device);
    const struct blx_partitioned disk = {.read = read_node, .arg = &fd, .size_bytes = size_bytes};
    search->node = node;
    return files_disks_find(&disk, &names, add_found, search);
}

/* The letters of a disk as the kernel counts them. */
static void name_disk(size_t number, char node[FILES_NODE_BYTES])
{
    if (number < 26)
        snprintf(node, FILES_NODE_BYTES, "/dev/vd%c", (char)('a' + number));
    else
        snprintf(node, FILES_NODE_BYTES, "/dev/vd%c%c", (char)('a' + number / 26 - 1),
                 (char)('a' + number % 26));
}

static int add_volumes(struct search *search)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < search->request->volume_count; i++) {
        char node[FILES_NODE_BYTES];
        const struct files_volume *volume = &search->request->volumes[i];
        name_disk(i, node);
        rc = add_device(search, node, volume->device, volume->name);
    }
    return rc;
}

/* What it says goes to the console. */
static void run(const char *const *words)
{
    pid_t pid = fork();
    if (pid == 0) {
        dup2(STDERR_FILENO, STDOUT_FILENO);
        execv(words[0], (char *const *)(uintptr_t)words);
        _exit(127);
    }
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (pid < 0 || status != 0)
        fprintf(stderr, "'%s' has failed: %d\n", words[0], status);
}

/* Calls visit() with the name of each device in /sys/block that begins so. */
static int for_each(struct search *search, const char *begin,
                    int (*visit)(struct search *search, const char *kernel_name))
{
    struct dirent **names = NULL;
    int count = scandir("/sys/block", &names, NULL, alphasort), rc = 0;
    for (int i = 0; i < count; i++) {
        if (rc == 0 && strncmp(names[i]->d_name, begin, strlen(begin)) == 0)
            rc = visit(search, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    return rc;
}

static bool read_attribute(const char *device, const char *name, char *text, size_t bytes)
{
    char path[512];
    snprintf(path, sizeof(path), "/sys/block/%.200s/%s", device, name);
    ssize_t got = blx_file_read_small(AT_FDCWD, path, text, bytes - 1);
    if (got < 0)
        return false;
    text[got] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return true;
}

/* A link in /dev/md that leads to it is its other name. */
static void find_array_name(const char *kernel_name, char alias[FILES_DEVICE_BYTES])
{
    BLX_CLEANUP_DIR DIR *dir = opendir("/dev/md");
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char target[256];
        ssize_t length = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
        if (length <= 0)
            continue;
        target[length] = '\0';
        const char *slash = strrchr(target, '/');
        if (strcmp(slash != NULL ? slash + 1 : target, kernel_name) == 0)
            snprintf(alias, FILES_DEVICE_BYTES, "/dev/md/%.200s", entry->d_name);
    }
}

static bool is_device(const struct files_request *request, const struct files_disk *disk)
{
    return request->device == NULL || strcmp(request->device, disk->device) == 0 ||
           (disk->alias[0] != '\0' && strcmp(request->device, disk->alias) == 0);
}

static int add_array(struct search *search, const char *kernel_name)
{
    char node[FILES_NODE_BYTES], state[64];
    size_t before = search->devices->count;
    if (!read_attribute(kernel_name, "md/array_state", state, sizeof(state)) ||
        strcmp(state, "clear") == 0 || strcmp(state, "inactive") == 0)
        return 0;
    snprintf(node, sizeof(node), "/dev/%.40s", kernel_name);
    int rc = add_device(search, node, node, kernel_name);
    for (size_t i = before; i < search->devices->count; i++) {
        struct files_disk *disk = &search->devices->list[i].disk;
        disk->image[0] = '\0';
        if (search->devices->count - before == 1)
            find_array_name(kernel_name, disk->alias);
        disk->is_wanted = disk->is_wanted || is_device(search->request, disk);
    }
    return rc;
}

/* "vg0-root--two" is the volume "root-two" of the group "vg0". */
static void name_volume(const char *mapped, char device[FILES_DEVICE_BYTES])
{
    size_t used = (size_t)snprintf(device, FILES_DEVICE_BYTES, "/dev/");
    for (const char *at = mapped; *at != '\0' && used + 1 < FILES_DEVICE_BYTES; at++) {
        if (at[0] == '-' && at[1] == '-')
            at++;
        else if (at[0] == '-') {
            device[used++] = '/';
            continue;
        }
        device[used++] = *at;
    }
    device[used] = '\0';
}

/* Only LVM's own: what a volume is made of has a longer ID. */
static int add_logical(struct search *search, const char *kernel_name)
{
    char name[200], id[200], node[FILES_NODE_BYTES];
    uint64_t size_bytes = 0;
    struct files_disk disk = {0};
    if (!read_attribute(kernel_name, "dm/name", name, sizeof(name)) ||
        !read_attribute(kernel_name, "dm/uuid", id, sizeof(id)) || strncmp(id, "LVM-", 4) != 0 ||
        strlen(id) != LVM_ID_BYTES)
        return 0;
    snprintf(node, sizeof(node), "/dev/%.40s", kernel_name);
    BLX_CLEANUP_FD int fd = blx_open(node, O_RDONLY, 0, search->err);
    if (fd < 0 || ioctl(fd, BLKGETSIZE64, &size_bytes) != 0)
        return fd < 0 ? fd
                      : blx_error_errno(search->err, -errno, "cannot tell the size of '%s'", name);
    name_volume(name, disk.device);
    snprintf(disk.alias, sizeof(disk.alias), "/dev/mapper/%s", name);
    disk.size_bytes = size_bytes;
    disk.is_wanted = is_device(search->request, &disk);
    return add(search, &disk, node);
}

static int read_device(struct files_source *source, uint32_t disk, void *buffer, size_t bytes,
                       uint64_t offset_bytes, struct blx_error *err);

/* The devices so far, for the probe. */
struct looking {
    struct files_source source;
    const struct files_guest_devices *devices;
};

static int read_device(struct files_source *source, uint32_t disk, void *buffer, size_t bytes,
                       uint64_t offset_bytes, struct blx_error *err)
{
    const struct files_guest_device *device =
        &((const struct looking *)source)->devices->list[disk];
    int rc = blx_pread_full(device->fd, buffer, bytes, offset_bytes);
    return rc < 0 ? blx_error_errno(err, rc, "cannot read '%s'", device->disk.device) : 0;
}

/* How many of them hold that. With `visit` it is called for each. */
static size_t count_holders(const struct search *search, struct files_probe *probe,
                            const char *filesystem, void (*visit)(const char *node))
{
    static const struct files_source_kind kind = {.read = read_device};
    struct looking looking = {.source.kind = &kind, .devices = search->devices};
    size_t found = 0;
    for (size_t i = 0; i < search->devices->count; i++) {
        const struct files_guest_device *device = &search->devices->list[i];
        struct files_signature signature;
        struct blx_error ignored = {0};
        if (files_probe_look(probe, &looking.source, (uint32_t)i, device->disk.size_bytes,
                             &signature, &ignored) < 0 ||
            strcmp(signature.filesystem, filesystem) != 0)
            continue;
        found++;
        if (visit != NULL)
            visit(device->node);
    }
    return found;
}

/* False, and it is remembered: the host did not have it. */
static bool has_program(struct search *search, const char *program, const char *made,
                        const char *package)
{
    if (access(program, X_OK) == 0)
        return true;
    snprintf(search->devices->missing, sizeof(search->devices->missing),
             "the server has %s, which are missing here: install the package %s on this host", made,
             package);
    return false;
}

static int assemble_arrays(struct search *search, struct files_probe *probe)
{
    /* Assembled by scanning, run though a part may be missing, and read-only. */
    static const char *const words[] = {"/sbin/mdadm", "-A", "-s", "-R", "-o", "-q", NULL};
    if (count_holders(search, probe, "linux_raid_member", NULL) == 0 ||
        !has_program(search, words[0], "arrays of disks", "mdadm"))
        return 0;
    files_guest_load("md");
    run(words);
    return for_each(search, "md", add_array);
}

static int activate_volumes(struct search *search, struct files_probe *probe)
{
    static const char *const words[] = {
        "/sbin/lvm",
        "vgchange",
        "-ay",
        "-qq",
        "--config=activation{udev_sync=0 udev_rules=0 monitoring=0 verify_udev_operations=0} "
        "devices{obtain_device_list_from_udev=0 use_devicesfile=0} backup{backup=0 archive=0} "
        "global{use_lvmlockd=0 use_lvmpolld=0 event_activation=0 thin_check_executable=\"\" "
        "cache_check_executable=\"\"}",
        NULL};
    if (count_holders(search, probe, "LVM2_member", NULL) == 0 ||
        !has_program(search, words[0], "logical volumes", "lvm2"))
        return 0;
    files_guest_load("lvm");
    run(words);
    return for_each(search, "dm-", add_logical);
}

/* A btrfs of several disks mounts by one if the kernel has seen the others. */
static void show_to_btrfs(const char *node)
{
    struct btrfs_ioctl_vol_args args = {0};
    BLX_CLEANUP_FD int fd = open("/dev/btrfs-control", O_RDWR | O_CLOEXEC);
    blx_text_set(args.name, node);
    if (fd < 0 || ioctl(fd, BTRFS_IOC_SCAN_DEV, &args) != 0)
        fprintf(stderr, "cannot show '%s' to btrfs: %s\n", node, strerror(errno));
}

static void gather_btrfs(const struct search *search, struct files_probe *probe)
{
    if (count_holders(search, probe, "btrfs", NULL) == 0)
        return;
    files_guest_load("btrfs");
    count_holders(search, probe, "btrfs", show_to_btrfs);
}

int files_guest_devices_find(const struct files_request *request, struct files_probe *probe,
                             struct files_guest_devices *devices, struct blx_error *err)
{
    struct search search = {.request = request, .devices = devices, .err = err};
    *devices = (struct files_guest_devices){0};
    int rc = add_volumes(&search);
    if (rc == 0)
        rc = assemble_arrays(&search, probe);
    if (rc == 0)
        rc = activate_volumes(&search, probe);
    if (rc == 0)
        gather_btrfs(&search, probe);
    return rc;
}
