/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network that fails on demand: lib's calls for sockets go through these (the linker's --wrap).
 * The bytes that a failing call was to send or receive are lost, as when the other side resets the
 * connection.
 *
 * Threads: armed and disarmed by one; the calls are counted over all.
 */
#pragma once

#include <stdbool.h>

/* From now on the call number `after` (from 0) fails; with `for_ever` all after it, too. */
void network_arm(unsigned after, bool for_ever);

/* Back to normal; true if a call has failed. */
bool network_disarm(void);
