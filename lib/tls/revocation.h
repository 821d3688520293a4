/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may not come in any more: DIR/pki/revoked/ID. Its first line is "blxrep revoked 1"; while it
 * is there every certificate of that agent is refused, but those whose serial number (hexadecimal)
 * stands on a line of its own: what has been signed since. So no clock is asked, and an agent that
 * is enrolled again works at once. Removing the file takes the revocation back.
 *
 * The file changes by rename, under the lock of DIR/pki; reading it needs no lock.
 *
 * Threads: no shared state. Blocks on the disk.
 */
#pragma once

#include "base/error.h"
#include "tls/pki_private.h"
#include "tls/tls.h"

/* Refuses all that has been signed for the agent so far. */
int blx_revocation_write(const struct blx_pki *pki, const char *agent_id, struct blx_error *err);

/* Where the agent is revoked: not so for the certificate of that serial number. */
int blx_revocation_except(const struct blx_pki *pki, const char *agent_id, const char *serial,
                          struct blx_error *err);

/* What a file says of the certificate with this serial number, or (NULL) of all together: 1
 * refused, 0 not, or not each of them; -EBADMSG for what is no such file. `text` ends with a NUL.
 */
int blx_revocation_parse(const char *text, const char *serial);
