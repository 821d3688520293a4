/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/doubts_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void agent_mounts_doubt(struct agent_mounts *mounts, const struct agent_mount_doubt *about,
                        const char *format, ...)
{
    struct agent_mount_doubt *grown =
        reallocarray(mounts->doubts, mounts->doubt_count + 1, sizeof(*mounts->doubts));
    if (grown == NULL)
        return; /* the caller's next allocation fails as well, and ends the search */
    mounts->doubts = grown;
    struct agent_mount_doubt *doubt = &grown[mounts->doubt_count++];
    *doubt = *about;
    va_list args;
    va_start(args, format);
    vsnprintf(doubt->text, sizeof(doubt->text), format, args);
    va_end(args);
}
