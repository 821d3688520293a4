/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL's errors, in words that a person can act on. For lib/wire and lib/tls only.
 *
 * Threads: OpenSSL's error queue belongs to the thread. Call this in the thread whose call failed,
 * right after it.
 */
#pragma once

#include <openssl/types.h>

#include "base/error.h"

/*
 * Fills `err` with the cause of a failed call on an SSL object and empties OpenSSL's queue.
 * `ssl_error` is SSL_get_error()'s answer (not WANT_READ or WANT_WRITE), `saved_errno` is errno
 * right after the call.
 *
 * -EPIPE: the other side closed. -EACCES: it refused this side's certificate. -EPROTO: it does not
 * speak this TLS. Other errors are the socket's.
 */
int blx_ssl_error(int ssl_error, int saved_errno, struct blx_error *err);

/* The oldest entry of OpenSSL's queue as text, "unknown error" if there is none. Empties the
 * queue. */
const char *blx_ssl_reason(void);
