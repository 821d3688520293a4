/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection of a peer that has a token in place of a certificate: to a dispatcher whose CA the
 * token names, and to no other.
 *
 * Threads: no shared state. Waits for the network, within its deadlines.
 */
#pragma once

#include "tls/tls.h"
#include "tls/token.h"

/*
 * Dials on this errand, which is not BLX_TLS_SESSION: "HOST:PORT", or several with commas between
 * them, which are tried in turn; the last one's error is the call's. A dispatcher that is busy with
 * other newcomers is tried again, for some seconds. -EACCES: it is not the dispatcher that made the
 * token; -EPROTO: it takes no tokens; and the errors of blx_tls_connect(). Nothing of the token has
 * been shown.
 */
int blx_bearer_dial(const struct blx_token *token, enum blx_tls_errand errand,
                    const char *addresses, struct blx_conn **conn, struct blx_error *err);
