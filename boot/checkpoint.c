/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/checkpoint.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "crypt/keyring.h"
#include "store/checkpoint/manifest_file.h"
#include "store/checkpoint/missing.h"
#include "store/owner.h"
#include "store/view/view.h"

/* What is open while it is looked at. */
struct look {
    const struct boot_checkpoint_request *request;
    struct blx_keyring keys;
    struct blx_store store;
    struct blx_manifest manifest;
    struct blx_frame_cache *cache;
};

static void look_done(struct look *look)
{
    blx_frame_cache_free(look->cache);
    blx_manifest_done(&look->manifest);
    blx_store_close(&look->store);
    blx_keyring_done(&look->keys);
}

int boot_disk_compare(const void *one, const void *other)
{
    const char *a = ((const struct boot_disk *)one)->name;
    const char *b = ((const struct boot_disk *)other)->name;
    while (*a != '\0' && *b != '\0') {
        /* Numbers by their value, letters by how many there are first. */
        size_t a_run =
            isdigit((unsigned char)*a) ? strspn(a, "0123456789") : strcspn(a, "0123456789");
        size_t b_run =
            isdigit((unsigned char)*b) ? strspn(b, "0123456789") : strcspn(b, "0123456789");
        if (a_run != b_run)
            return a_run < b_run ? -1 : 1;
        int order = strncmp(a, b, a_run);
        if (order != 0)
            return order;
        a += a_run;
        b += b_run;
    }
    return (*a != '\0') - (*b != '\0');
}

enum boot_firmware boot_firmware_of(unsigned loaders)
{
    return (loaders & BOOT_LOADER_BIOS) != 0 ? BOOT_FIRMWARE_BIOS : BOOT_FIRMWARE_UEFI;
}

static int open_all(struct look *look, struct blx_error *err)
{
    const struct boot_checkpoint_request *request = look->request;
    blx_timestamp timestamp;
    int rc = blx_store_open(request->data_dir, BLX_STORE_READ, &look->store, err);
    if (rc < 0)
        return rc;
    struct blx_agent_store agent = blx_store_agent(&look->store, request->agent);
    rc = blx_manifest_resolve(agent, request->checkpoint, &timestamp, err);
    if (rc == 0)
        rc = blx_manifest_read(agent, timestamp, &look->manifest, err);
    if (rc < 0)
        return rc;
    look->cache = blx_frame_cache_new(BLX_FRAME_CACHE_DEFAULT_BYTES);
    return look->cache != NULL ? 0 : blx_error_errno(err, -ENOMEM, "cannot open a checkpoint");
}

static int check_complete(const struct look *look, struct blx_error *err)
{
    struct blx_missing missing;
    char list[BLX_ERROR_MESSAGE_BYTES / 2] = "";
    blx_missing_list(&look->manifest, &missing);
    if (missing.count == 0 || look->request->completeness == BOOT_INCOMPLETE ||
        look->request->device_count > 0)
        return 0;
    for (size_t i = 0; i < missing.count; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof(list) - used, "%s'%s'", i > 0 ? ", " : "", missing.devices[i]);
    }
    return blx_error_set(err, -ENODATA,
                         "the checkpoint %" PRIu64 " lacks %s, which the server may need: give one "
                         "that has it (`blxrep dispatcher show` tells), select disks with "
                         "--device, or boot without it with --incomplete",
                         look->manifest.timestamp, list);
}

static int check_devices(const struct look *look, struct blx_error *err)
{
    const struct blx_manifest *manifest = &look->manifest;
    char known[512] = "";
    for (uint32_t v = 0; v < manifest->volume_count; v++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof(known) - used, "%s%s", v > 0 ? ", " : "",
                 manifest->volumes[v].device);
    }
    for (size_t i = 0; i < look->request->device_count; i++) {
        const char *device = look->request->devices[i];
        bool found = false;
        for (uint32_t v = 0; v < manifest->volume_count && !found; v++)
            found = blx_manifest_volume_is_named(&manifest->volumes[v], device);
        if (!found)
            return blx_error_set(err, -ENOENT,
                                 "the checkpoint has no device '%.200s': give --device with one of "
                                 "%s",
                                 device, known);
    }
    return 0;
}

