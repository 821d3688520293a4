/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between control.c (the socket, its threads) and control_client.c (one client).
 */
#pragma once

#include "dispatcher/dispatcher.h"

/*
 * Serves one client: takes `fd` over, receives one request and answers it. Returns early when
 * `stop_fd` becomes readable. Blocks for as long as a checkpoint takes, or until the client hangs
 * up.
 */
void dispatcher_control_serve(struct dispatcher *dispatcher, int fd, int stop_fd);
