/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blxrep-files-guest: the first process of the small virtual machine (machine.h), and its only one.
 * The kernel beside it reads the server's filesystems, and it tells as records what it finds, as
 * the reader in the jail does. It trusts the request, which is the host's. The host does not trust
 * it.
 *
 *     modules ──► the port ──► disks, md, LVM ──► filesystems, when a path needs one ──► records
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "files/folder_tree.h"
#include "files/guest_devices.h"
#include "files/guest_modules.h"
#include "files/mounting.h"
#include "files/places.h"
#include "files/request.h"
#include "files/walk.h"

enum { PROBE_FD = 100, PORT_TRIES = 2000, PORT_TRY_US = 10000 };

struct guest {
    struct files_source source;
    struct files_guest_devices devices;
    struct files_request request;
};

static int list_disks(struct files_source *source, struct files_disk **disks, size_t *count,
                      struct blx_error *err)
{
    const struct files_guest_devices *devices = &((struct guest *)source)->devices;
    struct files_disk *listed = calloc(devices->count + 1, sizeof(*listed));
    if (listed == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot list the disks");
    for (size_t i = 0; i < devices->count; i++)
        listed[i] = devices->list[i].disk;
    *disks = listed;
    *count = devices->count;
    return 0;
}

static int read_disk(struct files_source *source, uint32_t disk, void *buffer, size_t bytes,
                     uint64_t offset_bytes, struct blx_error *err)
{
    const struct files_guest_device *device = &((struct guest *)source)->devices.list[disk];
    int rc = blx_pread_full(device->fd, buffer, bytes, offset_bytes);
    return rc < 0 ? blx_error_errno(err, rc, "cannot read '%s'", device->disk.device) : 0;
}

/* What a journal's replay writes is forgotten. */
static int mount_device(const struct files_guest_device *device, const char *filesystem,
                        const char *point, const char **caveat, struct blx_error *err)
{
    struct blx_error first = {0};
    *caveat = NULL;
    int rc = files_mount(device->node, filesystem, point, FILES_REPLAY_JOURNAL, &first);
    if (rc == 0)
        return 0;
    if (files_mount(device->node, filesystem, point, FILES_REPLAY_NOTHING, NULL) < 0)
        return blx_error_copy(err, rc, &first);
    *caveat = "its journal cannot be replayed, so the newest changes may be missing";
    return 0;
}

static int open_disk(struct files_source *source, uint32_t disk, uint64_t size_bytes,
                     const char *filesystem, struct files_tree **tree, struct blx_error *err)
{
    const struct guest *guest = (const struct guest *)source;
    const char *caveat;
    char point[64];
    (void)size_bytes;
    int rc = files_mount_check(filesystem, err);
    if (rc < 0)
        return rc;
    files_guest_load(filesystem);
    snprintf(point, sizeof(point), "/mounted/%u", disk);
    rc = mount_device(&guest->devices.list[disk], filesystem, point, &caveat, err);
    if (rc == 0)
        rc = files_folder_tree_open(point, tree, err);
    if (rc == 0)
        (*tree)->caveat = caveat;
    return rc;
}

static int make_folders(struct blx_error *err)
{
    static const struct {
        const char *point, *kind;
    } mounts[] = {{"/proc", "proc"}, {"/sys", "sysfs"}, {"/dev", "devtmpfs"}, {"/run", "tmpfs"}};
    for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
        mkdir(mounts[i].point, 0755);
        if (mount(mounts[i].kind, mounts[i].point, mounts[i].kind, 0, NULL) != 0)
            return blx_error_errno(err, -errno, "cannot mount '%s'", mounts[i].point);
    }
    mkdir("/mounted", 0700);
    mkdir("/tmp", 0700);
    return 0;
}

/* The port is there a moment after its driver. */
static int open_port(void)
{
    for (unsigned i = 0; i < PORT_TRIES; i++) {
        glob_t found = {0};
        int fd = glob("/dev/vport*", 0, NULL, &found) == 0
                     ? open(found.gl_pathv[0], O_RDWR | O_CLOEXEC)
                     : -1;
        globfree(&found);
        if (fd >= 0)
            return fd;
        usleep(PORT_TRY_US);
    }
    return -ENODEV;
}

/* Borrows the file's bytes for ever. */
static int read_request(struct files_request *request, struct blx_error *err)
{
    void *bytes = NULL;
    size_t count = 0;
    int rc = blx_file_read(FILES_REQUEST_PATH, FILES_REQUEST_MAX_BYTES, &bytes, &count, err);
    if (rc == 0)
        rc = files_request_decode(bytes, count, request);
    return rc < 0 ? blx_error_errno(err, rc, "cannot read what is asked for") : 0;
}

static int look_around(struct guest *guest, struct files_sender *sender, struct blx_error *err)
{
    static char root[] = "/";
    char *everything[] = {root};
    struct files_probe *probe = NULL;
    struct files_places *places = NULL;
    const struct files_request *request = &guest->request;
    int rc = read_request(&guest->request, err);
    if (rc == 0)
        rc = files_probe_new(PROBE_FD, &probe, err);
    if (rc == 0)
        rc = files_guest_devices_find(request, probe, &guest->devices, err);
    if (rc == 0 && guest->devices.missing[0] != '\0')
        rc = files_send_text(sender, FILES_RECORD_NOTE, guest->devices.missing);
    if (rc == 0)
        rc = files_places_open(&guest->source, probe, request->device, &places, err);
    const bool none = request->path_count == 0;
    if (rc == 0)
        rc = files_walk(places, request->task, none ? everything : request->paths,
                        none ? 1 : request->path_count, sender, err);
    return rc;
}

/* Returns if it cannot tell what it found. Otherwise it waits to be switched off by whoever has
 * heard the last record: only then has the port's queue gone out. */
static void work(int port_fd)
{
    static const struct files_source_kind kind = {list_disks, read_disk, open_disk};
    struct guest guest = {.source.kind = &kind};
    struct files_sender sender;
    struct blx_error err = {0};
    if (files_sender_init(&sender, port_fd) < 0)
        return;
    int rc = look_around(&guest, &sender, &err);
    if (rc < 0)
        rc = files_send_text(&sender, FILES_RECORD_FAILED, err.message);
    if (rc < 0)
        fprintf(stderr, "blxrep-files-guest: cannot tell what was found: %s\n", strerror(-rc));
    while (rc == 0)
        pause();
}

int main(void)
{
    struct blx_error err = {0};
    if (getpid() != 1) {
        fprintf(stderr, "blxrep-files-guest: blxrep-files runs it in a virtual machine\n");
        return 2;
    }
    int rc = make_folders(&err);
    if (rc < 0)
        fprintf(stderr, "blxrep-files-guest: %s\n", err.message);
    files_guest_load("base");
    int port_fd = open_port();
    if (port_fd >= 0)
        work(port_fd);
    else
        fprintf(stderr, "blxrep-files-guest: there is no port: %s\n", strerror(-port_fd));
    reboot(RB_POWER_OFF);
    return 1;
}
