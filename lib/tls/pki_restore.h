/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens for a restore over the network: DIR/pki/tokens/HASH (pki_token_private.h has the file).
 *
 *     made ──► OPEN ──a machine shows it──► USED ──it has all──► DONE
 *                │                           │ the same machine shows it again
 *                └── an hour: expired        └── a day after that: expired
 *
 * A token reads, and reads only: the named volumes of one checkpoint. It is bound to the first
 * machine that shows it. That machine has made a secret for itself, of which only the hash is
 * kept, and shows it each time. So a restore goes on after a cut, a kill and a reboot, and a token
 * that was seen on its way is of no use to anybody else.
 *
 * Threads and processes: safe to call from several at once. Blocks on the lock of DIR/pki and the
 * disk.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/name.h"
#include "base/timestamp.h"
#include "tls/token.h"
#include "wire/message.h"

struct blx_restore_grant {
    char agent_id[BLX_NAME_BYTES];
    blx_timestamp checkpoint;
    uint32_t volume_count; /* 1 to BLX_MAX_VOLUMES */
    char volumes[BLX_MAX_VOLUMES][BLX_NAME_BYTES];
    bool takes_over; /* the machine is the agent afterwards: handover.h */
};

/* Makes a token that gives what `grant` says, to one machine that shows it within `valid_s`
 * seconds. Other tokens of the agent stay. */
int blx_pki_make_restore_token(const char *data_dir, const struct blx_restore_grant *grant,
                               uint64_t valid_s, char text[BLX_TOKEN_TEXT_BYTES],
                               struct blx_error *err);

enum blx_restore_turn { BLX_RESTORE_FIRST, BLX_RESTORE_AGAIN };

/*
 * A machine shows a token: binds it to the machine if it is open, and keeps it from expiring for a
 * day. `grant` becomes what it gives, `turn` whether the machine comes for the first time. -EACCES
 * with the reason if it is another machine's, done, expired, not known, or for joining; then
 * grant->agent_id is the agent's if it is known, and "" otherwise. Durable when it returns.
 */
int blx_pki_use_restore_token(const char *data_dir, const struct blx_restore_message *message,
                              struct blx_restore_grant *grant, enum blx_restore_turn *turn,
                              struct blx_error *err);

/* Whether the machine may still use it: -EACCES once it was taken back. Takes no lock. */
int blx_pki_check_restore_token(const char *data_dir, const struct blx_restore_message *message,
                                struct blx_error *err);

/* The machine has what it wanted: the token is spent. Durable when it returns. */
int blx_pki_finish_restore_token(const char *data_dir, const struct blx_restore_message *message,
                                 struct blx_error *err);

/* Takes all tokens of the agent back, for joins and for restores; `count` becomes their number. A
 * restore that runs ends within seconds. Durable when it returns. */
int blx_pki_revoke_tokens(const char *data_dir, const char *agent_id, unsigned *count,
                          struct blx_error *err);
