/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/event.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *blx_event_name(enum blx_event_kind kind)
{
    static const char *const names[] = {
        [BLX_EVENT_STORE_FAILS] = "store-fails",
        [BLX_EVENT_AGENT_LOST] = "agent-lost",
        [BLX_EVENT_AGENT_NOT_STORED] = "agent-not-stored",
        [BLX_EVENT_DAMAGE_FOUND] = "damage-found",
        [BLX_EVENT_HISTORY_GONE] = "history-gone",
        [BLX_EVENT_MACHINE_REFUSED] = "machine-refused",
        [BLX_EVENT_CHECKPOINT_LATE] = "checkpoint-late",
        [BLX_EVENT_DISK_NEARLY_FULL] = "disk-nearly-full",
        [BLX_EVENT_AGENTS_KEPT_OUT] = "agents-kept-out",
        [BLX_EVENT_CHECKPOINT_INCONSISTENT] = "checkpoint-inconsistent",
        [BLX_EVENT_CHECKPOINT_DAMAGED] = "checkpoint-damaged",
        [BLX_EVENT_SUSPICIOUS] = "suspicious",
        [BLX_EVENT_TEST_FAILED] = "test-failed",
        [BLX_EVENT_COPY_LATE] = "copy-late",
        [BLX_EVENT_COPY_NOT_LOCKED] = "copy-not-locked",
        [BLX_EVENT_COPY_STRANGE] = "copy-strange",
        [BLX_EVENT_PRUNE_HELD] = "prune-held",
        [BLX_EVENT_QUOTA_REACHED] = "quota-reached",
        [BLX_EVENT_QUOTA_NEAR] = "quota-near",
        [BLX_EVENT_CERTIFICATE_ENDS] = "certificate-ends",
        [BLX_EVENT_HOOK_FAILED] = "hook-failed",
        [BLX_EVENT_CLOCK_OFF] = "clock-off",
        [BLX_EVENT_AGENT_PROTECTED] = "agent-protected",
        [BLX_EVENT_COPY_IN_TIME] = "copy-in-time",
        [BLX_EVENT_COPY_LOCKED] = "copy-locked",
        [BLX_EVENT_STORE_WORKS] = "store-works",
        [BLX_EVENT_DISK_HAS_ROOM] = "disk-has-room",
        [BLX_EVENT_AGENTS_LET_IN] = "agents-let-in",
    };
    return names[kind];
}

const char *blx_event_message_id(enum blx_event_kind kind)
{
    static const char *const ids[] = {
        [BLX_EVENT_STORE_FAILS] = "6536f18309eb5314ad0641604382d844",
        [BLX_EVENT_AGENT_LOST] = "e363cd34ccc159a18bcb1e28ae305ed4",
        [BLX_EVENT_AGENT_NOT_STORED] = "fddddd3bf0015407a1b7c469f37aaa15",
        [BLX_EVENT_DAMAGE_FOUND] = "baf554ccd2535f0090f9915324806da9",
        [BLX_EVENT_HISTORY_GONE] = "c66eb13f83b256a09fc352581ddeae96",
        [BLX_EVENT_MACHINE_REFUSED] = "c64728e82b21e89a4b7a38a84100f4ce",
        [BLX_EVENT_CHECKPOINT_LATE] = "ec4d74c6ddf25740aaef6151795ce398",
        [BLX_EVENT_DISK_NEARLY_FULL] = "b9a65bc2382d5ecab0c95284d8ca5171",
        [BLX_EVENT_AGENTS_KEPT_OUT] = "7fa45cdb24bf50c5a03d8d55741e0bfb",
        [BLX_EVENT_CHECKPOINT_INCONSISTENT] = "cf3ca08d015c53e090ef4b03d75ec8c2",
        [BLX_EVENT_CHECKPOINT_DAMAGED] = "e9047318df5e54d7b616b40db7363a2a",
        [BLX_EVENT_SUSPICIOUS] = "b2848db5ac1a47e685c645f1e767284e",
        [BLX_EVENT_TEST_FAILED] = "3f6a1c0d9b2e5478a1d7c45e8f90b316",
        [BLX_EVENT_COPY_LATE] = "09cca13ef3f062888fe663ffaeeb1964",
        [BLX_EVENT_COPY_NOT_LOCKED] = "5161a87572f990310c9dc814f36e7c90",
        [BLX_EVENT_COPY_STRANGE] = "61e3d551a3a71638ba1a90f606601281",
        [BLX_EVENT_PRUNE_HELD] = "7e99c2f4ba1750e584e999532578583f",
        [BLX_EVENT_QUOTA_REACHED] = "c0cfc7c664de510d876f25d3b1a3149b",
        [BLX_EVENT_QUOTA_NEAR] = "9d231642ece75565ba9826487f7d17c5",
        [BLX_EVENT_CERTIFICATE_ENDS] = "88036467de7f59449a69c2b5128d89ca",
        [BLX_EVENT_HOOK_FAILED] = "8ecfa51c436d54f5b50f4fb26d830d25",
        [BLX_EVENT_CLOCK_OFF] = "08c0ff9b10a957a5816ef3d24f8cfbb6",
        [BLX_EVENT_AGENT_PROTECTED] = "cc791e47713d5f5eb7693e7b7c2d2f77",
        [BLX_EVENT_COPY_IN_TIME] = "59a4b7448377b78c6df9680127443c72",
        [BLX_EVENT_COPY_LOCKED] = "4f66588b53a604b9f6dc425ad678ea8c",
        [BLX_EVENT_STORE_WORKS] = "3bc62cd0f4e753e28c6e838a945646a9",
        [BLX_EVENT_DISK_HAS_ROOM] = "cde8b39354385cdca1680b86558b8ac4",
        [BLX_EVENT_AGENTS_LET_IN] = "7cece9287fb154f89d8e77e4542bc75b",
    };
    return ids[kind];
}

