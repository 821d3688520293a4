/* SPDX-License-Identifier: Apache-2.0 */
#include "nbd/served.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "store/checkpoint/manifest_file.h"

static int set_text(char **field, const char *value, struct blx_error *err)
{
    char *copy = strdup(value);
    if (copy == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot keep '%s'", value);
    free(*field);
    *field = copy;
    return 0;
}

/* Of the process that has started nbdkit. */
static int adopt_overlay(const char *value, struct blx_overlay **overlay, struct blx_error *err)
{
    char *end = NULL;
    unsigned long fd = strtoul(value, &end, 10);
    if (end == value || *end != '\0' || fd <= STDERR_FILENO || fd > INT_MAX)
        return blx_error_set(err, -EINVAL, "overlay-fd=%s is no descriptor", value);
    return blx_overlay_adopt((int)fd, overlay, err);
}

int nbd_served_set(struct nbd_served *served, const char *name, const char *value,
                   struct blx_error *err)
{
    const struct {
        const char *name;
        char **field;
    } words[] = {
        {"data-dir", &served->data_dir},
        {"agent", &served->agent},
        {"checkpoint", &served->checkpoint},
        {"volume", &served->volume},
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(name, words[i].name) == 0)
            return set_text(words[i].field, value, err);
    if (strcmp(name, "key") == 0)
        return blx_keyring_add(&served->keys, value, err);
    if (strcmp(name, "overlay-fd") == 0 && served->overlay == NULL)
        return adopt_overlay(value, &served->overlay, err);
    if (strcmp(name, "overlay") == 0 && served->overlay == NULL)
        return blx_overlay_open(value, BLX_OVERLAY_WRITE, &served->overlay, err);
    return blx_error_set(err, -EINVAL,
                         "'%s' is no parameter of this plugin, or stands there twice: it has "
                         "data-dir, agent, checkpoint, volume, key and overlay",
                         name);
}

static int check_words(const struct nbd_served *served, struct blx_error *err)
{
    if (served->data_dir == NULL)
        return blx_error_set(err, -EINVAL,
                             "the data directory is missing: add data-dir=DIR, such as "
                             "data-dir=/var/lib/blxrep");
    if (served->agent == NULL)
        return blx_error_set(err, -EINVAL,
                             "the agent is missing: add agent=ID (`blxrep status` lists them)");
    return 0;
}

static void list_volumes(const struct nbd_served *served, char *text, size_t bytes)
{
    text[0] = '\0';
    for (uint32_t i = 0; i < served->volume_count; i++) {
        size_t used = strlen(text);
        snprintf(text + used, bytes - used, "%s%s", i > 0 ? ", " : "", served->volumes[i].name);
    }
}

/* All that are wanted, not open yet. */
static int name_volumes(struct nbd_served *served, const struct blx_manifest *manifest,
                        struct blx_error *err)
{
    char known[512];
    served->volumes = calloc(manifest->volume_count + 1, sizeof(served->volumes[0]));
    if (served->volumes == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot open a checkpoint");
    for (uint32_t i = 0; i < manifest->volume_count; i++) {
        struct nbd_volume *volume = &served->volumes[served->volume_count++];
        blx_text_set(volume->name, manifest->volumes[i].name);
        volume->served = served;
        volume->place = blx_overlay_place(manifest, i);
    }
    if (served->volume == NULL)
        return 0;
    for (uint32_t i = 0; i < served->volume_count; i++)
        if (strcmp(served->volumes[i].name, served->volume) == 0) {
            served->volumes[0] = served->volumes[i];
            served->volume_count = 1;
            return 0;
        }
    list_volumes(served, known, sizeof(known));
    return blx_error_set(err, -ENOENT,
                         "the checkpoint %llu has no volume '%s': add volume= with one of %s",
                         (unsigned long long)manifest->timestamp, served->volume, known);
}

static int open_views(struct nbd_served *served, const struct blx_manifest *manifest,
                      struct blx_error *err)
{
    int rc = name_volumes(served, manifest, err);
    if (rc < 0)
        return rc;
    served->cache = blx_frame_cache_new(BLX_FRAME_CACHE_DEFAULT_BYTES);
    if (served->cache == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot open a checkpoint");
    for (uint32_t i = 0; rc == 0 && i < served->volume_count; i++) {
        const struct blx_view_request request = {.agent =
                                                     blx_store_agent(&served->store, served->agent),
                                                 .checkpoint = manifest->timestamp,
                                                 .volume = served->volumes[i].name,
                                                 .keys = &served->keys,
                                                 .cache = served->cache};
        rc = blx_view_open(&request, &served->volumes[i].view, err);
        if (rc == 0)
            served->volumes[i].sweep = blx_sweep_new(served->volumes[i].view);
        if (rc == 0 && served->volumes[i].sweep == NULL)
            rc = blx_error_errno(err, -ENOMEM, "cannot open a checkpoint");
    }
    return rc;
}

int nbd_served_open(struct nbd_served *served, struct blx_error *err)
{
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    const char *wanted = served->checkpoint != NULL ? served->checkpoint : "latest";
    blx_timestamp timestamp;
    int rc = check_words(served, err);
    if (rc == 0)
        rc = blx_store_open(served->data_dir, BLX_STORE_READ, &served->store, err);
    if (rc < 0)
        return rc;
    struct blx_agent_store agent = blx_store_agent(&served->store, served->agent);
    rc = blx_manifest_resolve(agent, wanted, &timestamp, err);
    if (rc == 0)
        rc = blx_manifest_read(agent, timestamp, &manifest, err);
    if (rc == 0)
        rc = open_views(served, &manifest, err);
    if (rc == 0 && served->overlay != NULL)
        rc = blx_overlay_begin(served->overlay, served->agent, &manifest, err);
    return rc;
}

void nbd_served_close(struct nbd_served *served)
{
    for (uint32_t i = 0; i < served->volume_count; i++) {
        blx_sweep_free(served->volumes[i].sweep);
        blx_view_close(served->volumes[i].view);
    }
    free(served->volumes);
    blx_frame_cache_free(served->cache);
    blx_overlay_close(served->overlay);
    blx_store_close(&served->store);
    blx_keyring_done(&served->keys);
    free(served->data_dir);
    free(served->agent);
    free(served->checkpoint);
    free(served->volume);
    *served = (struct nbd_served){.store.lock_fd = -1};
}

int nbd_served_find(struct nbd_served *served, const char *name, struct nbd_volume **volume,
                    struct blx_error *err)
{
    char known[512];
    for (uint32_t i = 0; i < served->volume_count; i++)
        if (served->volume_count == 1 || strcmp(served->volumes[i].name, name) == 0) {
            *volume = &served->volumes[i];
            return 0;
        }
    list_volumes(served, known, sizeof(known));
    return blx_error_set(err, -ENOENT,
                         "there is no export '%.64s': ask for one of %s, as in "
                         "nbd://localhost/NAME, or start nbdkit with volume=NAME",
                         name, known);
}

/* The view's error, for whoever reads through the overlay. */
struct reading {
    struct blx_sweep *sweep;
    struct blx_error *err;
};

static int read_view(void *arg, void *buffer, size_t bytes, uint64_t offset_bytes)
{
    const struct reading *reading = arg;
    return blx_sweep_read(reading->sweep, buffer, bytes, offset_bytes, reading->err);
}

static struct blx_overlay_below below_of(const struct nbd_volume *volume, struct reading *reading)
{
    return (struct blx_overlay_below){.read = read_view,
                                      .arg = reading,
                                      .offset_bytes = volume->place,
                                      .size_bytes = blx_view_size_bytes(volume->view)};
}

int nbd_volume_read(struct nbd_volume *volume, void *buffer, uint32_t bytes, uint64_t offset_bytes,
                    struct blx_error *err)
{
    struct blx_overlay *overlay = volume->served->overlay;
    struct reading reading = {volume->sweep, err};
    struct blx_overlay_below below = below_of(volume, &reading);
    int rc = overlay != NULL ? blx_overlay_read(overlay, &below, buffer, bytes, offset_bytes)
                             : read_view(&reading, buffer, bytes, offset_bytes);
    return rc < 0 ? blx_error_errno(err, rc, "cannot read '%s'", volume->name) : 0;
}

int nbd_volume_write(struct nbd_volume *volume, const void *buffer, uint32_t bytes,
                     uint64_t offset_bytes, struct blx_error *err)
{
    struct reading reading = {volume->sweep, err};
    struct blx_overlay_below below = below_of(volume, &reading);
    int rc = blx_overlay_write(volume->served->overlay, &below, buffer, bytes, offset_bytes);
    return rc < 0 ? blx_error_errno(err, rc, "cannot write over '%s'", volume->name) : 0;
}

int nbd_served_sync(struct nbd_served *served, struct blx_error *err)
{
    int rc = blx_overlay_sync(served->overlay);
    return rc < 0 ? blx_error_errno(err, rc, "cannot make durable what was written") : 0;
}
