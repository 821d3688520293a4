/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nbdkit-blxrep-plugin.so: a checkpoint's volumes over NBD.
 *
 *     nbdkit blxrep data-dir=DIR agent=ID checkpoint=latest volume=vda
 *
 * Without volume= each of them is an export of its name. Nobody writes to the store: with overlay=
 * what a client writes goes to a file of its own.
 *
 * It is opened before nbdkit goes to the background, so that whoever started it is told what is
 * wrong. Only while the store is touched root is the owner of the data directory: nbdkit itself
 * makes and removes its socket and its file of the process's ID.
 *
 *     config (caller) ──get_ready (owner)──► fork ──after_fork──► serve (owner) ──cleanup──► caller
 *
 * Threads: nbdkit's, as many requests at once as it likes.
 */
#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/version.h"
#include "nbd/served.h"
#include "store/owner.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

static struct nbd_served served = {.store.lock_fd = -1};
static enum blx_owner owner = BLX_OWNER_KEPT;

/* 0 or -1, as nbdkit wants it. NBD knows few errors: what is damaged cannot be read. */
static int told(int rc, const struct blx_error *err)
{
    if (rc >= 0)
        return 0;
    nbdkit_error("%s", err->message[0] != '\0' ? err->message : strerror(-rc));
    nbdkit_set_error(rc == -ENOMEM || rc == -ENOSPC ? -rc : EIO);
    return -1;
}

static int plugin_config(const char *name, const char *value)
{
    struct blx_error err = {0};
    bool is_path = strcmp(name, "data-dir") == 0 || strcmp(name, "key") == 0 ||
                   (strcmp(name, "overlay") == 0 && value[0] != '\0');
    char *path = is_path ? nbdkit_absolute_path(value) : NULL;
    if (is_path && path == NULL)
        return -1;
    int rc = nbd_served_set(&served, name, is_path ? path : value, &err);
    free(path);
    return told(rc, &err);
}

static int plugin_get_ready(void)
{
    struct blx_error err = {0};
    blx_raise_file_limit(); /* a chain has many segments */
    int rc = served.data_dir != NULL ? blx_owner_visit(served.data_dir, &owner, &err) : 0;
    if (rc == 0)
        rc = nbd_served_open(&served, &err);
    int left = blx_owner_leave(owner, &err);
    owner = BLX_OWNER_KEPT;
    return told(rc < 0 ? rc : left, &err);
}

static int plugin_after_fork(void)
{
    struct blx_error err = {0};
    return told(blx_owner_visit(served.data_dir, &owner, &err), &err);
}

static void plugin_cleanup(void)
{
    struct blx_error err = {0};
    told(blx_owner_leave(owner, &err), &err);
}

static void plugin_unload(void)
{
    nbd_served_close(&served);
}

static int plugin_list_exports(int readonly, int is_tls, struct nbdkit_exports *exports)
{
    (void)readonly;
    (void)is_tls;
    for (uint32_t i = 0; i < served.volume_count; i++)
        if (nbdkit_add_export(exports, served.volumes[i].name, NULL) < 0)
            return -1;
    return 0;
}

static void *plugin_open(int readonly)
{
    struct blx_error err = {0};
    struct nbd_volume *volume;
    const char *name = nbdkit_export_name();
    (void)readonly; /* of two clients one may write, the other not */
    return told(nbd_served_find(&served, name != NULL ? name : "", &volume, &err), &err) < 0
               ? NULL
               : volume;
}

static int plugin_can_write(void *handle)
{
    const struct nbd_volume *volume = handle;
    return volume->served->overlay != NULL;
}

static int64_t plugin_get_size(void *handle)
{
    const struct nbd_volume *volume = handle;
    return (int64_t)blx_view_size_bytes(volume->view);
}

/* All connections see the same, also what another one has written. */
static int plugin_can_multi_conn(void *handle)
{
    (void)handle;
    return 1;
}

