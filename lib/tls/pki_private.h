/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DIR/pki from the inside, shared by pki.c, pki_token.c, pki_join.c and revocation.c. Private to
 * lib/tls. pki.h lists the files.
 *
 * Everything here but blx_pki_lock() and blx_pki_open() is called with the lock held: whoever has a
 * struct blx_pki of theirs has it. Blocks on the lock and the disk.
 */
#pragma once

#include <limits.h>
#include <openssl/x509.h>
#include <sys/types.h>

#include "base/error.h"

enum { BLX_PKI_PRIVATE_MODE = 0600 };

/* DIR/pki, locked. */
struct blx_pki {
    char dir[PATH_MAX - 64];
    uid_t uid; /* DIR's owner */
    gid_t gid;
    int lock_fd; /* -1 before */
};

struct blx_pki_authority {
    X509 *cert;
    EVP_PKEY *key; /* NULL where ca.key is kept elsewhere */
};

/* Makes DIR/pki where it is missing, and locks it. Close it in any case. */
int blx_pki_lock(const char *data_dir, struct blx_pki *pki, struct blx_error *err);
void blx_pki_close(struct blx_pki *pki);

/* The same, and makes what is missing of the CA and the dispatcher's certificate. */
int blx_pki_open(const char *data_dir, struct blx_pki *pki, struct blx_pki_authority *ca,
                 struct blx_error *err);
void blx_pki_authority_done(struct blx_pki_authority *ca);

/* -ENOENT where the CA's key is not there. */
int blx_pki_need_key(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                     struct blx_error *err);

/* DIR/pki/NAME */
int blx_pki_path(const struct blx_pki *pki, const char *name, char path[PATH_MAX],
                 struct blx_error *err);

/* A folder of DIR's owner alone; one that exists is fine. Durable. */
int blx_pki_make_dir(const struct blx_pki *pki, const char *path, struct blx_error *err);

/* Writes DIR/pki/NAME, by rename, for DIR's owner; durable when it returns. */
int blx_pki_write(const struct blx_pki *pki, const char *name, BIO *content, mode_t mode,
                  struct blx_error *err);

/* Signs an agent's certificate for `key`, of which the public half is enough. It is valid even
 * where the agent has been revoked before; whoever asks has to have a right to it. */
int blx_pki_sign_agent(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                       const char *agent_id, EVP_PKEY *key, int days, X509 **cert,
                       struct blx_error *err);
