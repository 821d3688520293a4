/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of a handover (handover.h), and what signing a certificate does to it. Private to
 * lib/tls.
 *
 * Threads: no shared state. The functions with a struct blx_pki wait for the disk.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tls/handover.h"
#include "tls/pki_folder_private.h"

enum { BLX_HANDOVER_FILE_BYTES = 64 * 1024 }; /* more than a thousand renewals */

/* Reads the file's text (with a NUL after it). `serials` becomes the rest of it, which has nothing
 * but the lines of serial numbers. -EBADMSG if the text is not such a file. */
int blx_handover_parse(const char *text, struct blx_handover *handover, const char **serials);

/* Whether a line is this serial number. */
bool blx_handover_lists(const char *serials, const char *serial);

/* By whose right a certificate is signed. */
enum blx_handover_right {
    BLX_HANDOVER_BY_SESSION, /* an older certificate's */
    BLX_HANDOVER_BY_HAND,    /* a person's: a token, or `enroll` */
};

/* A certificate with this serial number was signed for the agent. */
int blx_handover_except(const struct blx_pki *pki, const char *agent_id, const char *serial,
                        enum blx_handover_right right, struct blx_error *err);
