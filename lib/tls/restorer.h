/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine that restores with a token, as the dispatcher knows it: by the token, and by a secret
 * of the machine's own that is the same each time (PROTOCOL.md 4.13). The secret lies in the state
 * folder, in a file that is named by the token's hash, before the token is shown: no crash can lose
 * a token that is bound to it.
 *
 * Threads: one at a time. Waits for the disk, and for the network within its deadlines.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "base/error.h"
#include "tls/token.h"
#include "wire/conn.h"
#include "wire/message.h"

struct blx_restorer {
    struct blx_token token;
    struct blx_restore_message hello;     /* with the secrets of both */
    const char *address;                  /* of the dispatcher, or several (bearer.h); borrowed */
    uint8_t hardware[BLX_HARDWARE_BYTES]; /* by which this machine is known again; zero: nothing */
    char path[PATH_MAX];                  /* of the file with the machine's secret */
    bool again;                           /* this machine has shown the token before */
};

/* Takes the token from its line, and the secret from the state folder, which are made if they are
 * not there. -EINVAL for a token that is none; -EBADMSG for a file that is damaged; -EIO; the
 * disk's errors. To be wiped, also after an error. */
int blx_restorer_begin(struct blx_restorer *restorer, const char *token, const char *state_dir,
                       const char *address, struct blx_error *err);

/* A blx_pull_request's dial(); `arg` is the restorer. As blx_bearer_dial(). */
int blx_restorer_dial(void *arg, struct blx_conn **conn, struct blx_error *err);

/* The token is spent, or was never this machine's: its file goes. */
void blx_restorer_forget(const struct blx_restorer *restorer);

void blx_restorer_wipe(struct blx_restorer *restorer);
