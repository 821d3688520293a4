/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/announce.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "dispatcher/audit.h"
#include "dispatcher/policy_book.h"

struct announcement {
    struct dispatcher *dispatcher;
    struct blx_policies before; /* owned */
    struct blx_policy_verdict own;
};

static void announcement_free(struct announcement *job)
{
    blx_policies_done(&job->before);
    free(job);
}

/* The rules as a prune applies them, if they are others than before and remove anything at all. */
static bool find_new_rules(const struct announcement *job, const char *agent_id,
                           struct blx_retention *rules)
{
    struct blx_policy_verdict before, now;
    blx_policies_judge(&job->before, &job->own, agent_id, &before);
    dispatcher_policy_book_look(job->dispatcher->book, agent_id, &now);
    *rules = blx_retention_with_default(&now.retention);
    return !blx_retention_is_none(&now.retention) &&
           !blx_policy_verdict_agrees(&before, &now, BLX_POLICY_RETENTION);
}

static void announce(const struct announcement *job, const char *agent_id)
{
    BLX_CLEANUP(blx_retention_plan_done) struct blx_retention_plan plan = {0};
    struct blx_retention rules;
    struct blx_error err = {0};
    if (!find_new_rules(job, agent_id, &rules))
        return;
    int rc = blx_retention_plan_make(blx_store_agent(job->dispatcher->store, agent_id), &rules,
                                     blx_clock_realtime_ns(), &plan, &err);
    if (rc < 0 && rc != -ENOENT)
        blx_log_warning("retention of agent '%s' changed, and what it would remove is not known: "
                        "%s",
                        agent_id, err.message);
    if (rc < 0 || plan.doomed_count == 0)
        return;
    blx_log_warning("retention of agent '%s' changed: the next prune would remove %zu of %zu "
                    "checkpoints",
                    agent_id, plan.doomed_count, plan.count);
    dispatcher_audit(job->dispatcher, "retention", agent_id,
                     "changed: the next prune would remove %zu of %zu checkpoints",
                     plan.doomed_count, plan.count);
}

static void announce_all(void *arg)
{
    struct announcement *job = arg;
    struct dispatcher *dispatcher = job->dispatcher;
    struct blx_error err = {0};
    char **ids = NULL;
    size_t count = 0;
    if (blx_store_list_agents(dispatcher->store, &ids, &count, &err) < 0)
        blx_log_warning("what new rules of retention would remove is not known: %s", err.message);
    for (size_t i = 0; i < count && !dispatcher_registry_is_stopping(&dispatcher->registry); i++)
        announce(job, ids[i]);
    blx_store_free_agents(ids, count);
    announcement_free(job);
}

void dispatcher_announce_start(struct dispatcher *dispatcher, struct blx_policies *before,
                               const struct blx_policy_verdict *own)
{
    struct blx_error err = {0};
    struct announcement *job = malloc(sizeof(*job));
    if (job == NULL) {
        blx_policies_done(before);
        blx_log_warning("what new rules of retention would remove is not known: out of memory");
        return;
    }
    *job = (struct announcement){.dispatcher = dispatcher, .before = *before, .own = *own};
    *before = (struct blx_policies){0};
    if (dispatcher_threads_start(&dispatcher->sessions, announce_all, job, &err) < 0) {
        blx_log_warning("what new rules of retention would remove is not known: %s", err.message);
        announcement_free(job);
    }
}
