/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a TLS context. Private to lib/tls.
 *
 * Threads: a context does not change once it is made.
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
    const char *alpn;                              /* of a client: the protocol it demands */
    X509 *join_ca;                                 /* of a server that admits joins; owned */
    uint8_t ca_fingerprint[BLX_FINGERPRINT_BYTES]; /* of a joining client: the CA it trusts */
};

/* SSL_set_app_data() of a client's SSL object during its handshake: the host that was dialled. */
int blx_tls_verify_dispatcher(int ok, X509_STORE_CTX *store);

/* Whether the certificate is an agent's, signed by an authority that the context trusts. */
bool blx_tls_context_trusts(const struct blx_tls_context *context, X509 *cert);