static bool is_wanted(const struct look *look, const struct blx_manifest_volume *volume)
{
    bool wanted = look->request->device_count == 0;
    for (size_t i = 0; i < look->request->device_count && !wanted; i++)
        wanted = blx_manifest_volume_is_named(volume, look->request->devices[i]);
    return wanted;
}

static int list_disks(const struct look *look, struct boot_checkpoint *checkpoint,
                      struct blx_error *err)
{
    for (uint32_t v = 0; v < look->manifest.volume_count; v++) {
        const struct blx_manifest_volume *volume = &look->manifest.volumes[v];
        if (!is_wanted(look, volume))
            continue;
        if (checkpoint->count == BOOT_MAX_DISKS)
            return blx_error_set(err, -E2BIG,
                                 "the checkpoint has more than %d disks: choose some with --device",
                                 BOOT_MAX_DISKS);
        struct boot_disk *disk = &checkpoint->disks[checkpoint->count++];
        blx_text_set(disk->name, volume->name);
        blx_text_set(disk->device, volume->device);
        disk->size_bytes = volume->size_bytes;
    }
    qsort(checkpoint->disks, checkpoint->count, sizeof(checkpoint->disks[0]), boot_disk_compare);
    return 0;
}

static int read_view(void *arg, void *buffer, size_t bytes, uint64_t offset_bytes)
{
    return blx_view_read(arg, buffer, bytes, offset_bytes, NULL);
}

static int find_loader(const struct look *look, struct boot_disk *disk, struct blx_error *err)
{
    const struct blx_view_request request = {
        .agent = blx_store_agent(&look->store, look->request->agent),
        .checkpoint = look->manifest.timestamp,
        .volume = disk->name,
        .keys = &look->keys,
        .cache = look->cache};
    struct blx_view *view;
    int rc = blx_view_open(&request, &view, err);
    if (rc < 0)
        return rc;
    const struct blx_partitioned partitioned = {
        .read = read_view, .arg = view, .size_bytes = blx_view_size_bytes(view)};
    rc = boot_loader_find(&partitioned, &disk->loaders);
    blx_view_close(view);
    return rc < 0 ? blx_error_errno(err, rc, "cannot read the beginning of '%s'", disk->device) : 0;
}

static int find_loaders(const struct look *look, struct boot_checkpoint *checkpoint,
                        struct blx_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < checkpoint->count; i++)
        rc = find_loader(look, &checkpoint->disks[i], err);
    if (rc < 0)
        return rc;
    for (checkpoint->first = 0; checkpoint->first < checkpoint->count; checkpoint->first++)
        if (checkpoint->disks[checkpoint->first].loaders != BOOT_LOADER_NONE)
            return 0;
    return blx_error_set(err, -ENOEXEC,
                         "no disk of the checkpoint %" PRIu64 " has a boot loader, neither code in "
                         "its first sector nor an EFI system partition: the disk with the "
                         "server's root is not in it, or only a partition of that; "
                         "`blxrep dispatcher mount` shows its files",
                         look->manifest.timestamp);
}

static int look_at(struct look *look, struct boot_checkpoint *checkpoint, struct blx_error *err)
{
    int rc = open_all(look, err);
    if (rc == 0)
        rc = check_devices(look, err);
    if (rc == 0)
        rc = check_complete(look, err);
    if (rc == 0)
        rc = list_disks(look, checkpoint, err);
    if (rc == 0 && look->request->purpose == BOOT_TO_RUN)
        rc = find_loaders(look, checkpoint, err);
    checkpoint->timestamp = look->manifest.timestamp;
    return rc;
}

int boot_checkpoint_look(const struct boot_checkpoint_request *request,
                         struct boot_checkpoint *checkpoint, struct blx_error *err)
{
    BLX_CLEANUP(look_done) struct look look = {.request = request, .store.lock_fd = -1};
    enum blx_owner owner = BLX_OWNER_KEPT;
    int rc = 0;
    *checkpoint = (struct boot_checkpoint){0};
    for (size_t i = 0; rc == 0 && i < request->key_count; i++)
        rc = blx_keyring_add(&look.keys, request->keys[i], err);
    if (rc == 0)
        rc = blx_owner_visit(request->data_dir, &owner, err);
    if (rc == 0)
        rc = look_at(&look, checkpoint, err);
    int left = blx_owner_leave(owner, err);
    return rc < 0 ? rc : left;
}
