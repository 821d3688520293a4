/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL calls that fail on demand: what lib/tls, lib/wire and lib/crypt ask of it goes through
 * these (the linker's --wrap). It fails as it does for want of memory or of random numbers, without
 * a word in its queue of errors. What it calls itself is not touched.
 *
 * Threads: armed and disarmed by one; the calls are counted over all.
 */
#pragma once

#include <stdbool.h>

/* From now on the call number `after` (from 0) fails; with `for_ever` all behind it, too. */
void openssl_arm(unsigned after, bool for_ever);

/* Back to normal; true where a call has failed. */
bool openssl_disarm(void);
