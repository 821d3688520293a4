/* SPDX-License-Identifier: Apache-2.0 */
#include "store/verify/verify_report_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void blx_verify_report_done(struct blx_verify_report *report)
{
    for (size_t i = 0; i < report->damage_count; i++) {
        free(report->damages[i].file);
        free(report->damages[i].extents);
        free(report->damages[i].checkpoints);
    }
    free(report->damages);
    free(report->hurt);
    free(report->unreadable);
    *report = (struct blx_verify_report){0};
}

struct blx_damage *blx_verify_report_add(struct blx_verify_report *report,
                                         struct blx_agent_store agent, const char *volume,
                                         const char *file)
{
    size_t skip = strlen(agent.store->data_dir);
    struct blx_damage *grown =
        reallocarray(report->damages, report->damage_count + 1, sizeof(grown[0]));
    if (grown == NULL)
        return NULL;
    report->damages = grown;
    const char *below = strncmp(file, agent.store->data_dir, skip) == 0 ? file + skip : file;
    struct blx_damage damage = {.file = strdup(below + (below != file && *below == '/'))};
    if (damage.file == NULL)
        return NULL;
    memcpy(damage.agent_id, agent.id, strlen(agent.id) + 1);
    memcpy(damage.volume, volume, strlen(volume) + 1);
    grown[report->damage_count] = damage;
    return &grown[report->damage_count++];
}

int blx_damage_hurts(struct blx_damage *damage, blx_timestamp checkpoint)
{
    size_t count = damage->checkpoint_count;
    if (count > 0 && damage->checkpoints[count - 1] == checkpoint)
        return 0;
    if ((count & (count - 1)) == 0) { /* a power of two, or the first: double it */
        blx_timestamp *grown =
            reallocarray(damage->checkpoints, count == 0 ? 1 : 2 * count, sizeof(grown[0]));
        if (grown == NULL)
            return -ENOMEM;
        damage->checkpoints = grown;
    }
    damage->checkpoints[damage->checkpoint_count++] = checkpoint;
    return 0;
}
