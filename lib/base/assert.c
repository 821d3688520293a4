/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void blx_assert_failed(const char *expression, const char *file, int line, const char *function)
{
    dprintf(STDERR_FILENO, "%s:%d: %s(): assertion failed: %s\n", file, line, function, expression);
    abort();
}

bool blx_mutex_is_held(pthread_mutex_t *lock)
{
#ifdef __GLIBC__
    return __atomic_load_n(&lock->__data.__owner, __ATOMIC_RELAXED) == gettid();
#else
    if (pthread_mutex_trylock(lock) == EBUSY)
        return true;
    pthread_mutex_unlock(lock);
    return false;
#endif
}
