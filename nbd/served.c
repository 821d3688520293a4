/* SPDX-License-Identifier: Apache-2.0 */
#include "nbd/served.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    return blx_error_set(err, -EINVAL,
                         "'%s' is no parameter of this plugin: it has data-dir, agent, checkpoint, "
                         "volume and key",
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

static void list_volumes(const struct blx_manifest *manifest, char *text, size_t bytes)
{
    text[0] = '\0';
    for (uint32_t i = 0; i < manifest->volume_count; i++) {
        size_t used = strlen(text);
        snprintf(text + used, bytes - used, "%s%s", i > 0 ? ", " : "", manifest->volumes[i].name);
    }
}

static int choose_volume(const struct nbd_served *served, const struct blx_manifest *manifest,
                         const char **volume, struct blx_error *err)
{
    char known[512];
    *volume = served->volume;
    if (served->volume != NULL && blx_manifest_has(manifest, served->volume))
        return 0;
    if (served->volume == NULL && manifest->volume_count == 1) {
        *volume = manifest->volumes[0].name;
        return 0;
    }
    list_volumes(manifest, known, sizeof(known));
    if (served->volume == NULL)
        return blx_error_set(err, -EINVAL,
                             "the checkpoint %llu has several volumes: add volume= "
                             "with one of %s",
                             (unsigned long long)manifest->timestamp, known);
    return blx_error_set(err, -ENOENT,
                         "the checkpoint %llu has no volume '%s': add volume= with "
                         "one of %s",
                         (unsigned long long)manifest->timestamp, served->volume, known);
}

static int open_view(struct nbd_served *served, const struct blx_manifest *manifest,
                     struct blx_error *err)
{
    struct blx_view_request request = {
        .agent = blx_store_agent(&served->store, served->agent),
        .checkpoint = manifest->timestamp,
        .keys = &served->keys,
    };
    int rc = choose_volume(served, manifest, &request.volume, err);
    if (rc < 0)
        return rc;
    request.cache = served->cache = blx_frame_cache_new(BLX_FRAME_CACHE_DEFAULT_BYTES);
    if (request.cache == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot open '%s'", request.volume);
    return blx_view_open(&request, &served->view, err);
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
    return rc == 0 ? open_view(served, &manifest, err) : rc;
}

void nbd_served_close(struct nbd_served *served)
{
    blx_view_close(served->view);
    blx_frame_cache_free(served->cache);
    blx_store_close(&served->store);
    blx_keyring_done(&served->keys);
    free(served->data_dir);
    free(served->agent);
    free(served->checkpoint);
    free(served->volume);
    *served = (struct nbd_served){.store.lock_fd = -1};
}
