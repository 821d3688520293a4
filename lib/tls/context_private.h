/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a context is made of. Private to lib/tls. Immutable once it is made.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "tls/token.h"

struct blx_tls_context {
    SSL_CTX *ssl;
    bool server;
    char cert_path[512];                           /* for messages */
    const char *alpn;                              /* a client's: what it demands */
    X509 *join_ca;                                 /* a server's that admits joins; owned */
    uint8_t ca_fingerprint[BLX_FINGERPRINT_BYTES]; /* a joining client's: whom it trusts */
};

/* SSL_set_app_data() of a client's SSL object during its handshake: the host that was dialled. */
int blx_tls_verify_dispatcher(int ok, X509_STORE_CTX *store);

/* Whether the certificate is an agent's by an authority that the context trusts. */
bool blx_tls_context_trusts(const struct blx_tls_context *context, X509 *cert);
