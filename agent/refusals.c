/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/refusals.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

enum { LEAST_BYTES = 4096 };

struct agent_refusal *agent_refusals_find(struct agent_refusals *refusals, const char *path)
{
    for (size_t i = 0; i < refusals->count; i++) {
        if (strcmp(refusals->list[i].path, path) == 0)
            return &refusals->list[i];
    }
    return NULL;
}

void agent_refusals_add(struct agent_refusals *refusals, const char *path, uint64_t size_bytes,
                        const char *cause)
{
    struct agent_refusal *refusal = agent_refusals_find(refusals, path);
    if (refusal == NULL) {
        if (refusals->count == BLX_MAX_VOLUMES) /* cannot be: no more are wanted */
            return;
        refusal = &refusals->list[refusals->count++];
        *refusal = (struct agent_refusal){0};
        snprintf(refusal->path, sizeof(refusal->path), "%s", path);
    }
    char before[BLX_TEXT_BYTES];
    memcpy(before, refusal->cause, sizeof(before));
    snprintf(refusal->cause, sizeof(refusal->cause), "%s", cause);
    refusal->is_logged = refusal->is_logged && strcmp(before, refusal->cause) == 0;
    if (size_bytes > 0)
        refusal->size_bytes = size_bytes;
}

void agent_refusals_remove(struct agent_refusals *refusals, const char *path)
{
    struct agent_refusal *refusal = agent_refusals_find(refusals, path);
    if (refusal != NULL)
        *refusal = refusals->list[--refusals->count];
}

void agent_refusals_log(struct agent_refusals *refusals)
{
    for (size_t i = 0; i < refusals->count; i++) {
        struct agent_refusal *refusal = &refusals->list[i];
        if (!refusal->is_logged)
            blx_log_error(
                "%s: this disk is NOT protected until that has changed; the other disks are",
                refusal->cause);
        refusal->is_logged = true;
    }
}

uint64_t agent_refusals_count_bytes(const struct agent_refusals *refusals)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < refusals->count; i++) {
        uint64_t size = refusals->list[i].size_bytes;
        bytes += size > 0 ? size : LEAST_BYTES;
    }
    return bytes;
}

static const char *separator(const char *text)
{
    return text[0] != '\0' ? "; " : "";
}

void agent_refusals_explain(const struct agent_refusals *refusals, char text[BLX_TEXT_BYTES])
{
    size_t used = strlen(text);
    if (refusals->count > 0)
        snprintf(text + used, BLX_TEXT_BYTES - used, "%s%zu disk%s not protected: %s",
                 separator(text), refusals->count, refusals->count == 1 ? " is" : "s are",
                 refusals->list[0].cause);
}

void agent_refusals_note(const struct agent_refusals *refusals, char text[BLX_TEXT_BYTES])
{
    for (size_t i = 0; i < refusals->count; i++) {
        size_t used = strlen(text);
        snprintf(text + used, BLX_TEXT_BYTES - used,
                 "%swithout '%s', which cannot be protected now", separator(text),
                 refusals->list[i].path);
    }
}
