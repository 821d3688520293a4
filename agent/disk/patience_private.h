/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent and its helpers share: a place in shared memory for each helper, and the messages
 * on its socket. A place's state:
 *
 *     RUNNING --helper--> DONE         in time: the caller takes the result
 *     RUNNING --caller--> ABANDONED    too late: the helper undoes it
 *
 * The caller sets RUNNING and sends BEGIN; the helper answers every BEGIN with ENDED, late or not.
 * If the call has an undo() and was in time, the caller says SETTLED when it has the result: a
 * helper whose agent ends before that undoes it.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "agent/disk/patience.h"

enum agent_helper_state { AGENT_HELPER_RUNNING, AGENT_HELPER_DONE, AGENT_HELPER_ABANDONED };

enum agent_helper_word {
    AGENT_HELPER_BEGIN = 1, /* to the helper, with the descriptor that it is lent */
    AGENT_HELPER_TAKEN,     /* from it, with the one that it gives */
    AGENT_HELPER_ENDED,     /* from it: it holds none any more, unless it waits for SETTLED */
    AGENT_HELPER_SETTLED,
};

struct agent_helper_place {
    _Alignas(4096) atomic_uint state; /* enum agent_helper_state */
    /* Written by the caller before BEGIN, constant for the helper. */
    struct agent_patience_call call;
    /* Written by the helper before DONE. */
    int rc;
    /* Written by the helper, before DONE and when it has let go: what it has kept is of the call's
     * name, and letting go may take as long as whatever that names. */
    atomic_bool keeps;
    /* The caller's before BEGIN and after DONE, the helper's between. */
    _Alignas(16) uint8_t arg[AGENT_PATIENCE_ARG_BYTES];
    _Alignas(4096) uint8_t data[AGENT_PATIENCE_DATA_BYTES];
};

/* Sends a word, and a descriptor unless it is negative. 0 or -errno. */
int agent_helper_send(int socket_fd, uint32_t word, int fd, int flags);

/* Receives a word, and a descriptor (-1: none came). 0, -EPIPE at the end, or -errno. */
int agent_helper_receive(int socket_fd, uint32_t *word, int *fd, int flags);

/* The nursery's process: forks a helper for each word, which is the number of its place, with the
 * descriptor as its socket. Ends with the agent. */
_Noreturn void agent_helper_nurse(int socket_fd, struct agent_helper_place *places);

/* For how long a call of this name has been hanging, in ns; 0: none is. For the tests. */
uint64_t agent_patience_ask(const char *name);
