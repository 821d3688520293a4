/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/chore.h"

#include <string.h>

#include "base/units.h"
#include "dispatcher/wait.h"

/* An agent whose turn it is. */
struct due {
    char agent_id[BLX_NAME_BYTES];
    blx_timestamp behind; /* the checkpoint that gave the reason */
};

/* With the registry's lock: the first agent that wants a turn and has rested. False: there is none,
 * and when to look again. */
static bool find_due(const struct dispatcher_chore *chore, struct due *due, uint64_t *wake_ns)
{
    uint64_t now_ns = blx_clock_ns();
    *wake_ns = UINT64_MAX;
    for (struct dispatcher_registry_entry *entry = chore->registry->entries; entry != NULL;
         entry = entry->next) {
        if (!entry->live || !chore->kind->wanted(entry, &due->behind))
            continue;
        uint64_t next_ns = chore->kind->turn(entry)->next_ns;
        if (next_ns <= now_ns) {
            memcpy(due->agent_id, entry->agent_id, sizeof(due->agent_id));
            return true;
        }
        if (next_ns < *wake_ns)
            *wake_ns = next_ns;
    }
    return false;
}

/* The entry may have gone meanwhile; the agent's next one begins anew. */
static void settle(const struct dispatcher_chore *chore, const struct due *due, bool done,
                   uint64_t next_ns)
{
    for (struct dispatcher_registry_entry *entry = chore->registry->entries; entry != NULL;
         entry = entry->next) {
        if (!entry->live || strcmp(entry->agent_id, due->agent_id) != 0)
            continue;
        struct dispatcher_registry_turn *turn = chore->kind->turn(entry);
        turn->next_ns = next_ns;
        turn->done = done;
        if (done)
            turn->behind = due->behind;
    }
    pthread_cond_broadcast(&chore->registry->changed); /* another chore may come behind it */
}

static void chore_main(void *arg)
{
    struct dispatcher_chore *chore = arg;
    struct dispatcher_registry *registry = chore->registry;
    pthread_mutex_lock(&registry->lock);
    while (!registry->stopping) {
        struct due due;
        uint64_t wake_ns, rest_ns = 0;
        if (!find_due(chore, &due, &wake_ns)) {
            dispatcher_cond_wait_until(&registry->changed, &registry->lock, wake_ns);
            continue;
        }
        pthread_mutex_unlock(&registry->lock);
        bool done = chore->kind->work(chore->arg, due.agent_id, &rest_ns);
        pthread_mutex_lock(&registry->lock);
        settle(chore, &due, done, blx_clock_ns() + rest_ns);
    }
    pthread_mutex_unlock(&registry->lock);
}

int dispatcher_chore_start(struct dispatcher_chore *chore, const struct dispatcher_chore_kind *kind,
                           struct dispatcher_registry *registry, void *arg, struct blx_error *err)
{
    *chore = (struct dispatcher_chore){.kind = kind, .registry = registry, .arg = arg};
    int rc = dispatcher_threads_init(&chore->threads, 1);
    if (rc < 0) {
        blx_error_errno(err, rc, "making the %s's thread", kind->name);
    } else {
        rc = dispatcher_threads_start(&chore->threads, chore_main, chore, err);
        if (rc < 0)
            dispatcher_threads_done(&chore->threads);
    }
    if (rc < 0)
        chore->kind = NULL;
    return rc;
}

int dispatcher_chore_stop(struct dispatcher_chore *chore, uint64_t deadline_ns)
{
    if (chore->kind == NULL)
        return 0;
    atomic_store(&chore->stop, true);
    int rc = dispatcher_threads_wait(&chore->threads, deadline_ns);
    if (rc == 0)
        dispatcher_threads_done(&chore->threads);
    return rc;
}
