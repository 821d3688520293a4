/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/bearer.h"

#include <errno.h>
#include <time.h>

enum {
    CONNECT_TIMEOUT_MS = 10 * 1000,
    BUSY_TRIES = 10, /* if many come at once */
    BUSY_PAUSE_MS = 500,
};

static int explain(int rc, enum blx_tls_errand errand, struct blx_error *err)
{
    if (rc == -EACCES)
        blx_error_prefix(err, "this is not the dispatcher that made the token");
    else if (rc == -EPROTO)
        blx_error_prefix(err,
                         "this address takes no %s (an older dispatcher, or one whose "
                         "configuration has `tls`, the site's own certificates)",
                         errand == BLX_TLS_JOIN ? "joins" : "tokens for a restore");
    return rc;
}

static int dial_one(struct blx_tls_context *tls, enum blx_tls_errand errand, const char *address,
                    struct blx_conn **conn, struct blx_error *err)
{
    for (int i = 1;; i++) {
        int rc = blx_tls_connect(tls, address, CONNECT_TIMEOUT_MS, conn, err);
        if (i == BUSY_TRIES || (rc != -EPIPE && rc != -ECONNRESET))
            return rc < 0 ? explain(rc, errand, err) : 0;
        blx_error_clear(err);
        const struct timespec pause = {.tv_nsec = BUSY_PAUSE_MS * 1000000L};
        nanosleep(&pause, NULL);
    }
}

int blx_bearer_dial(const struct blx_token *token, enum blx_tls_errand errand,
                    const char *addresses, struct blx_conn **conn, struct blx_error *err)
{
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *tls = NULL;
    const size_t count = blx_address_count(addresses);
    char address[BLX_ADDRESS_BYTES];
    int rc = blx_tls_context_new_bearer(token->ca_fingerprint, errand, &tls, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; blx_address_pick(addresses, i, address); i++) {
        rc = dial_one(tls, errand, address, conn, err);
        if (rc == 0)
            return 0;
        if (i + 1 < count)
            blx_error_clear(err);
    }
    if (count > 1)
        blx_error_prefix(err, "none of the %zu addresses will do; the last one", count);
    return rc;
}
