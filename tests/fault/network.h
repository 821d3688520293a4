/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network that fails on demand: lib's calls for sockets go through these (the linker's --wrap).
 * What a call that fails was to send or receive is lost, as when the other side resets the
 * connection.
 *
 * Threads: armed and disarmed by one; the calls are counted over all.
 */
#pragma once

#include <stdbool.h>

/* From now on the call number `after` (from 0) fails; with `for_ever` all behind it, too. */
void network_arm(unsigned after, bool for_ever);

/* Back to normal; true where a call has failed. */
bool network_disarm(void);
