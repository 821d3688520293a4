/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http://metrics-listen/metrics: one thread of libmicrohttpd answers GET and HEAD, and nothing
 * else. It reads no body, holds at most DISPATCHER_METRICS_CONNECTIONS connections, of one address
 * at most DISPATCHER_METRICS_FROM_SOURCE, and drops one that is silent for
 * DISPATCHER_METRICS_SILENCE_S. So a stranger who reaches it can slow it down,
 * but not the rest of the dispatcher. There is no access control: it listens on loopback unless a
 * host is given.
 *
 * Threads: start and stop are main()'s.
 */
#pragma once

#include "dispatcher/dispatcher.h"

enum {
    DISPATCHER_METRICS_CONNECTIONS = 32,
    DISPATCHER_METRICS_FROM_SOURCE = 8,
    DISPATCHER_METRICS_SILENCE_S = 10,
};

struct dispatcher_metrics;

/* `address`: "HOST:PORT" or ":PORT". NULL: no metrics; `metrics` becomes NULL. */
int dispatcher_metrics_start(struct dispatcher *dispatcher, const char *address,
                             struct dispatcher_metrics **metrics, struct blx_error *err);

/* The address that it listens on, as text. */
const char *dispatcher_metrics_get_address(const struct dispatcher_metrics *metrics);

/* Waits for an answer in progress. NULL is allowed. */
void dispatcher_metrics_stop(struct dispatcher_metrics *metrics);