static int plugin_pread(void *handle, void *buffer, uint32_t bytes, uint64_t offset_bytes,
                        uint32_t flags)
{
    struct blx_error err = {0};
    (void)flags;
    return told(nbd_volume_read(handle, buffer, bytes, offset_bytes, &err), &err);
}

static int plugin_pwrite(void *handle, const void *buffer, uint32_t bytes, uint64_t offset_bytes,
                         uint32_t flags)
{
    struct blx_error err = {0};
    (void)flags;
    return told(nbd_volume_write(handle, buffer, bytes, offset_bytes, &err), &err);
}

static int plugin_flush(void *handle, uint32_t flags)
{
    const struct nbd_volume *volume = handle;
    struct blx_error err = {0};
    (void)flags;
    return told(nbd_served_sync(volume->served, &err), &err);
}

/* What was written over it is data, and nobody asks for the rest then. */
static int plugin_can_extents(void *handle)
{
    return !plugin_can_write(handle);
}

static uint32_t type_of(enum blx_view_kind kind)
{
    switch (kind) {
    case BLX_VIEW_HOLE:
        return NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO;
    case BLX_VIEW_ZERO:
        return NBDKIT_EXTENT_ZERO;
    case BLX_VIEW_DATA:
        break;
    }
    return 0;
}

/* nbdkit joins neighbours of one type. */
static int plugin_extents(void *handle, uint32_t bytes, uint64_t offset_bytes, uint32_t flags,
                          struct nbdkit_extents *extents)
{
    const struct nbd_volume *one = handle;
    const uint64_t end = offset_bytes + bytes;
    struct blx_view_extent extent, first = {0};
    for (uint64_t at = offset_bytes; at < end; at += extent.bytes) {
        struct blx_error err = {0};
        int rc = blx_view_find_extent(one->view, at, &extent, &err);
        if (rc < 0)
            return told(rc, &err);
        if (at == offset_bytes)
            first = extent;
        if ((flags & NBDKIT_FLAG_REQ_ONE) != 0 && extent.kind != first.kind)
            break;
        if (nbdkit_add_extent(extents, at, extent.bytes, type_of(extent.kind)) < 0)
            return -1;
    }
    return 0;
}

static int plugin_can_cache(void *handle)
{
    (void)handle;
    return NBDKIT_CACHE_NATIVE;
}

static int plugin_cache(void *handle, uint32_t bytes, uint64_t offset_bytes, uint32_t flags)
{
    const struct nbd_volume *one = handle;
    (void)flags;
    blx_view_read_ahead(one->view, bytes, offset_bytes);
    return 0;
}

static struct nbdkit_plugin plugin = {
    .name = "blxrep",
    .longname = "blxrep checkpoints",
    .version = BLX_VERSION,
    .description = "a checkpoint's volume, read from blxrep's data directory",
    .config = plugin_config,
    .config_help = "data-dir=DIR       (required) The dispatcher's data directory.\n"
                   "agent=ID           (required) The server.\n"
                   "checkpoint=TIME    The checkpoint; the newest one by default.\n"
                   "volume=NAME        The disk, such as vda; without it each one is an export.\n"
                   "key=FILE           A key, if it is encrypted; repeat it for more.\n"
                   "overlay=FILE       Let clients write; it goes to FILE. Empty: it is forgotten.",
    .get_ready = plugin_get_ready,
    .after_fork = plugin_after_fork,
    .cleanup = plugin_cleanup,
    .unload = plugin_unload,
    .list_exports = plugin_list_exports,
    .open = plugin_open,
    .can_write = plugin_can_write,
    .can_flush = plugin_can_write,
    .get_size = plugin_get_size,
    .can_multi_conn = plugin_can_multi_conn,
    .pread = plugin_pread,
    .pwrite = plugin_pwrite,
    .flush = plugin_flush,
    .can_extents = plugin_can_extents,
    .extents = plugin_extents,
    .can_cache = plugin_can_cache,
    .cache = plugin_cache,
};

NBDKIT_REGISTER_PLUGIN(plugin)
