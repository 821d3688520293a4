/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rate at which bytes arrive, over the last DISPATCHER_METER_WINDOW_MS.
 *
 * Threads: one at a time; the caller has a lock. Times are blx_clock_ns().
 */
#pragma once

#include <stdint.h>

enum { DISPATCHER_METER_WINDOW_MS = 5 * 1000 };

/* All zero: nothing has arrived yet. */
struct dispatcher_meter {
    uint64_t since_ns;     /* when the running window began */
    uint64_t bytes;        /* that arrived in it */
    uint64_t before_per_s; /* the rate when it began */
};

void dispatcher_meter_add(struct dispatcher_meter *meter, uint64_t bytes, uint64_t now_ns);

/* Bytes per second. */
uint64_t dispatcher_meter_read(const struct dispatcher_meter *meter, uint64_t now_ns);
