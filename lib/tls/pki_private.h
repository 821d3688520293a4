/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The authority in DIR/pki and how it signs, for pki.c, pki_grant.c, pki_roll.c and pki_token.c.
 * Private to lib/tls.
 *
 * Every function here except blx_pki_open() is called with the lock of DIR/pki held.
 *
 * Threads and processes: the lock keeps them apart. Blocks on the lock and the disk.
 */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>

#include "base/error.h"
#include "tls/handover_private.h"
#include "tls/pki_folder_private.h"
#include "wire/message.h"

struct blx_pki_authority {
    X509 *cert;
    EVP_PKEY *key; /* NULL if ca.key is kept elsewhere */
    bool is_next;  /* the successor, for errors */
};

/* Locks DIR/pki, as blx_pki_lock() does, and makes what is missing of the CA and the dispatcher's
 * certificate. Free both in any case, with blx_pki_authority_done() and blx_pki_close(). */
int blx_pki_open(const char *data_dir, struct blx_pki *pki, struct blx_pki_authority *ca,
                 struct blx_error *err);
void blx_pki_authority_done(struct blx_pki_authority *ca);

/* Makes a CA of a new name: DIR/pki/KEY_FILE, unless it exists, and DIR/pki/CERT_FILE. */
int blx_pki_authority_make(const struct blx_pki *pki, const char *key_file, const char *cert_file,
                           struct blx_pki_authority *ca, struct blx_error *err);

/* Makes a dispatcher's certificate, and its key unless that exists. */
int blx_pki_dispatcher_make(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                            const char *key_file, const char *cert_file, struct blx_error *err);

/* Writes DIR/pki/NAME, as blx_pki_write() does. */
int blx_pki_write_cert(const struct blx_pki *pki, const char *name, X509 *cert,
                       struct blx_error *err);

/* Whether there is a file, or anything else, of this name. */
int blx_pki_file_exists(const char *path, bool *exists, struct blx_error *err);

/* pki_roll.c: the successor during a grace period, and, unless `authority` is NULL, its proof. All
 * NULL and no proof: there is none. Free it in any case. */
int blx_pki_roll_load(const struct blx_pki *pki, struct blx_pki_authority *next,
                      struct blx_authority_message *authority, struct blx_error *err);

/* pki_roll.c: ends a retirement that a crash has interrupted. */
int blx_pki_roll_finish(const struct blx_pki *pki, struct blx_error *err);

/* -ENOENT if the CA's key is not there. */
int blx_pki_need_key(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                     struct blx_error *err);

/* A copier's common name. -EINVAL if `name` is none. */
int blx_pki_copier_subject(const char *name, char subject[BLX_NAME_BYTES], struct blx_error *err);

/* How long an agent's certificate is valid, and by whose right it is signed. */
struct blx_pki_signing {
    int days;
    enum blx_handover_right right;
};

/*
 * Signs an agent's certificate for `key`, of which the public half is enough. The certificate is
 * valid even if the agent was revoked before, so the caller must have checked the right to it.
 */
int blx_pki_sign_agent(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                       const char *agent_id, EVP_PKEY *key, const struct blx_pki_signing *signing,
                       X509 **cert, struct blx_error *err);
