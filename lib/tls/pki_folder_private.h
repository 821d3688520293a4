/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folder DIR/pki: its lock, its paths, and files that come into place whole. pki.h lists the
 * files; pki.c, pki_token.c and revocation.c know their contents. Private to lib/tls.
 *
 * Every function here except blx_pki_lock() is called with the lock held: a struct blx_pki exists
 * only while it is.
 *
 * Threads and processes: the lock keeps them apart. Blocks on the lock and the disk.
 */
#pragma once

#include <limits.h>
#include <openssl/bio.h>
#include <sys/types.h>

#include "base/error.h"

enum { BLX_PKI_PRIVATE_MODE = 0600 };

/* DIR/pki, locked. */
struct blx_pki {
    char dir[PATH_MAX - 64];
    uid_t uid; /* DIR's owner */
    gid_t gid;
    int lock_fd; /* -1: not locked */
};

/* Makes DIR/pki if it is missing, and locks it. Close it in any case. */
int blx_pki_lock(const char *data_dir, struct blx_pki *pki, struct blx_error *err);
void blx_pki_close(struct blx_pki *pki);

/* DIR/pki/NAME */
int blx_pki_path(const struct blx_pki *pki, const char *name, char path[PATH_MAX],
                 struct blx_error *err);

/* A folder that only DIR's owner may use. One that exists is fine. Durable. */
int blx_pki_make_dir(const struct blx_pki *pki, const char *path, struct blx_error *err);

/* Writes DIR/pki/NAME, by rename, for DIR's owner; durable when it returns. */
int blx_pki_write(const struct blx_pki *pki, const char *name, BIO *content, mode_t mode,
                  struct blx_error *err);
