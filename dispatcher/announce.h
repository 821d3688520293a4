/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After a reload: of each agent whose rules of retention are others now, what the next prune would
 * remove by them. The log and the audit log tell it before anything is removed, also of agents that
 * are not connected; `prune --dry-run` lists the same checkpoints.
 *
 * Threads: reading the manifests of all agents takes a while, so a thread beside the sessions does
 * it. It ends early if the dispatcher stops.
 */
#pragma once

#include "config/policy.h"
#include "dispatcher/dispatcher.h"

/* `before`: the policies before the reload, which are taken over in any case; `own`: the
 * dispatcher's own settings before it. The book has the new ones. */
void dispatcher_announce_start(struct dispatcher *dispatcher, struct blx_policies *before,
                               const struct blx_policy_verdict *own);
