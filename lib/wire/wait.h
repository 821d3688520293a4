/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for a socket, until a deadline on CLOCK_MONOTONIC. Private to lib/wire and lib/tls.
 *
 * Threads: no shared state.
 */
#pragma once

#include <stdint.h>

enum { BLX_WAIT_NS_PER_MS = 1000000 };
#define BLX_WAIT_FOR_EVER UINT64_MAX

/* The deadline `timeout_ms` from now; UINT64_MAX stays "for ever". */
uint64_t blx_wait_deadline(uint64_t timeout_ms);

/* Waits until one of poll(2)'s `events`, or an error, is there. 0, -ETIMEDOUT, or poll's -errno. */
int blx_wait_fd(int fd, short events, uint64_t deadline_ns);
