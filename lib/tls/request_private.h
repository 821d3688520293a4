/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request for a certificate: PKCS#10, in DER form. Only the public key is taken from it; the name
 * comes from elsewhere. Private to lib/tls.
 *
 * Threads: no shared state. Nothing here touches the disk.
 */
#pragma once

#include <openssl/x509.h>

#include "base/error.h"
#include "wire/message.h"

/* Makes a request and signs it with `key`. */
int blx_request_make(EVP_PKEY *key, struct blx_request_message *request, struct blx_error *err);

/*
 * The public key, on P-256 as blxrep makes them. The request's signature shows that the sender
 * holds the private key. -EBADMSG for anything else.
 */
int blx_request_key(const struct blx_request_message *request, EVP_PKEY **key,
                    struct blx_error *err);
