/*
 * An agent's credentials: one PEM file of mode 0600 with its key, its certificate and the
 * dispatcher's CA. Private to lib/tls.
 *
 * It is written under a random name beside `path` and renamed, so that after a crash `path` is what
 * it was or the whole new file. `way_out` says what a person can do where the file exists; NULL:
 * it is replaced.
 *
 * Threads: no shared state. Blocks on the disk.
 */
#pragma once

#include <openssl/x509.h>

#include "base/error.h"

/* Whether blx_credentials_write() has a chance, before something is spent on it: -EEXIST, or why
 * the folder cannot be written to. */
int blx_credentials_check(const char *path, const char *way_out, struct blx_error *err);

/* Durable when it returns. -EEXIST. What was in memory of the key's PEM form is wiped. */
int blx_credentials_write(const char *path, EVP_PKEY *key, X509 *cert, X509 *ca,
                          const char *way_out, struct blx_error *err);
