/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent's credentials: one PEM file of mode 0600 with its key, its certificate and the
 * CAs that it trusts: the dispatcher's, and during a roll-over the one before it too.
 * base/secret_file.h says how it is written and what `way_out` means. Private to lib/tls.
 *
 * Threads: no shared state. Waits for the disk.
 */
#pragma once

#include <openssl/x509.h>

#include "base/error.h"

/* The file's content, in memory that is wiped when it is freed. */
int blx_credentials_format(EVP_PKEY *key, X509 *cert, X509 *ca, const struct stack_st_X509 *before,
                           BIO **bundle, struct blx_error *err);

/* Durable when it returns. -EEXIST. The key's PEM form is wiped from memory. `before` has further
 * CAs; NULL: none. */
int blx_credentials_write(const char *path, EVP_PKEY *key, X509 *cert, X509 *ca,
                          const struct stack_st_X509 *before, const char *way_out,
                          struct blx_error *err);
