/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The volumes of one checkpoint that the plugin serves, from the words of nbdkit's command line to
 * views (lib/store/view/view.h), and to what is written over them (overlay.h there).
 *
 *     set, set, ... ──open──► blocks of the volumes ──► close
 *
 * Threads: one until it is open; then any number reads, writes and syncs.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "crypt/keyring.h"
#include "store/checkpoint/manifest.h"
#include "store/store.h"
#include "store/view/overlay.h"
#include "store/view/sweep.h"
#include "store/view/view.h"

/* Constant once it is open. */
struct nbd_volume {
    struct nbd_served *served;
    char name[BLX_NAME_BYTES];
    struct blx_view *view;   /* owned */
    struct blx_sweep *sweep; /* owned; of all clients together: one that reads it all does so by
                                several connections */
    uint64_t place;          /* where it begins in the overlay */
};

struct nbd_served {
    char *data_dir;   /* owned, absolute */
    char *agent;      /* owned */
    char *checkpoint; /* owned; NULL: the newest */
    char *volume;     /* owned; NULL: all of them */
    struct blx_keyring keys;
    struct blx_store store;
    struct blx_overlay *overlay;   /* owned; NULL: nobody may write */
    struct blx_frame_cache *cache; /* owned */
    struct nbd_volume *volumes;    /* owned */
    uint32_t volume_count;         /* 0: not open */
};

/* One word of the command line. The data directory, the key's and the overlay's file are given as
 * absolute paths. -EINVAL for a name that does not exist, -ENOMEM; a key as blx_keyring_add(), an
 * overlay as blx_overlay_open(). */
int nbd_served_set(struct nbd_served *served, const char *name, const char *value,
                   struct blx_error *err);

/* Errors as blx_manifest_resolve(), blx_overlay_begin() and blx_view_open(); -EINVAL if a word is
 * missing. Blocks on the disk. */
int nbd_served_open(struct nbd_served *served, struct blx_error *err);

/* One that is all zeros but for the store's lock_fd of -1 is fine. */
void nbd_served_close(struct nbd_served *served);

/* The volume of a connection that asked for `name`. If one alone is served the name does not
 * matter. -ENOENT otherwise. */
int nbd_served_find(struct nbd_served *served, const char *name, struct nbd_volume **volume,
                    struct blx_error *err);

/* Each inside of the volume. Writing needs an overlay. Errors as blx_view_read(), or what the
 * overlay's disk says. */
int nbd_volume_read(struct nbd_volume *volume, void *buffer, uint32_t bytes, uint64_t offset_bytes,
                    struct blx_error *err);
int nbd_volume_write(struct nbd_volume *volume, const void *buffer, uint32_t bytes,
                     uint64_t offset_bytes, struct blx_error *err);
int nbd_served_sync(struct nbd_served *served, struct blx_error *err);
