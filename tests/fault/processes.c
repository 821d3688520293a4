/* SPDX-License-Identifier: Apache-2.0 */
/* What a new process needs of the kernel: it runs short with the memory. */
#include <sys/types.h>

#include "memory.h"

/* The linker gives these names; nobody else declares them. */
#define WRAP(type, name, parameters, arguments)                                                    \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return memory_is_short() ? -1 : __real_##name arguments;                                   \
    }

WRAP(int, pipe2, (int ends[2], int flags), (ends, flags))
WRAP(pid_t, fork, (void), ())
