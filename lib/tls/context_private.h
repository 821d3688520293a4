/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a TLS context. Private to lib/tls.
 *
 * Threads: a context does not change once it is made, except for the number of its users.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tls/tls.h"
#include "tls/token.h"

struct blx_tls_context {
    atomic_uint users; /* the last one that frees it does */
    SSL_CTX *ssl;
    bool server;
    char cert_path[512];                           /* for messages */
    enum blx_tls_errand errand;                    /* of a client */
    X509 *token_ca;                                /* of a server that admits tokens; owned */
    uint8_t ca_fingerprint[BLX_FINGERPRINT_BYTES]; /* of a client with a token: the CA it trusts */
};

/* The protocol's name. */
const char *blx_tls_errand_alpn(enum blx_tls_errand errand);

/* SSL_set_app_data() of a client's SSL object during its handshake: the host that was dialled. */
int blx_tls_verify_dispatcher(int ok, X509_STORE_CTX *store);

/* The verdict (X509_V_OK) on an agent's certificate by one CA alone. */
int blx_tls_verify_agent(X509 *ca, X509 *cert);

/* The CAs that the context trusts, to be freed; NULL if memory is short. */
struct stack_st_X509 *blx_tls_context_list_trusted(const struct blx_tls_context *context);

/* The context's own certificate, which it keeps. */
X509 *blx_tls_context_cert(const struct blx_tls_context *context);
