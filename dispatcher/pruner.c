/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/pruner.h"

#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/units.h"
#include "base/when.h"
#include "dispatcher/audit.h"
#include "dispatcher/policy_book.h"
#include "store/prune/brake.h"
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

/* Why nothing is removed now, for status and events; "": nothing stands in the way. */
static void explain(enum blx_brake brake, const struct blx_retention_plan *plan,
                    const struct blx_prune_mark *mark, const char *agent_id,
                    char text[BLX_TEXT_BYTES])
{
    char at[BLX_WHEN_TEXT_BYTES];
    text[0] = '\0';
    blx_when_format(blx_timestamp_from_unix((int64_t)(mark->not_before_ns / BLX_NS_PER_S)),
                    BLX_ZONE_LOCAL, at);
    if (brake == BLX_BRAKE_ANNOUNCED)
        snprintf(text, BLX_TEXT_BYTES,
                 "new rules of retention would remove %zu of %zu checkpoints, the first at %s",
                 plan->doomed_count, plan->count, at);
    else if (brake == BLX_BRAKE_HELD)
        snprintf(text, BLX_TEXT_BYTES,
                 "retention would remove %zu of %zu checkpoints, far more than usual, and waits: "
                 "blxrep dispatcher prune --agent=%s --confirm",
                 plan->doomed_count, plan->count, agent_id);
}

/* Logged once, when it changes. */
static void tell(struct dispatcher_pruner *pruner, const char *agent_id, const char *text)
{
    bool changed = dispatcher_roster_hold(&pruner->dispatcher->roster, agent_id, text);
    if (changed && text[0] != '\0')
        blx_log_warning("agent '%s': %s", agent_id, text);
}

/* Whether the rules may be carried out now. A mark that cannot be written is no reason to keep a
 * full disk full. */
static enum blx_brake look_at_brake(struct dispatcher_pruner *pruner, struct blx_agent_store agent,
                                    const struct blx_retention *rules, uint64_t sync_freq_ms,
                                    const struct blx_retention_plan *plan)
{
    struct blx_prune_mark mark = {0};
    struct blx_error err = {0};
    char text[BLX_TEXT_BYTES];
    if (blx_prune_mark_read(agent, &mark, &err) < 0)
        blx_log_warning("agent '%s': %s", agent.id, err.message);
    const struct blx_prune_mark before = mark;
    const struct blx_brake_case prune = {
        .retention = rules,
        .checkpoints = plan->count,
        .doomed = plan->doomed_count,
        .sync_freq_ms = sync_freq_ms,
        .now_ns = blx_clock_realtime_ns(),
        .grace_ns = pruner->grace_ms * UINT64_C(1000000),
    };
    enum blx_brake brake = blx_brake_judge(&prune, &mark);
    bool is_news = before.rules != mark.rules || before.not_before_ns != mark.not_before_ns ||
                   plan->doomed_count > 0;
    if (brake != BLX_BRAKE_HELD && is_news && blx_prune_mark_write(agent, &mark, &err) < 0)
        blx_log_debug("agent '%s': %s", agent.id, err.message);
    explain(brake, plan, &mark, agent.id, text);
    tell(pruner, agent.id, text);
    return brake;
}

static void record(struct dispatcher_pruner *pruner, const char *agent_id,
                   const struct blx_retention_plan *plan, const struct blx_prune_report *report)
{
    char text[BLX_TEXT_BYTES];
    snprintf(text, sizeof(text), "%zu of these removed by the rules of retention, %zu still in use",
             report->removed, report->in_use);
    const struct blx_audit_entry entry = {.event = "prune",
                                          .agent = agent_id,
                                          .text = text,
                                          .checkpoints = plan->doomed,
                                          .checkpoint_count = plan->doomed_count};
    dispatcher_audit_entry(pruner->dispatcher, &entry);
}

/* Whether a checkpoint stays only because it is young: then time alone makes work for a later turn.
 */
static bool waits_for_age(const struct blx_retention_plan *plan)
{
    const uint32_t young = blx_retention_bit(BLX_KEEP_MIN_AGE);
    for (size_t i = 0; i < plan->count; i++)
        if (plan->verdicts[i] == young)
            return true;
    return false;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* 0 if nothing is left to do before the next checkpoint, -EAGAIN if there is after `retry_ms`, or
 * why not. */
static int prune(struct dispatcher_pruner *pruner, const char *agent_id, uint64_t *retry_ms)
{
    BLX_CLEANUP(blx_retention_plan_done) struct blx_retention_plan plan = {0};
    const struct blx_agent_store agent = blx_store_agent(pruner->dispatcher->store, agent_id);
    struct blx_policy_verdict verdict;
    struct blx_prune_report report = {0};
    struct blx_error err = {0};
    dispatcher_policy_book_look(pruner->dispatcher->book, agent_id, &verdict);
    if (blx_retention_is_none(&verdict.retention)) {
        tell(pruner, agent_id, "");
        return 0;
    }
    const struct blx_retention rules = blx_retention_with_default(&verdict.retention);
    int rc = blx_retention_plan_make(agent, &rules, blx_clock_realtime_ns(), &plan, &err);
    if (rc == 0 &&
        look_at_brake(pruner, agent, &rules, verdict.sync_freq_ms, &plan) != BLX_BRAKE_FREE) {
        *retry_ms = smaller(*retry_ms, pruner->grace_ms);
        return -EAGAIN;
    }
    if (rc == 0) {
        struct blx_prune_request request = {.checkpoints = plan.doomed,
                                            .count = plan.doomed_count,
                                            .wait_ms = DISPATCHER_PRUNER_WAIT_MS,
                                            .stop = &pruner->chore.stop};
        rc = blx_prune(agent, &request, &report, &err);
    }
    log_outcome(agent_id, rc, &report, &err);
    if (report.removed > 0)
        record(pruner, agent_id, &plan, &report);
    if (rc < 0 || !waits_for_age(&plan))
        return rc;
    *retry_ms = smaller(*retry_ms, rules.keep[BLX_KEEP_MIN_AGE] + 1000);
    return -EAGAIN;
}

static bool work(void *arg, const char *agent_id, uint64_t *rest_ns)
{
    struct dispatcher_pruner *pruner = arg;
    uint64_t began_ns = blx_clock_ns();
    uint64_t retry_ms = DISPATCHER_PRUNER_RETRY_MS;
    int rc = prune(pruner, agent_id, &retry_ms);
    *rest_ns = rc < 0 ? retry_ms * UINT64_C(1000000)
                      : (blx_clock_ns() - began_ns) * DISPATCHER_PRUNER_REST;
    return rc == 0;
}

void dispatcher_pruner_relieve(struct dispatcher_pruner *pruner, const char *agent_id)
{
    uint64_t retry_ms = 0;
    if (pruner != NULL)
        prune(pruner, agent_id, &retry_ms);
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

int dispatcher_pruner_start(struct dispatcher_pruner *pruner, struct dispatcher *dispatcher,
                            uint64_t grace_ms, struct blx_error *err)
{
    *pruner = (struct dispatcher_pruner){.dispatcher = dispatcher, .grace_ms = grace_ms};
    return dispatcher_chore_start(&pruner->chore, &kind, &dispatcher->registry, pruner, err);
}
