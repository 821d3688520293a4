/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/chore.h"

#include <string.h>

#include "base/assert.h"
#include "base/units.h"
#include "base/cond.h"

/* An agent whose turn it is. */
struct due {
    char agent_id[BLX_NAME_BYTES];
    blx_timestamp reason; /* the checkpoint that gave the reason */
};

/* The first agent that wants a turn and has rested. False: there is none, and `wake_ns` is when to
 * look again. */
static bool find_due_locked(const struct dispatcher_chore *chore, struct due *due,
                            uint64_t *wake_ns)
{
    blx_assert_held(&chore->registry->lock);
    uint64_t now_ns = blx_clock_ns();
    *wake_ns = UINT64_MAX;
    for (struct dispatcher_registry_entry *entry = chore->registry->entries; entry != NULL;
         entry = entry->next) {
        if (!entry->live || !chore->kind->is_wanted_locked(entry, &due->reason))
            continue;
        uint64_t next_ns = chore->kind->find_turn_locked(entry)->next_ns;
        if (next_ns <= now_ns) {
            memcpy(due->agent_id, entry->agent_id, sizeof(due->agent_id));
            return true;
        }
        if (next_ns < *wake_ns)
            *wake_ns = next_ns;
    }
    return false;
}

/* Notes the turn. The entry may have gone meanwhile; the agent's next entry has had no turn. */
static void settle_locked(const struct dispatcher_chore *chore, const struct due *due, bool done,
                          uint64_t next_ns)
{
    blx_assert_held(&chore->registry->lock);
    for (struct dispatcher_registry_entry *entry = chore->registry->entries; entry != NULL;
         entry = entry->next) {
        if (!entry->live || strcmp(entry->agent_id, due->agent_id) != 0)
            continue;
        struct dispatcher_registry_turn *turn = chore->kind->find_turn_locked(entry);
        turn->next_ns = next_ns;
        turn->done = done;
        if (done)
            turn->reason = due->reason;
    }
    pthread_cond_broadcast(&chore->registry->changed); /* another chore may follow this one */
}

static void chore_main(void *arg)
{
    struct dispatcher_chore *chore = arg;
    struct dispatcher_registry *registry = chore->registry;
    pthread_mutex_lock(&registry->lock);
    while (!registry->stopping) {
        struct due due;
        uint64_t wake_ns, rest_ns = 0;
        if (!find_due_locked(chore, &due, &wake_ns)) {
            blx_cond_wait_until(&registry->changed, &registry->lock, wake_ns);
            continue;
        }
        pthread_mutex_unlock(&registry->lock);
        bool done = chore->kind->work(chore->arg, due.agent_id, &rest_ns);
        pthread_mutex_lock(&registry->lock);
        settle_locked(chore, &due, done, blx_clock_ns() + rest_ns);
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
