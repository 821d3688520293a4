/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent's way to a certificate.
 *
 * Joining: a server that has nothing but a token gets its credentials. The key is made here and
 * never leaves the machine. Only a request that is signed with it crosses the wire, and only to the
 * dispatcher whose CA the token names.
 *
 * Renewing: the same with a new key, over the session that an agent has.
 *
 * Threads: no shared state. Waits for the network, within its deadlines, and for the disk.
 */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>

#include "base/name.h"
#include "tls/tls.h"
#include "wire/message.h"

struct blx_join {
    const char *address;     /* HOST:PORT of the dispatcher */
    const char *token;       /* as it was pasted */
    const char *credentials; /* the file to be written */
    bool replace;            /* also if it exists */
};

/*
 * Joins, and writes the credentials (credentials_private.h), whose folder is made if it is missing.
 * As much as possible is checked before the token is used up: -EINVAL for a token that is not
 * whole, -EEXIST, an unwritable folder, -EACCES if the dispatcher is not the token's. Once the
 * dispatcher has answered the token is used up, whatever happens afterwards. `agent_id` becomes the
 * ID with which it has joined.
 */
int blx_join(const struct blx_join *join, char agent_id[BLX_NAME_BYTES], struct blx_error *err);

/* Begins a renewal: makes a new key and the request with it. Free the key with EVP_PKEY_free(). */
int blx_renew_request(EVP_PKEY **key, struct blx_request_message *request, struct blx_error *err);

enum blx_renew_need {
    BLX_RENEW_NOT_NEEDED, /* the credentials are by the CA, and trust whom they shall */
    BLX_RENEW_NEEDED,
};

/*
 * What the CA that the dispatcher has told of means for the credentials in `tls`. -EACCES if they
 * give no reason to trust it: nothing that they trust has its name and key, or has signed the
 * proof. -EBADMSG if it is no CA.
 */
int blx_renew_consider(const struct blx_tls_context *tls,
                       const struct blx_authority_message *authority, enum blx_renew_need *need,
                       struct blx_error *err);

/*
 * Ends a renewal: replaces the credentials by `key` and the dispatcher's answer. -EBADMSG unless
 * the certificate is for that key, in the name that `tls` has, and signed by a CA that `tls`
 * trusts, or by that of `authority`, which blx_renew_consider() has let pass; NULL: the dispatcher
 * has told of none. The new credentials trust the certificate's CA, and, unless `authority` is
 * there and has no proof, those that `tls` trusts too. `ca_fingerprint` becomes the CA's.
 */
int blx_renew_accept(EVP_PKEY *key, const struct blx_certificate_message *certificate,
                     const struct blx_authority_message *authority,
                     const struct blx_tls_context *tls, const char *credentials,
                     uint8_t ca_fingerprint[BLX_FINGERPRINT_BYTES], struct blx_error *err);
