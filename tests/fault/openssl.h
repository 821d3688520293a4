/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL calls that fail on demand: the calls of lib/tls, lib/wire and lib/crypt go through these
 * (the linker's --wrap). They fail as they do for want of memory or of random numbers, without an
 * entry in the queue of errors. OpenSSL's own calls are not touched.
 *
 * Threads: armed and disarmed by one; the calls are counted over all.
 */
#pragma once

#include <stdbool.h>

/* From now on the call number `after` (from 0) fails; with `for_ever` all after it, too. */
void openssl_arm(unsigned after, bool for_ever);

/* Back to normal; true if a call has failed. */
bool openssl_disarm(void);
