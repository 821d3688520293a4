/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/pruner.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/units.h"
#include "store/prune/prune.h"

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

static int prune(struct dispatcher_pruner *pruner, const char *agent_id)
{
    BLX_CLEANUP(blx_retention_plan_done) struct blx_retention_plan plan = {0};
    struct blx_policy_verdict verdict;
    struct blx_prune_report report = {0};
    struct blx_error err = {0};
    dispatcher_policy_book_look(pruner->book, agent_id, &verdict);
    if (blx_retention_is_none(&verdict.retention))
        return 0;
    int rc = blx_retention_plan_make(blx_store_agent(pruner->store, agent_id), &verdict.retention,
                                     &plan, &err);
    if (rc == 0) {
        struct blx_prune_request request = {.checkpoints = plan.doomed,
                                            .count = plan.doomed_count,
                                            .wait_ms = DISPATCHER_PRUNER_WAIT_MS,
                                            .stop = &pruner->chore.stop};
        rc = blx_prune(blx_store_agent(pruner->store, agent_id), &request, &report, &err);
    }
    log_outcome(agent_id, rc, &report, &err);
    return rc;
}

static bool work(void *arg, const char *agent_id, uint64_t *rest_ns)
{
    struct dispatcher_pruner *pruner = arg;
    uint64_t began_ns = blx_clock_ns();
    int rc = prune(pruner, agent_id);
    *rest_ns = rc < 0 ? DISPATCHER_PRUNER_RETRY_MS * UINT64_C(1000000)
                      : (blx_clock_ns() - began_ns) * DISPATCHER_PRUNER_REST;
    return rc == 0;
}

static bool is_wanted_locked(const struct dispatcher_registry_entry *entry, blx_timestamp *reason)
{
    *reason = entry->last_checkpoint;
    return *reason != entry->prune.reason;
}

static struct dispatcher_registry_turn *find_turn_locked(struct dispatcher_registry_entry *entry)
{
    return &entry->prune;
}

static const struct dispatcher_chore_kind kind = {.name = "pruner",
                                                  .is_wanted_locked = is_wanted_locked,
                                                  .find_turn_locked = find_turn_locked,
                                                  .work = work};

int dispatcher_pruner_start(struct dispatcher_pruner *pruner, struct dispatcher_registry *registry,
                            const struct blx_store *store, struct dispatcher_policy_book *book,
                            struct blx_error *err)
{
    *pruner = (struct dispatcher_pruner){.store = store, .book = book};
    return dispatcher_chore_start(&pruner->chore, &kind, registry, pruner, err);
}
