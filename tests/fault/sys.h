/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of disk calls of which one, or one and all after it, fails. If fsync and fdatasync do not
 * fail they do nothing: nobody pulls the plug here, and the loops make very many of them.
 *
 * Threads: armed and disarmed by one; the calls are counted over all.
 */
#pragma once

#include <stdbool.h>

/* Until sys_arm(): calls that do not fail, and do not wait for the disk. */
void sys_use_fast(void);

/* From now on the call number `after` (from 0) fails with EIO; with `for_ever` all after it,
 * too. */
void sys_arm(unsigned after, bool for_ever);

/* Back to calls that do not fail; true if one failed. */
bool sys_disarm(void);

/* Counts a call that the table does not have; true if it is to fail, with errno. */
bool sys_fails(void);
