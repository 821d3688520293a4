/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that thaws whatever happens (I6), and the memory that it shares with the agent.
 * freeze.h has the reasoning.
 *
 * The guard may be forked from a process with threads, so it runs on async-signal-safe calls alone:
 * no allocation, no stdio, no locks. Of the descriptors that the agent has open it keeps only its
 * end of the socket, so that it never keeps a lock or a pipe alive.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "agent/freeze/freeze.h"

enum agent_guard_state {
    AGENT_GUARD_IDLE = 0,
    AGENT_GUARD_ATTEMPT = 1, /* FIFREEZE may be running, or have ended */
    AGENT_GUARD_FROZEN = 2,  /* by us */
    AGENT_GUARD_FOREIGN = 3, /* by somebody else: do not thaw it */
};

/* In memory that both processes map. The agent writes every field that is not marked as the
 * guard's. */
struct agent_guard_shared {
    _Atomic uint64_t limit_ns;
    _Atomic uint64_t attempt_started_ns; /* the first one's; 0: none yet */
    _Atomic uint64_t first_frozen_ns;    /* 0: none yet */
    _Atomic uint64_t thawed_ns;          /* the guard's: when it last thawed one */
    _Atomic uint32_t fired;              /* the guard's: the limit has passed */
    /* The guard, too, changes these, from ATTEMPT and FROZEN to IDLE, when it has thawed. */
    _Atomic uint32_t state[AGENT_FREEZE_MAX_FILESYSTEMS];
};

enum agent_guard_command {
    AGENT_GUARD_READY = 1,  /* guard -> agent, once */
    AGENT_GUARD_ADD = 2,    /* with the next descriptors, in mount order */
    AGENT_GUARD_ARM = 3,    /* `count` descriptors were added */
    AGENT_GUARD_DISARM = 4, /* forget them */
};

enum { AGENT_GUARD_ADD_MAX = 128 }; /* descriptors in a message; the kernel takes 253 */

/* The guard answers a command with the same message when it has been carried out. */
struct agent_guard_message {
    uint32_t command;
    uint32_t count;
    uint64_t seq;
};

/* The guard's life. Never returns. `socket_fd` is its end of a SOCK_SEQPACKET pair, `record_fd` the
 * record (record_private.h) or -1: it empties it when it has thawed a dead agent's filesystems. */
_Noreturn void agent_guard_run(int socket_fd, int record_fd, struct agent_guard_shared *shared);
