#include "dispatcher/rewriter.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/units.h"
#include "dispatcher/wait.h"
#include "store/rewrite.h"

/* An agent whose turn it is. */
struct turn {
    char agent_id[BLX_NAME_BYTES];
    blx_timestamp behind; /* the pruner's turn that gave the reason; 0: the session's beginning */
};

/* With the registry's lock: the first entry that was pruned since, and has rested; otherwise NULL,
 * and when to look again. */
static struct blx_registry_entry *find_due(struct blx_registry *registry, uint64_t now_ns,
                                           uint64_t *wake_ns)
{
    *wake_ns = UINT64_MAX;
    for (struct blx_registry_entry *entry = registry->entries; entry != NULL; entry = entry->next) {
        if (!entry->live || (entry->rewrite.done && entry->rewrite.behind == entry->prune.behind))
            continue;
        if (entry->rewrite.next_ns <= now_ns)
            return entry;
        if (entry->rewrite.next_ns < *wake_ns)
            *wake_ns = entry->rewrite.next_ns;
    }
    return NULL;
}

/* The entry may have gone meanwhile; the agent's next one begins anew. */
static void settle_turn(struct blx_registry *registry, const struct turn *turn, bool done)
{
    for (struct blx_registry_entry *entry = registry->entries; entry != NULL; entry = entry->next) {
        if (!entry->live || strcmp(entry->agent_id, turn->agent_id) != 0)
            continue;
        entry->rewrite.next_ns = blx_clock_ns() + BLX_REWRITER_REST_MS * UINT64_C(1000000);
        entry->rewrite.behind = turn->behind;
        entry->rewrite.done = done;
    }
}

static void log_outcome(const char *agent_id, int rc, const struct blx_rewrite_report *report,
                        const struct blx_error *err)
{
    char freed[BLX_UNIT_TEXT_BYTES];
    if (report->replaced > 0)
        blx_log_info("agent '%s': rewrote %zu segment%s, %s freed", agent_id, report->replaced,
                     report->replaced == 1 ? "" : "s", blx_size_format(report->freed_bytes, freed));
    if (report->damaged > 0)
        blx_log_warning("agent '%s': %zu segment%s cannot be rewritten because of damage; `blxrep "
                        "dispatcher verify` says more",
                        agent_id, report->damaged, report->damaged == 1 ? "" : "s");
    if (rc == -EBUSY || rc == -ENOENT) /* an agent that has just come has nothing to rewrite yet */
        blx_log_debug("agent '%s': nothing is rewritten now: %s", agent_id, err->message);
    else if (rc < 0 && rc != -ECANCELED)
        blx_log_warning("agent '%s': cannot rewrite segments: %s", agent_id, err->message);
}

static void take_turn(struct blx_rewriter *rewriter, const struct turn *turn)
{
    struct blx_registry *registry = rewriter->registry;
    struct blx_rewrite_request request = {.bytes_per_second = rewriter->bytes_per_second,
                                          .stop = &rewriter->stop};
    struct blx_rewrite_report report;
    struct blx_error err = {0};
    int rc = blx_rewrite(rewriter->store, turn->agent_id, &request, &report, &err);
    log_outcome(turn->agent_id, rc, &report, &err);
    pthread_mutex_lock(&registry->lock);
    settle_turn(registry, turn, rc == 0 && report.put_off == 0);
    pthread_mutex_unlock(&registry->lock);
}

static void rewriter_main(void *arg)
{
    struct blx_rewriter *rewriter = arg;
    struct blx_registry *registry = rewriter->registry;
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
        turn.behind = due->prune.behind;
        pthread_mutex_unlock(&registry->lock);
        take_turn(rewriter, &turn);
        pthread_mutex_lock(&registry->lock);
    }
    pthread_mutex_unlock(&registry->lock);
}

int blx_rewriter_start(struct blx_rewriter *rewriter, struct blx_registry *registry,
                       const struct blx_store *store, uint64_t bytes_per_second,
                       struct blx_error *err)
{
    *rewriter = (struct blx_rewriter){
        .registry = registry, .store = store, .bytes_per_second = bytes_per_second};
    if (bytes_per_second == 0)
        return 0;
    int rc = blx_threads_init(&rewriter->threads, 1);
    if (rc < 0) {
        blx_error_errno(err, rc, "making the rewriter's thread");
    } else {
        rc = blx_threads_start(&rewriter->threads, rewriter_main, rewriter, err);
        if (rc < 0)
            blx_threads_done(&rewriter->threads);
    }
    if (rc < 0)
        rewriter->bytes_per_second = 0; /* nothing is to be stopped */
    return rc;
}

int blx_rewriter_stop(struct blx_rewriter *rewriter, uint64_t deadline_ns)
{
    if (rewriter->bytes_per_second == 0)
        return 0;
    atomic_store(&rewriter->stop, true);
    int rc = blx_threads_wait(&rewriter->threads, deadline_ns);
    if (rc == 0)
        blx_threads_done(&rewriter->threads);
    return rc;
}
