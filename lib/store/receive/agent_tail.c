/* SPDX-License-Identifier: Apache-2.0 */
#include "store/receive/agent_tail.h"

#include <stdlib.h>
#include <string.h>

#include "store/receive/agent_writer_private.h"

struct blx_agent_tail *blx_agent_tail_make(const struct blx_agent_writer *writer)
{
    if (writer->broken != 0)
        return NULL;
    struct blx_agent_tail *tail =
        calloc(1, sizeof(*tail) + writer->volume_count * sizeof(tail->volumes[0]));
    if (tail == NULL)
        return NULL;
    tail->last_timestamp = writer->last_timestamp;
    tail->volume_count = writer->volume_count;
    for (uint32_t i = 0; i < writer->volume_count; i++) {
        const struct blx_volume *volume = writer->volumes[i];
        memcpy(tail->volumes[i].name, volume->info.name, sizeof(tail->volumes[i].name));
        tail->volumes[i].highest_segment = volume->next_number - 1;
    }
    return tail;
}

const struct blx_volume_tail *blx_agent_tail_find(const struct blx_agent_tail *tail,
                                                  const char *volume)
{
    for (uint32_t i = 0; tail != NULL && i < tail->volume_count; i++)
        if (strcmp(tail->volumes[i].name, volume) == 0)
            return &tail->volumes[i];
    return NULL;
}
