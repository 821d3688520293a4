/* SPDX-License-Identifier: Apache-2.0 */
#include "store/verify/verify_report_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"

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

bool blx_verify_report_hurts_next(const struct blx_verify_report *report, const char *agent_id)
{
    for (size_t i = 0; i < report->hurt_count; i++)
        if (report->hurt[i].newest && strcmp(report->hurt[i].agent_id, agent_id) == 0)
            return true;
    for (size_t i = 0; i < report->damage_count; i++)
        if (report->damages[i].scope == BLX_DAMAGE_UNCOMMITTED &&
            strcmp(report->damages[i].agent_id, agent_id) == 0)
            return true;
    return false;
}

struct blx_damage *blx_verify_report_add(struct blx_verify_report *report,
                                         struct blx_agent_store agent, const char *volume,
                                         const char *file)
{
    size_t skip = strlen(agent.store->data_dir);
    if (blx_array_make_room(report->damages, report->damage_count) < 0)
        return NULL;
    const char *below = strncmp(file, agent.store->data_dir, skip) == 0 ? file + skip : file;
    struct blx_damage damage = {.file = strdup(below + (below != file && *below == '/'))};
    if (damage.file == NULL)
        return NULL;
    blx_text_clean(damage.file);
    memcpy(damage.agent_id, agent.id, strlen(agent.id) + 1);
    memcpy(damage.volume, volume, strlen(volume) + 1);
    report->damages[report->damage_count] = damage;
    return &report->damages[report->damage_count++];
}

int blx_damage_hurts(struct blx_damage *damage, blx_timestamp checkpoint)
{
    size_t count = damage->checkpoint_count;
    if (count > 0 && damage->checkpoints[count - 1] == checkpoint)
        return 0;
    if (blx_array_make_room(damage->checkpoints, count) < 0)
        return -ENOMEM;
    damage->checkpoints[damage->checkpoint_count++] = checkpoint;
    return 0;
}
