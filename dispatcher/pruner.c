#include "dispatcher/pruner.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/units.h"
#include "dispatcher/wait.h"
#include "store/prune.h"

/* An agent whose turn it is. */
struct turn {
    char agent_id[BLX_NAME_BYTES];
    blx_timestamp behind; /* the checkpoint that gave the reason */
};

/* With the registry's lock: the first entry that has a new checkpoint and has rested; otherwise
 * NULL, and when to look again. */
static struct blx_registry_entry *find_due(struct blx_registry *registry, uint64_t now_ns,
                                           uint64_t *wake_ns)
{
    *wake_ns = UINT64_MAX;
    for (struct blx_registry_entry *entry = registry->entries; entry != NULL; entry = entry->next) {
        if (!entry->live || entry->last_checkpoint == entry->prune.behind)
            continue;
        if (entry->prune.next_ns <= now_ns)
            return entry;
        if (entry->prune.next_ns < *wake_ns)
            *wake_ns = entry->prune.next_ns;
    }
    return NULL;
}

/* The entry may have gone meanwhile; the agent's next one begins anew. */
static void settle_turn(struct blx_registry *registry, const struct turn *turn, bool done,
                        uint64_t next_ns)
{
    for (struct blx_registry_entry *entry = registry->entries; entry != NULL; entry = entry->next) {
        if (!entry->live || strcmp(entry->agent_id, turn->agent_id) != 0)
            continue;
        entry->prune.next_ns = next_ns;
        if (done)
            entry->prune.behind = turn->behind;
    }
}

static void log_outcome(const char *agent_id, int rc, const struct blx_prune_report *report,
                        const struct blx_error *err)
{
    char freed[BLX_UNIT_TEXT_BYTES];
    if (report->removed > 0)
        blx_log_info("agent '%s': removed %zu checkpoint%s by the rules of retention, %s freed",
                     agent_id, report->removed, report->removed == 1 ? "" : "s",
                     blx_size_format(report->freed_bytes, freed));
    if (rc == -EBUSY)
        blx_log_debug("agent '%s': not pruned now: %s", agent_id, err->message);
    else if (rc < 0 && rc != -ECANCELED)
        blx_log_warning("agent '%s': cannot prune its checkpoints: %s", agent_id, err->message);
}

static int prune(struct blx_pruner *pruner, const char *agent_id)
{
    BLX_CLEANUP(blx_retention_plan_done) struct blx_retention_plan plan = {0};
    struct blx_policy_verdict verdict;
    struct blx_prune_report report = {0};
    struct blx_error err = {0};
    blx_policy_book_look(pruner->book, agent_id, &verdict);
    if (blx_retention_is_none(&verdict.retention))
        return 0;
    int rc = blx_retention_plan_make(pruner->store, agent_id, &verdict.retention, &plan, &err);
    if (rc == 0) {
        struct blx_prune_request request = {.checkpoints = plan.doomed,
                                            .count = plan.doomed_count,
                                            .wait_ms = BLX_PRUNER_WAIT_MS,
                                            .stop = &pruner->stop};
        rc = blx_prune(pruner->store, agent_id, &request, &report, &err);
    }
    log_outcome(agent_id, rc, &report, &err);
    return rc;
}

static void take_turn(struct blx_pruner *pruner, const struct turn *turn)
{
    struct blx_registry *registry = pruner->registry;
    uint64_t began_ns = blx_clock_ns();
    int rc = prune(pruner, turn->agent_id);
    uint64_t ended_ns = blx_clock_ns();
    uint64_t rest_ns = (ended_ns - began_ns) * BLX_PRUNER_REST;
    if (rc < 0)
        rest_ns = BLX_PRUNER_RETRY_MS * UINT64_C(1000000);
    pthread_mutex_lock(&registry->lock);
    settle_turn(registry, turn, rc == 0, ended_ns + rest_ns);
    pthread_cond_broadcast(&registry->changed); /* the rewriter comes behind it */
    pthread_mutex_unlock(&registry->lock);
}

static void pruner_main(void *arg)
{
    struct blx_pruner *pruner = arg;
    struct blx_registry *registry = pruner->registry;
    pthread_mutex_lock(&registry->lock);
    while (!registry->stopping) {
        uint64_t wake_ns;
        struct turn turn;
        const struct blx_registry_entry *due = find_due(registry, blx_clock_ns(), &wake_ns);
        if (due == NULL) {
            blx_cond_wait_until(&registry->changed, &registry->lock, wake_ns);
            continue;
        }
        memcpy(turn.agent_id, due->agent_id, sizeof(turn.agent_id));
        turn.behind = due->last_checkpoint;
        pthread_mutex_unlock(&registry->lock);
        take_turn(pruner, &turn);
        pthread_mutex_lock(&registry->lock);
    }
    pthread_mutex_unlock(&registry->lock);
}

int blx_pruner_start(struct blx_pruner *pruner, struct blx_registry *registry,
                     const struct blx_store *store, struct blx_policy_book *book,
                     struct blx_error *err)
{
    *pruner = (struct blx_pruner){.registry = registry, .store = store, .book = book};
    int rc = blx_threads_init(&pruner->threads, 1);
    if (rc < 0)
        return blx_error_errno(err, rc, "making the pruner's thread");
    rc = blx_threads_start(&pruner->threads, pruner_main, pruner, err);
    if (rc < 0)
        blx_threads_done(&pruner->threads);
    return rc;
}

int blx_pruner_stop(struct blx_pruner *pruner, uint64_t deadline_ns)
{
    atomic_store(&pruner->stop, true);
    int rc = blx_threads_wait(&pruner->threads, deadline_ns);
    if (rc == 0)
        blx_threads_done(&pruner->threads);
    return rc;
}
