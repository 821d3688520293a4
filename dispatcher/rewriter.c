/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/rewriter.h"

#include <errno.h>

#include "base/log.h"
#include "base/units.h"
#include "store/prune/rewrite.h"

static void log_outcome(const char *agent_id, int rc, const struct blx_rewrite_report *report,
                        const struct blx_error *err)
{
    char freed[BLX_UNIT_TEXT_BYTES];
    if (report->replaced > 0)
        blx_log_info("agent '%s': rewrote %zu segment%s, %s freed", agent_id, report->replaced,
                     report->replaced == 1 ? "" : "s", blx_size_format(report->freed_bytes, freed));
    if (report->damaged > 0)
        blx_log_warning("agent '%s': %zu segment%s cannot be rewritten because of damage: run "
                        "`blxrep dispatcher verify` for details",
                        agent_id, report->damaged, report->damaged == 1 ? "" : "s");
    if (rc == -EBUSY || rc == -ENOENT) /* an agent that has just come has nothing to rewrite yet */
        blx_log_debug("agent '%s': nothing is rewritten now: %s", agent_id, err->message);
    else if (rc < 0 && rc != -ECANCELED)
        blx_log_warning("agent '%s': cannot rewrite segments: %s", agent_id, err->message);
}

static bool work(void *arg, const char *agent_id, uint64_t *rest_ns)
{
    struct dispatcher_rewriter *rewriter = arg;
    struct blx_rewrite_request request = {.bytes_per_second = rewriter->bytes_per_second,
                                          .stop = &rewriter->chore.stop};
    struct blx_rewrite_report report;
    struct blx_error err = {0};
    int rc = blx_rewrite(blx_store_agent(rewriter->store, agent_id), &request, &report, &err);
    log_outcome(agent_id, rc, &report, &err);
    *rest_ns = DISPATCHER_REWRITER_REST_MS * UINT64_C(1000000);
    return rc == 0 && report.put_off == 0;
}

/* The reason is the pruner's last turn, or the beginning of the session (without a checkpoint). */
static bool is_wanted_locked(const struct dispatcher_registry_entry *entry, blx_timestamp *reason)
{
    *reason = entry->prune.reason;
    return !entry->rewrite.done || *reason != entry->rewrite.reason;
}

static struct dispatcher_registry_turn *find_turn_locked(struct dispatcher_registry_entry *entry)
{
    return &entry->rewrite;
}

static const struct dispatcher_chore_kind kind = {.name = "rewriter",
                                                  .is_wanted_locked = is_wanted_locked,
                                                  .find_turn_locked = find_turn_locked,
                                                  .work = work};

int dispatcher_rewriter_start(struct dispatcher_rewriter *rewriter,
                              struct dispatcher_registry *registry, const struct blx_store *store,
                              uint64_t bytes_per_second, struct blx_error *err)
{
    *rewriter = (struct dispatcher_rewriter){.store = store, .bytes_per_second = bytes_per_second};
    return dispatcher_chore_start(&rewriter->chore, &kind, registry, rewriter, err);
}
