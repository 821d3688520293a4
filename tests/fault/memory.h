/*
 * Memory that runs short on demand: the calls for it in lib go through these (the linker's --wrap),
 * and so does opendir(), which needs some too. What libraries below lib ask for is not touched.
 *
 * Threads: armed and disarmed by one; the calls are counted over all.
 */
#pragma once

#include <stdbool.h>

/* From now on the call number `after` (from 0) finds no memory; with `for_ever` all behind it, too.
 */
void memory_arm(unsigned after, bool for_ever);

/* Back to normal; true where a call was refused. */
bool memory_disarm(void);
