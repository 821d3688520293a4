/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatchers' addresses, which are tried in turn. The one that answers is kept: the next
 * session is tried there first.
 *
 * A standby listens only after it has taken over, and a dispatcher that shares its data directory
 * refuses an agent that another one has (docs/decisions/hosts.md). So an address that fails says
 * nothing about the next one, and only a round in which all have failed is a reason to wait.
 *
 * Threads: the main thread's alone, except that any may read the list.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tls/tls.h"

struct agent_addresses {
    const char *list;                /* as configured; borrowed */
    size_t count, at;                /* `at` is the number of the current one */
    size_t failed;                   /* in a row, without a session in between */
    char current[BLX_ADDRESS_BYTES]; /* to be dialled next */
};

void agent_addresses_begin(struct agent_addresses *addresses, const char *list);

/* A session began at the current one. */
void agent_addresses_keep(struct agent_addresses *addresses);

enum agent_addresses_round {
    AGENT_ADDRESSES_MORE, /* the next one can be tried at once */
    AGENT_ADDRESSES_DONE, /* each has failed: wait before the next round */
};

/* No session began at the current one: the next one's turn. */
enum agent_addresses_round agent_addresses_turn(struct agent_addresses *addresses);