bool blx_event_is_good(enum blx_event_kind kind)
{
    return kind >= BLX_EVENT_AGENT_PROTECTED;
}

void blx_event_list_done(struct blx_event_list *list)
{
    free(list->events);
    *list = (struct blx_event_list){0};
}

int blx_event_list_add(struct blx_event_list *list, enum blx_event_kind kind, const char *agent_id,
                       const char *text)
{
    if (list->count == BLX_EVENTS_KEPT) {
        list->dropped++;
        return 0;
    }
    struct blx_event *grown = reallocarray(list->events, list->count + 1, sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    list->events = grown;
    struct blx_event *event = &grown[list->count++];
    *event = (struct blx_event){.kind = kind};
    snprintf(event->agent_id, sizeof(event->agent_id), "%s", agent_id);
    snprintf(event->text, sizeof(event->text), "%s", text);
    return 0;
}

static int compare(const void *a_arg, const void *b_arg)
{
    const struct blx_event *a = a_arg, *b = b_arg;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    return strcmp(a->agent_id, b->agent_id);
}

/* NULL: no memory. */
static char *join(const char *name, const char *value)
{
    char *text = NULL;
    return asprintf(&text, "%s%s", name, value) < 0 ? NULL : text;
}

/* BLXREP_EVENTS=...; NULL: no memory. */
static char *list_events(const struct blx_event_list *list)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        return NULL;
    size_t told = list->count < BLX_EVENTS_TOLD ? list->count : BLX_EVENTS_TOLD;
    fputs("BLXREP_EVENTS=", out);
    for (size_t i = 0; i < told; i++) {
        const struct blx_event *event = &list->events[i];
        fprintf(out, "%s%s %s %s", i > 0 ? "\n" : "", blx_event_name(event->kind),
                event->agent_id[0] != '\0' ? event->agent_id : "-", event->text);
    }
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}

void blx_event_free_variables(char *variables[BLX_EVENT_VARIABLES])
{
    for (size_t i = 0; i < BLX_EVENT_VARIABLES; i++) {
        free(variables[i]);
        variables[i] = NULL;
    }
}

int blx_event_make_variables(struct blx_event_list *list, const char *data_dir,
                             char *variables[BLX_EVENT_VARIABLES])
{
    qsort(list->events, list->count, sizeof(*list->events), compare);
    const struct blx_event *first = &list->events[0];
    char count[32];
    snprintf(count, sizeof(count), "%zu", list->count + list->dropped);
    variables[0] = join("BLXREP_EVENT=", blx_event_name(first->kind));
    variables[1] = join("BLXREP_AGENT=", first->agent_id);
    variables[2] = join("BLXREP_TEXT=", first->text);
    variables[3] = join("BLXREP_COUNT=", count);
    variables[4] = join("BLXREP_DATA_DIR=", data_dir);
    variables[5] = list_events(list);
    for (size_t i = 0; i < BLX_EVENT_VARIABLES; i++) {
        if (variables[i] == NULL) {
            blx_event_free_variables(variables);
            return -ENOMEM;
        }
    }
    return 0;
}
