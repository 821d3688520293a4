/*
 * What a context is made of. Private to lib/tls. Immutable once it is made.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>

struct blx_tls_context {
    SSL_CTX *ssl;
    bool server;
    char cert_path[512]; /* for messages */
};

/* SSL_set_app_data() of a client's SSL object during its handshake: the host that was dialled. */
int blx_tls_verify_dispatcher(int ok, X509_STORE_CTX *store);
