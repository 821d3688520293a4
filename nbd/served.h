/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one volume of one checkpoint that the plugin serves, from the words of nbdkit's command line
 * to a view (lib/store/view/view.h).
 *
 *     set, set, ... ──open──► blocks of the view ──► close
 *
 * Threads: one until it is open; then any number reads.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "crypt/keyring.h"
#include "store/store.h"
#include "store/view/view.h"

struct nbd_served {
    char *data_dir;   /* owned, absolute */
    char *agent;      /* owned */
    char *checkpoint; /* owned; NULL: the newest */
    char *volume;     /* owned; NULL: the only one */
    struct blx_keyring keys;
    struct blx_store store;
    struct blx_frame_cache *cache; /* owned */
    struct blx_view *view;         /* owned; NULL: not open */
};

/* One word of the command line. The data directory and the key's file are given as absolute paths.
 * -EINVAL for a name that does not exist, -ENOMEM; a key as blx_keyring_add(). */
int nbd_served_set(struct nbd_served *served, const char *name, const char *value,
                   struct blx_error *err);

/* Errors as blx_manifest_resolve() and blx_view_open(); -EINVAL if a word is missing, or if the
 * checkpoint has several volumes and none was named. Blocks on the disk. */
int nbd_served_open(struct nbd_served *served, struct blx_error *err);

/* One that is all zeros but for the store's lock_fd of -1 is fine. */
void nbd_served_close(struct nbd_served *served);
