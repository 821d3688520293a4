/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/event.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *dispatcher_event_name(enum dispatcher_event_kind kind)
{
    static const char *const names[] = {
        [DISPATCHER_EVENT_STORE_FAILS] = "store-fails",
        [DISPATCHER_EVENT_AGENT_LOST] = "agent-lost",
        [DISPATCHER_EVENT_AGENT_NOT_STORED] = "agent-not-stored",
        [DISPATCHER_EVENT_DAMAGE_FOUND] = "damage-found",
        [DISPATCHER_EVENT_HISTORY_GONE] = "history-gone",
        [DISPATCHER_EVENT_CHECKPOINT_LATE] = "checkpoint-late",
        [DISPATCHER_EVENT_DISK_NEARLY_FULL] = "disk-nearly-full",
        [DISPATCHER_EVENT_AGENTS_KEPT_OUT] = "agents-kept-out",
        [DISPATCHER_EVENT_CHECKPOINT_INCONSISTENT] = "checkpoint-inconsistent",
        [DISPATCHER_EVENT_CHECKPOINT_DAMAGED] = "checkpoint-damaged",
        [DISPATCHER_EVENT_PRUNE_HELD] = "prune-held",
        [DISPATCHER_EVENT_QUOTA_REACHED] = "quota-reached",
        [DISPATCHER_EVENT_QUOTA_NEAR] = "quota-near",
        [DISPATCHER_EVENT_CERTIFICATE_ENDS] = "certificate-ends",
        [DISPATCHER_EVENT_HOOK_FAILED] = "hook-failed",
        [DISPATCHER_EVENT_CLOCK_OFF] = "clock-off",
        [DISPATCHER_EVENT_AGENT_PROTECTED] = "agent-protected",
        [DISPATCHER_EVENT_STORE_WORKS] = "store-works",
        [DISPATCHER_EVENT_DISK_HAS_ROOM] = "disk-has-room",
        [DISPATCHER_EVENT_AGENTS_LET_IN] = "agents-let-in",
    };
    return names[kind];
}

const char *dispatcher_event_message_id(enum dispatcher_event_kind kind)
{
    static const char *const ids[] = {
        [DISPATCHER_EVENT_STORE_FAILS] = "6536f18309eb5314ad0641604382d844",
        [DISPATCHER_EVENT_AGENT_LOST] = "e363cd34ccc159a18bcb1e28ae305ed4",
        [DISPATCHER_EVENT_AGENT_NOT_STORED] = "fddddd3bf0015407a1b7c469f37aaa15",
        [DISPATCHER_EVENT_DAMAGE_FOUND] = "baf554ccd2535f0090f9915324806da9",
        [DISPATCHER_EVENT_HISTORY_GONE] = "c66eb13f83b256a09fc352581ddeae96",
        [DISPATCHER_EVENT_CHECKPOINT_LATE] = "ec4d74c6ddf25740aaef6151795ce398",
        [DISPATCHER_EVENT_DISK_NEARLY_FULL] = "b9a65bc2382d5ecab0c95284d8ca5171",
        [DISPATCHER_EVENT_AGENTS_KEPT_OUT] = "7fa45cdb24bf50c5a03d8d55741e0bfb",
        [DISPATCHER_EVENT_CHECKPOINT_INCONSISTENT] = "cf3ca08d015c53e090ef4b03d75ec8c2",
        [DISPATCHER_EVENT_CHECKPOINT_DAMAGED] = "e9047318df5e54d7b616b40db7363a2a",
        [DISPATCHER_EVENT_PRUNE_HELD] = "7e99c2f4ba1750e584e999532578583f",
        [DISPATCHER_EVENT_QUOTA_REACHED] = "c0cfc7c664de510d876f25d3b1a3149b",
        [DISPATCHER_EVENT_QUOTA_NEAR] = "9d231642ece75565ba9826487f7d17c5",
        [DISPATCHER_EVENT_CERTIFICATE_ENDS] = "88036467de7f59449a69c2b5128d89ca",
        [DISPATCHER_EVENT_HOOK_FAILED] = "8ecfa51c436d54f5b50f4fb26d830d25",
        [DISPATCHER_EVENT_CLOCK_OFF] = "08c0ff9b10a957a5816ef3d24f8cfbb6",
        [DISPATCHER_EVENT_AGENT_PROTECTED] = "cc791e47713d5f5eb7693e7b7c2d2f77",
        [DISPATCHER_EVENT_STORE_WORKS] = "3bc62cd0f4e753e28c6e838a945646a9",
        [DISPATCHER_EVENT_DISK_HAS_ROOM] = "cde8b39354385cdca1680b86558b8ac4",
        [DISPATCHER_EVENT_AGENTS_LET_IN] = "7cece9287fb154f89d8e77e4542bc75b",
    };
    return ids[kind];
}

