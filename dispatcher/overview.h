/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that the dispatcher knows at one moment: about itself and about every agent of its
 * store. `blxrep status`, the metrics and on-event all see this and nothing else.
 *
 * Threads: any; the overview belongs to the caller. Taking one waits for the disk for a short
 * while.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "dispatcher/dispatcher.h"
#include "dispatcher/proofs.h"

struct dispatcher_overview {
    struct blx_control_dispatcher dispatcher;
    struct blx_control_agent *agents; /* owned; by ID */
    struct dispatcher_proof *proofs;  /* owned; one for each agent */
    struct blx_control_place *places; /* owned; one for each agent; `host` is empty unless another
                                         dispatcher has its session */
    size_t agent_count;
    uint64_t kept_out; /* connections that were refused since the start for want of a place */
    struct blx_control_handover *handovers; /* owned; of the agents that have one, by ID */
    size_t handover_count;
    struct blx_control_copy *copies; /* owned; of the agents that are copied elsewhere, by ID */
    size_t copy_count;
    struct blx_control_pulled
        *pulled; /* owned; agents that are copied, which are not in `agents` */
    size_t pulled_count;
    struct blx_control_restore restores[DISPATCHER_REGISTRY_RESTORES]; /* that run now */
    size_t restore_count;
};

int dispatcher_overview_take(struct dispatcher *dispatcher, struct dispatcher_overview *overview,
                             struct blx_error *err);

/* Whether agent number `at` is connected to this dispatcher. */
bool dispatcher_overview_is_here(const struct dispatcher_overview *overview, size_t at);

/* Leaves out the agents for which another dispatcher answers: those that it has, and, unless this
 * one is the keeper (neighbours.h), those that nobody has. */
void dispatcher_overview_keep_own(struct dispatcher *dispatcher,
                                  struct dispatcher_overview *overview);

void dispatcher_overview_done(struct dispatcher_overview *overview);
