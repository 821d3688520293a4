/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dialling, which blx_tls_connect() does before TLS. Private to lib/tls. The public half of
 * address.c is in tls.h.
 *
 * Threads: no shared state.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"

enum { BLX_HOST_BYTES = 256, BLX_PORT_BYTES = 8 };

/*
 * Connects to "HOST:PORT": tries the host's addresses in turn, each with its share of the time that
 * is left. The descriptor (non-blocking) or -errno; `host` becomes the host as it was named.
 * Blocks; the resolver has time-outs of its own.
 */
int blx_address_dial(const char *address, uint64_t deadline_ns, char host[BLX_HOST_BYTES],
                     struct blx_error *err);