bool dispatcher_event_is_good(enum dispatcher_event_kind kind)
{
    return kind >= DISPATCHER_EVENT_AGENT_PROTECTED;
}

void dispatcher_event_list_done(struct dispatcher_event_list *list)
{
    free(list->events);
    *list = (struct dispatcher_event_list){0};
}

int dispatcher_event_list_add(struct dispatcher_event_list *list, enum dispatcher_event_kind kind,
                              const char *agent_id, const char *text)
{
    if (list->count == DISPATCHER_EVENTS_KEPT) {
        list->dropped++;
        return 0;
    }
    struct dispatcher_event *grown = reallocarray(list->events, list->count + 1, sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    list->events = grown;
    struct dispatcher_event *event = &grown[list->count++];
    *event = (struct dispatcher_event){.kind = kind};
    snprintf(event->agent_id, sizeof(event->agent_id), "%s", agent_id);
    snprintf(event->text, sizeof(event->text), "%s", text);
    return 0;
}

static int compare(const void *a_arg, const void *b_arg)
{
    const struct dispatcher_event *a = a_arg, *b = b_arg;
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
static char *list_events(const struct dispatcher_event_list *list)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        return NULL;
    size_t told = list->count < DISPATCHER_EVENTS_TOLD ? list->count : DISPATCHER_EVENTS_TOLD;
    fputs("BLXREP_EVENTS=", out);
    for (size_t i = 0; i < told; i++) {
        const struct dispatcher_event *event = &list->events[i];
        fprintf(out, "%s%s %s %s", i > 0 ? "\n" : "", dispatcher_event_name(event->kind),
                event->agent_id[0] != '\0' ? event->agent_id : "-", event->text);
    }
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}

void dispatcher_event_free_variables(char *variables[DISPATCHER_EVENT_VARIABLES])
{
    for (size_t i = 0; i < DISPATCHER_EVENT_VARIABLES; i++) {
        free(variables[i]);
        variables[i] = NULL;
    }
}

int dispatcher_event_make_variables(struct dispatcher_event_list *list, const char *data_dir,
                                    char *variables[DISPATCHER_EVENT_VARIABLES])
{
    qsort(list->events, list->count, sizeof(*list->events), compare);
    const struct dispatcher_event *first = &list->events[0];
    char count[32];
    snprintf(count, sizeof(count), "%zu", list->count + list->dropped);
    variables[0] = join("BLXREP_EVENT=", dispatcher_event_name(first->kind));
    variables[1] = join("BLXREP_AGENT=", first->agent_id);
    variables[2] = join("BLXREP_TEXT=", first->text);
    variables[3] = join("BLXREP_COUNT=", count);
    variables[4] = join("BLXREP_DATA_DIR=", data_dir);
    variables[5] = list_events(list);
    for (size_t i = 0; i < DISPATCHER_EVENT_VARIABLES; i++) {
        if (variables[i] == NULL) {
            dispatcher_event_free_variables(variables);
            return -ENOMEM;
        }
    }
    return 0;
}
