/* SPDX-License-Identifier: Apache-2.0 */
#include "memory.h"

#include <dirent.h>
#include <errno.h>
#include <stddef.h>

#include "counter.h"

static struct fault_counter counter;

void memory_arm(unsigned after, bool for_ever)
{
    fault_counter_arm(&counter, after, for_ever);
}

bool memory_disarm(void)
{
    return fault_counter_disarm(&counter);
}

bool memory_is_short(void)
{
    return fault_counter_hit(&counter, ENOMEM);
}

FAULT_WRAP(void *, malloc, (size_t bytes), (bytes))
FAULT_WRAP(void *, aligned_alloc, (size_t alignment, size_t bytes), (alignment, bytes))
FAULT_WRAP(void *, calloc, (size_t count, size_t bytes), (count, bytes))
FAULT_WRAP(void *, realloc, (void *memory, size_t bytes), (memory, bytes))
FAULT_WRAP(void *, reallocarray, (void *memory, size_t count, size_t bytes), (memory, count, bytes))
FAULT_WRAP(char *, strdup, (const char *text), (text))
FAULT_WRAP(char *, strndup, (const char *text, size_t bytes), (text, bytes))
FAULT_WRAP(DIR *, opendir, (const char *path), (path))
