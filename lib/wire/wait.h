/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for a socket until a deadline (base/clock.h). For lib/wire and lib/tls only.
 *
 * Threads: no shared state.
 */
#pragma once

#include <stdint.h>

/* Waits for one of poll(2)'s `events`, or for an error of the socket. 0, -ETIMEDOUT, or poll's
 * -errno. */
int blx_wait_fd(int fd, short events, uint64_t deadline_ns);
