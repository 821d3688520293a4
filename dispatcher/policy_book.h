/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policies that are in force (config/policy.h), and the dispatcher's own options, which hold if
 * no policy says otherwise. A reload replaces both, or keeps the old ones if a file is wrong.
 *
 * Threads: any. `lock` is a leaf. A verdict is the caller's copy.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "config/policy.h"

struct dispatcher_policy_book {
    pthread_mutex_t lock;
    struct blx_policies policies;  /* guarded by `lock`; main() replaces them */
    struct blx_policy_verdict own; /* guarded by `lock`; main() replaces it */
};

/* `policies` is taken over. */
void dispatcher_policy_book_init(struct dispatcher_policy_book *book, struct blx_policies *policies,
                                 uint64_t sync_freq_ms, const struct blx_retention *retention);
void dispatcher_policy_book_done(struct dispatcher_policy_book *book);

/* Puts these into force; `policies` and `own` become those before, which are the caller's. `own`:
 * the dispatcher's sync-freq and retention. Returns whether these two are others than before. */
bool dispatcher_policy_book_exchange(struct dispatcher_policy_book *book,
                                     struct blx_policies *policies, struct blx_policy_verdict *own);

/* One of them, where it comes from, and the pattern that matches. The dispatcher's own options are
 * told to come from `config_path` (NULL: no file). */
void dispatcher_policy_book_tell(struct dispatcher_policy_book *book, const char *agent_id,
                                 enum blx_policy_key key, const char *config_path,
                                 struct blx_control_verdict *told);

/* The rules that hold for the agent now. */
void dispatcher_policy_book_look(struct dispatcher_policy_book *book, const char *agent_id,
                                 struct blx_policy_verdict *verdict);
