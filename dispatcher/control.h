/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DIR/control.sock (wire/control_socket.h), over which `blxrep` asks the running dispatcher for a
 * checkpoint or for the state of its agents. Whoever may write the store may ask. The store's lock
 * ensures that no other dispatcher has the socket; one that shares the store has a name of its own
 * for it.
 *
 * Threads: one that accepts, one for each client (at most DISPATCHER_CONTROL_MAX_CLIENTS; more are
 * closed at once). Start and stop are main()'s.
 */
#pragma once

#include <stdint.h>

#include "dispatcher/dispatcher.h"

enum { DISPATCHER_CONTROL_MAX_CLIENTS = 32 };

struct dispatcher_control;

int dispatcher_control_start(struct dispatcher *dispatcher, struct dispatcher_control **control,
                             struct blx_error *err);

/*
 * Removes the socket and waits for the threads, until `deadline_ns` (blx_clock_ns()); -ETIMEDOUT
 * if some are still running: then nothing was freed, and the process should exit.
 * dispatcher_registry_stop() must have been called.
 */
int dispatcher_control_stop(struct dispatcher_control *control, uint64_t deadline_ns);
