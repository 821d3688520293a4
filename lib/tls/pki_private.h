/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The authority in DIR/pki and how it signs, for pki.c, pki_grant.c and pki_token.c. Private to
 * lib/tls.
 *
 * Every function here except blx_pki_open() is called with the lock of DIR/pki held.
 *
 * Threads and processes: the lock keeps them apart. Blocks on the lock and the disk.
 */
#pragma once

#include <openssl/x509.h>

#include "base/error.h"
#include "tls/pki_folder_private.h"

struct blx_pki_authority {
    X509 *cert;
    EVP_PKEY *key; /* NULL if ca.key is kept elsewhere */
};

/* Locks DIR/pki, as blx_pki_lock() does, and makes what is missing of the CA and the dispatcher's
 * certificate. Free both in any case, with blx_pki_authority_done() and blx_pki_close(). */
int blx_pki_open(const char *data_dir, struct blx_pki *pki, struct blx_pki_authority *ca,
                 struct blx_error *err);
void blx_pki_authority_done(struct blx_pki_authority *ca);

/* -ENOENT if the CA's key is not there. */
int blx_pki_need_key(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                     struct blx_error *err);

/*
 * Signs an agent's certificate for `key`, of which the public half is enough. The certificate is
 * valid even if the agent was revoked before, so the caller must have checked the right to it.
 */
int blx_pki_sign_agent(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                       const char *agent_id, EVP_PKEY *key, int days, X509 **cert,
                       struct blx_error *err);
