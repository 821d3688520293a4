/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/scheduler.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/units.h"
#include "dispatcher/beat.h"
#include "dispatcher/threads.h"
#include "base/cond.h"

static const uint64_t slot_ns = DISPATCHER_SCHEDULER_SLOT_MS * UINT64_C(1000000);

static bool is_busy(const struct dispatcher_registry_entry *entry)
{
    return entry->sent_request != 0 || entry->queued_request != 0;
}

static bool holds_slot(const struct dispatcher_registry_entry *entry, uint64_t now_ns)
{
    return is_busy(entry) && !entry->full_pass && now_ns < entry->asked_ns + slot_ns;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Moves the beat of a busy agent on. True if this is the first one that it skips, which is worth a
 * line in the log. */
static bool skip_beat(struct dispatcher_registry_entry *entry, uint64_t now_ns)
{
    uint64_t period_ns = entry->beat.period_ns;
    entry->beat.due_ns = dispatcher_beat_next_ns(entry->agent_id, period_ns, now_ns);
    if (entry->beat.skipping || now_ns - entry->asked_ns < period_ns / 2)
        return false;
    entry->beat.skipping = true;
    return true;
}

static void describe(struct dispatcher_scheduler_step *step,
                     enum dispatcher_scheduler_action action,
                     const struct dispatcher_registry_entry *entry, uint64_t now_ns)
{
    step->action = action;
    memcpy(step->agent_id, entry->agent_id, sizeof(step->agent_id));
    step->busy_ms = (now_ns - entry->asked_ns) / 1000000;
    step->full_pass = entry->full_pass;
}

static void work_out_beat(struct dispatcher_registry_entry *entry, uint64_t now_ns,
                          uint64_t now_realtime_ns)
{
    uint64_t period_ns = entry->beat.period_ns;
    if (entry->beat.due_ns != 0)
        return;
    bool overdue = dispatcher_beat_is_overdue(entry->last_time, period_ns, now_realtime_ns);
    entry->beat.due_ns =
        overdue ? now_ns : dispatcher_beat_next_ns(entry->agent_id, period_ns, now_ns);
}

static bool is_longer_due(const struct dispatcher_registry_entry *entry,
                          const struct dispatcher_registry_entry *than)
{
    return than == NULL || entry->beat.due_ns < than->beat.due_ns;
}

static void ask(struct dispatcher_registry *registry, struct dispatcher_registry_entry *entry,
                uint64_t now_ns, struct dispatcher_scheduler_step *step)
{
    dispatcher_registry_queue_request_locked(registry, entry, now_ns);
    entry->beat.due_ns = dispatcher_beat_next_ns(entry->agent_id, entry->beat.period_ns, now_ns);
    describe(step, DISPATCHER_SCHEDULER_ASKED, entry, now_ns);
}

static bool may_be_asked(const struct dispatcher_registry_entry *entry)
{
    return entry->live && entry->ready && !entry->paused && entry->beat.period_ns != 0 &&
           entry->ending == DISPATCHER_ENDING_NONE;
}

void dispatcher_scheduler_decide_locked(struct dispatcher_registry *registry, uint64_t now_ns,
                                        uint64_t now_realtime_ns,
                                        struct dispatcher_scheduler_step *step)
{
    blx_assert_held(&registry->lock);
    struct dispatcher_registry_entry *longest_due[2] = {NULL,
                                                        NULL}; /* without and with a full pass */
    uint64_t slot_free_ns = UINT64_MAX;
    unsigned outstanding = 0;

    *step = (struct dispatcher_scheduler_step){.action = DISPATCHER_SCHEDULER_WAIT,
                                               .wake_ns = UINT64_MAX};
    for (struct dispatcher_registry_entry *entry = registry->entries; entry != NULL;
         entry = entry->next) {
        if (!may_be_asked(entry))
            continue;
        work_out_beat(entry, now_ns, now_realtime_ns);
        if (holds_slot(entry, now_ns)) {
            outstanding++;
            slot_free_ns = smaller(slot_free_ns, entry->asked_ns + slot_ns);
        }
        if (entry->beat.due_ns <= now_ns && is_busy(entry) && skip_beat(entry, now_ns)) {
            describe(step, DISPATCHER_SCHEDULER_SKIPPED, entry, now_ns);
            return;
        }
        if (entry->beat.due_ns > now_ns)
            step->wake_ns = smaller(step->wake_ns, entry->beat.due_ns);
        else if (is_longer_due(entry, longest_due[entry->full_pass]))
            longest_due[entry->full_pass] = entry;
    }
    /* A full pass takes no slot, so it need not wait for one. */
    struct dispatcher_registry_entry *chosen = longest_due[1];
    if (chosen == NULL && outstanding < DISPATCHER_SCHEDULER_OUTSTANDING)
        chosen = longest_due[0];
    if (chosen != NULL)
        ask(registry, chosen, now_ns, step);
    else if (longest_due[0] != NULL)
        step->wake_ns = smaller(step->wake_ns, slot_free_ns);
}

static void log_step(const struct dispatcher_scheduler_step *step)
{
    char busy[BLX_UNIT_TEXT_BYTES];

    if (step->action == DISPATCHER_SCHEDULER_ASKED)
        blx_log_debug("agent '%s': asked for a checkpoint", step->agent_id);
    else if (step->action == DISPATCHER_SCHEDULER_SKIPPED)
        blx_log_notice("agent '%s' is still busy with its checkpoint, asked for %s ago%s: skips "
                       "its beats until it is done",
                       step->agent_id, blx_duration_format(step->busy_ms, busy),
                       step->full_pass ? ", as a full pass is running" : "");
}

static void *scheduler_main(void *arg)
{
    struct dispatcher_scheduler *scheduler = arg;
    struct dispatcher_registry *registry = scheduler->registry;
    struct dispatcher_scheduler_step step;

    uint64_t turn_ns = blx_watchdog_wait_ns(scheduler->watchdog);
    pthread_mutex_lock(&registry->lock);
    while (!registry->stopping) {
        uint64_t now_ns = blx_clock_ns();
        blx_watchdog_turn(scheduler->watchdog, scheduler->hand);
        dispatcher_scheduler_decide_locked(registry, now_ns, blx_clock_realtime_ns(), &step);
        if (step.action == DISPATCHER_SCHEDULER_WAIT) {
            uint64_t latest_ns = turn_ns == UINT64_MAX ? UINT64_MAX : now_ns + turn_ns;
            blx_cond_wait_until(&registry->changed, &registry->lock,
                                smaller(step.wake_ns, latest_ns));
            continue;
        }
        pthread_mutex_unlock(&registry->lock);
        log_step(&step);
        pthread_mutex_lock(&registry->lock);
    }
    pthread_mutex_unlock(&registry->lock);
    return NULL;
}

int dispatcher_scheduler_start(struct dispatcher_scheduler *scheduler,
                               struct dispatcher_registry *registry, struct blx_watchdog *watchdog,
                               unsigned hand, struct blx_error *err)
{
    *scheduler =
        (struct dispatcher_scheduler){.registry = registry, .watchdog = watchdog, .hand = hand};
    int rc = dispatcher_thread_create(&scheduler->thread, scheduler_main, scheduler);
    return rc < 0 ? blx_error_errno(err, rc, "starting the scheduler's thread") : 0;
}

void dispatcher_scheduler_stop(struct dispatcher_scheduler *scheduler)
{
    pthread_join(scheduler->thread, NULL);
}
