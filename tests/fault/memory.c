#include "memory.h"

#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

static atomic_bool armed;
static bool lasting;
static unsigned allowed;
static atomic_uint calls;

void memory_arm(unsigned after, bool for_ever)
{
    allowed = after;
    lasting = for_ever;
    atomic_store(&calls, 0);
    atomic_store(&armed, true);
}

bool memory_disarm(void)
{
    atomic_store(&armed, false);
    return atomic_load(&calls) > allowed;
}

bool memory_is_short(void)
{
    if (!atomic_load(&armed))
        return false;
    unsigned call = atomic_fetch_add(&calls, 1);
    if (lasting ? call < allowed : call != allowed)
        return false;
    errno = ENOMEM;
    return true;
}

FAULT_WRAP(void *, malloc, (size_t bytes), (bytes))
FAULT_WRAP(void *, aligned_alloc, (size_t alignment, size_t bytes), (alignment, bytes))
FAULT_WRAP(void *, calloc, (size_t count, size_t bytes), (count, bytes))
FAULT_WRAP(void *, realloc, (void *memory, size_t bytes), (memory, bytes))
FAULT_WRAP(void *, reallocarray, (void *memory, size_t count, size_t bytes), (memory, count, bytes))
FAULT_WRAP(char *, strdup, (const char *text), (text))
FAULT_WRAP(char *, strndup, (const char *text, size_t bytes), (text, bytes))
FAULT_WRAP(DIR *, opendir, (const char *path), (path))
