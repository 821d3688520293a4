/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that runs short on demand: the calls for it in lib go through these (the linker's --wrap),
 * and so does opendir(), which needs some too. The calls of libraries below lib are not touched.
 *
 * Threads: armed and disarmed by one; the calls are counted over all.
 */
#pragma once

#include <stdbool.h>

/* From now on the call number `after` (from 0) finds no memory; with `for_ever` all after it,
 * too. */
void memory_arm(unsigned after, bool for_ever);

/* Back to normal; true if a call was refused. */
bool memory_disarm(void);

/* Counts a call; true if it is to be refused. */
bool memory_is_short(void);

/* The call `name` through the above. The linker gives these names; nobody else declares them. */
#define FAULT_WRAP(type, name, parameters, arguments)                                              \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return memory_is_short() ? NULL : __real_##name arguments;                                 \
    }
