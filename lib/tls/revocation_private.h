/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agents that may not come in any more: DIR/pki/revoked/ID. Its first line is "blxrep revoked
 * 1". While the file exists every certificate of that agent is refused, except those whose serial
 * number (hexadecimal) stands on a line of its own: these have been signed since. So no clock is
 * needed, and an agent that is enrolled again works at once. Removing the file takes the revocation
 * back. A copier's file is named by its common name, revoked/copier:NAME; here that is its ID.
 *
 * The file changes by rename, under the lock of DIR/pki; reading it needs no lock. Private to
 * lib/tls.
 *
 * Threads: no shared state. Waits for the disk.
 */
#pragma once

#include "base/error.h"
#include "tls/pki_folder_private.h"

/* Refuses everything that has been signed for the agent so far. */
int blx_revocation_write(const struct blx_pki *pki, const char *agent_id, struct blx_error *err);

/* If the agent is revoked, exempts the certificate with this serial number. */
int blx_revocation_except(const struct blx_pki *pki, const char *agent_id, const char *serial,
                          struct blx_error *err);

/* What the agent's file says, as blx_revocation_parse() has it; 0 if there is no file. -EBADMSG if
 * it is damaged. Takes no lock. */
int blx_revocation_look(const char *data_dir, const char *agent_id, const char *serial,
                        struct blx_error *err);

/*
 * What a file's text (with a NUL after it) says of the certificate with this serial number: 1 it is
 * refused, 0 it is not. With NULL: 1 all certificates are refused, 0 some are not. -EBADMSG if the
 * text is not such a file.
 */
int blx_revocation_parse(const char *text, const char *serial);
