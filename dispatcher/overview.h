/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole of what the dispatcher knows at one moment: itself and every agent of its store. What
 * `blxrep status`, the metrics and on-event see is this and nothing else.
 *
 * Threads: any; the overview is the caller's. Taking one blocks on the disk for a short while.
 */
#pragma once

#include <stddef.h>

#include "dispatcher/dispatcher.h"

struct dispatcher_overview {
    struct blx_control_dispatcher dispatcher;
    struct blx_control_agent *agents; /* owned; by ID */
    size_t agent_count;
};

int dispatcher_overview_take(struct dispatcher *dispatcher, struct dispatcher_overview *overview,
                             struct blx_error *err);

void dispatcher_overview_done(struct dispatcher_overview *overview);
