/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request for a certificate: PKCS#10, in DER form. All that is taken from one is the public key;
 * the name comes from elsewhere. Private to lib/tls.
 *
 * Threads: no shared state; nothing here touches the disk.
 */
#pragma once

#include <openssl/x509.h>

#include "base/error.h"
#include "wire/message.h"

/* Signs one with `key`. */
int blx_request_make(EVP_PKEY *key, struct blx_request_message *request, struct blx_error *err);

/*
 * The public key, a P-256 one as blxrep makes them, for which the sender has shown to hold the
 * private one. -EBADMSG for anything else.
 */
int blx_request_key(const struct blx_request_message *request, EVP_PKEY **key,
                    struct blx_error *err);
