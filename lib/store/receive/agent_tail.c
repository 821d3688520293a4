/* SPDX-License-Identifier: Apache-2.0 */
#include "store/receive/agent_tail.h"

#include <string.h>

const struct blx_volume_tail *blx_agent_tail_find(const struct blx_agent_tail *tail,
                                                  const char *volume)
{
    for (uint32_t i = 0; tail != NULL && i < tail->volume_count; i++)
        if (strcmp(tail->volumes[i].name, volume) == 0)
            return &tail->volumes[i];
    return NULL;
}
