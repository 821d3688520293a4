/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/units.h"
#include "dispatcher/beat.h"
#include "dispatcher/scheduler.h"
#include "fake_entry.h"

enum { MANY = DISPATCHER_SCHEDULER_OUTSTANDING + 2 };

static const uint64_t period_ns = FAKE_ENTRY_SYNC_FREQ_MS * UINT64_C(1000000);
static const uint64_t start_ns = UINT64_C(1000) * 1000000000;
static const uint64_t slot_ns = DISPATCHER_SCHEDULER_SLOT_MS * UINT64_C(1000000);

/* Half a minute before the time that the tests take as the wall clock's: not overdue. */
static const blx_timestamp recent = 20261122203600;
static uint64_t realtime_ns;

static int setup(void **state)
{
    static struct dispatcher_registry registry;
    realtime_ns = ((uint64_t)blx_timestamp_to_unix(recent) + 30) * 1000000000;
    *state = &registry;
    return dispatcher_registry_init(&registry, 2 * MANY, 2 * MANY);
}

static int teardown(void **state)
{
    dispatcher_registry_done(*state);
    return 0;
}

static struct dispatcher_scheduler_step decide(struct dispatcher_registry *registry,
                                               uint64_t now_ns)
{
    struct dispatcher_scheduler_step step;
    pthread_mutex_lock(&registry->lock);
    dispatcher_scheduler_decide_locked(registry, now_ns, realtime_ns, &step);
    pthread_mutex_unlock(&registry->lock);
    return step;
}

static void set_policy(struct dispatcher_registry *registry, struct fake_entry *fake,
                       uint64_t sync_freq_ms, bool paused)
{
    const struct blx_policy_message policy = {.sync_freq_ms = sync_freq_ms, .paused = paused};
    dispatcher_registry_set_policy(registry, &fake->entry, &policy);
}

static void finish_request(struct dispatcher_registry *registry, struct fake_entry *fake)
{
    struct dispatcher_registry_orders orders;
    dispatcher_registry_take_orders(registry, &fake->entry, &orders);
    const struct blx_control_done outcome = {.ok = true, .timestamp = recent};
    dispatcher_registry_finish_request(registry, &fake->entry, &outcome);
}

static void scheduler_without_agents_sleeps(void **state)
{
    struct dispatcher_scheduler_step step = decide(*state, start_ns);
    assert_int_equal(step.action, DISPATCHER_SCHEDULER_WAIT);
    assert_int_equal(step.wake_ns, UINT64_MAX);
}

static void scheduler_asks_a_new_agent_at_once(void **state)
{
    struct fake_entry *fake = fake_entry_ready(*state, "web1", 0);
    struct dispatcher_scheduler_step step = decide(*state, start_ns);
    assert_int_equal(step.action, DISPATCHER_SCHEDULER_ASKED);
    assert_string_equal(step.agent_id, "web1");
    assert_true(fake_entry_is_readable(fake->entry.wake_fd));
    step = decide(*state, start_ns);
    assert_int_equal(step.action, DISPATCHER_SCHEDULER_WAIT);
    assert_int_equal(step.wake_ns, dispatcher_beat_next_ns("web1", period_ns, start_ns));
    fake_entry_leave(*state, fake, "");
}

static void scheduler_waits_for_the_beat_of_an_agent_with_a_recent_checkpoint(void **state)
{
    struct fake_entry *fake = fake_entry_ready(*state, "web1", recent);
    uint64_t beat_ns = dispatcher_beat_next_ns("web1", period_ns, start_ns);
    struct dispatcher_scheduler_step step = decide(*state, start_ns);
    assert_int_equal(step.action, DISPATCHER_SCHEDULER_WAIT);
    assert_int_equal(step.wake_ns, beat_ns);
    assert_int_equal(decide(*state, beat_ns - 1).action, DISPATCHER_SCHEDULER_WAIT);
    assert_int_equal(decide(*state, beat_ns).action, DISPATCHER_SCHEDULER_ASKED);
    fake_entry_leave(*state, fake, "");
}

static void scheduler_leaves_an_agent_alone_until_its_volumes_have_begun(void **state)
{
    struct fake_entry *fake = fake_entry_connect(*state);
    assert_int_equal(dispatcher_registry_enter(*state, &fake->entry, "web1", NULL), 0);
    set_policy(*state, fake, FAKE_ENTRY_SYNC_FREQ_MS, false);
    assert_int_equal(decide(*state, start_ns).action, DISPATCHER_SCHEDULER_WAIT);
    dispatcher_registry_set_ready(*state, &fake->entry, BLX_PASS_FULL);
    assert_int_equal(decide(*state, start_ns).action, DISPATCHER_SCHEDULER_ASKED);
    fake_entry_leave(*state, fake, "");
}

static void scheduler_goes_by_each_agents_own_period(void **state)
{
    struct fake_entry *often = fake_entry_ready(*state, "web1", recent);
    struct fake_entry *seldom = fake_entry_ready(*state, "web2", recent);
    set_policy(*state, seldom, 24 * 3600 * 1000, false);
    decide(*state, start_ns);
    for (unsigned i = 1; i <= 3; i++) {
        struct dispatcher_scheduler_step step = decide(*state, start_ns + i * period_ns);
        assert_int_equal(step.action, DISPATCHER_SCHEDULER_ASKED);
        assert_string_equal(step.agent_id, "web1");
        finish_request(*state, often);
    }
    /* Another period counts from the next look on. */
    set_policy(*state, seldom, 1000, false);
    decide(*state, start_ns + 3 * period_ns);
    struct dispatcher_scheduler_step step = decide(*state, start_ns + 3 * period_ns + 1000000000);
    assert_string_equal(step.agent_id, "web2");
    fake_entry_leave(*state, often, "");
    fake_entry_leave(*state, seldom, "");
}

static void scheduler_asks_nothing_of_a_paused_agent(void **state)
{
    struct dispatcher_registry_waiter waiter = {.event_fd = -1};
    struct blx_error err = {0};
    struct fake_entry *fake = fake_entry_ready(*state, "web1", 0);
    assert_int_equal(decide(*state, start_ns).action, DISPATCHER_SCHEDULER_ASKED);
    set_policy(*state, fake, FAKE_ENTRY_SYNC_FREQ_MS, true);
    assert_int_equal(fake->entry.queued_request, 0);
    assert_int_equal(decide(*state, start_ns + 10 * period_ns).action, DISPATCHER_SCHEDULER_WAIT);
    assert_int_equal(dispatcher_registry_ask(*state, "web1", &waiter, &err), -EBUSY);
    assert_non_null(strstr(err.message, "resume --agent=web1"));
    set_policy(*state, fake, FAKE_ENTRY_SYNC_FREQ_MS, false);
    assert_int_equal(decide(*state, start_ns + 10 * period_ns).action, DISPATCHER_SCHEDULER_ASKED);
    fake_entry_leave(*state, fake, "");
}

static void scheduler_tells_once_that_a_busy_agent_skips_beats(void **state)
{
    struct fake_entry *fake = fake_entry_ready(*state, "web1", recent);
    uint64_t beat_ns = dispatcher_beat_next_ns("web1", period_ns, start_ns);
    decide(*state, start_ns);
    assert_int_equal(decide(*state, beat_ns).action, DISPATCHER_SCHEDULER_ASKED);
    assert_int_equal(decide(*state, beat_ns + period_ns).action, DISPATCHER_SCHEDULER_SKIPPED);
    assert_int_equal(decide(*state, beat_ns + period_ns).wake_ns, beat_ns + 2 * period_ns);
    assert_int_equal(decide(*state, beat_ns + 2 * period_ns).action, DISPATCHER_SCHEDULER_WAIT);

    finish_request(*state, fake);
    assert_int_equal(decide(*state, beat_ns + 3 * period_ns).action, DISPATCHER_SCHEDULER_ASKED);
    assert_int_equal(decide(*state, beat_ns + 4 * period_ns).action, DISPATCHER_SCHEDULER_SKIPPED);
    fake_entry_leave(*state, fake, "");
}

static void beat_soon_after_a_request_is_served_by_it_without_a_word(void **state)
{
    struct fake_entry *fake = fake_entry_ready(*state, "web1", recent);
    uint64_t beat_ns = dispatcher_beat_next_ns("web1", period_ns, start_ns);
    decide(*state, start_ns);
    pthread_mutex_lock(&((struct dispatcher_registry *)*state)->lock);
    dispatcher_registry_queue_request_locked(*state, &fake->entry, beat_ns - 1000);
    pthread_mutex_unlock(&((struct dispatcher_registry *)*state)->lock);
    struct dispatcher_scheduler_step step = decide(*state, beat_ns);
    assert_int_equal(step.action, DISPATCHER_SCHEDULER_WAIT);
    assert_int_equal(step.wake_ns, beat_ns + period_ns);
    assert_int_equal(decide(*state, beat_ns + period_ns).action, DISPATCHER_SCHEDULER_SKIPPED);
    fake_entry_leave(*state, fake, "");
}

static void connect_many(struct dispatcher_registry *registry, struct fake_entry *fakes[MANY])
{
    for (unsigned i = 0; i < MANY; i++) {
        char id[16];
        snprintf(id, sizeof(id), "web%u", i);
        fakes[i] = fake_entry_ready(registry, id, 0);
    }
}

static void leave_many(struct dispatcher_registry *registry, struct fake_entry *fakes[MANY])
{
    for (unsigned i = 0; i < MANY; i++)
        fake_entry_leave(registry, fakes[i], "");
}

static unsigned ask_all_it_may(struct dispatcher_registry *registry, uint64_t now_ns)
{
    unsigned asked = 0;
    while (decide(registry, now_ns).action == DISPATCHER_SCHEDULER_ASKED)
        asked++;
    return asked;
}

static struct fake_entry *first_asked(struct fake_entry *fakes[MANY])
{
    for (unsigned i = 0; i < MANY; i++) {
        if (fakes[i]->entry.queued_request != 0)
            return fakes[i];
    }
    return NULL;
}

static void scheduler_bounds_the_outstanding_requests(void **state)
{
    struct fake_entry *fakes[MANY];
    connect_many(*state, fakes);
    assert_int_equal(ask_all_it_may(*state, start_ns), DISPATCHER_SCHEDULER_OUTSTANDING);
    /* The others have their turn as soon as one is done. */
    finish_request(*state, first_asked(fakes));
    assert_int_equal(ask_all_it_may(*state, start_ns), 1);
    leave_many(*state, fakes);
}

static void scheduler_takes_the_longest_due_first(void **state)
{
    struct fake_entry *fakes[MANY];
    connect_many(*state, fakes);
    fakes[3]->entry.beat.due_ns = start_ns - 1;
    struct dispatcher_scheduler_step step = decide(*state, start_ns);
    assert_int_equal(step.action, DISPATCHER_SCHEDULER_ASKED);
    assert_string_equal(step.agent_id, "web3");
    leave_many(*state, fakes);
}

static void scheduler_counts_no_full_pass_as_outstanding(void **state)
{
    struct fake_entry *fakes[MANY];
    connect_many(*state, fakes);
    for (unsigned i = 0; i < MANY; i++)
        dispatcher_registry_set_ready(*state, &fakes[i]->entry, BLX_PASS_FULL);
    assert_int_equal(ask_all_it_may(*state, start_ns), MANY);
    leave_many(*state, fakes);
}

static void scheduler_lets_nobody_hold_a_slot_for_ever(void **state)
{
    struct fake_entry *fakes[MANY];
    connect_many(*state, fakes);
    assert_int_equal(ask_all_it_may(*state, start_ns), DISPATCHER_SCHEDULER_OUTSTANDING);
    /* If nothing happens before, it wakes when the first slot is given up. */
    struct dispatcher_scheduler_step step = decide(*state, start_ns);
    assert_true(step.wake_ns <= start_ns + slot_ns);
    while (decide(*state, start_ns + slot_ns - 1).action == DISPATCHER_SCHEDULER_SKIPPED)
        ;
    assert_int_equal(ask_all_it_may(*state, start_ns + slot_ns - 1), 0);
    assert_int_equal(ask_all_it_may(*state, start_ns + slot_ns),
                     MANY - DISPATCHER_SCHEDULER_OUTSTANDING);
    leave_many(*state, fakes);
}

static void scheduler_thread_asks_and_stops(void **state)
{
    struct dispatcher_scheduler scheduler;
    struct blx_watchdog watchdog = {0};
    assert_int_equal(dispatcher_scheduler_start(&scheduler, *state, &watchdog, 0, NULL), 0);
    struct fake_entry *fake = fake_entry_ready(*state, "web1", 0);
    struct dispatcher_registry *registry = *state;
    pthread_mutex_lock(&registry->lock);
    while (fake->entry.queued_request == 0) {
        pthread_mutex_unlock(&registry->lock);
        sched_yield();
        pthread_mutex_lock(&registry->lock);
    }
    pthread_mutex_unlock(&registry->lock);
    dispatcher_registry_stop(registry);
    dispatcher_scheduler_stop(&scheduler);
    fake_entry_leave(registry, fake, "");
}

/* Long enough for many turns. */
static void sleep_ms(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

static void scheduler_turns_the_watchdog_unless_somebody_keeps_the_registry(void **state)
{
    struct dispatcher_registry *registry = *state;
    struct dispatcher_scheduler scheduler;
    struct blx_watchdog watchdog = {.wait_ns = 1000000, .hands = 2};
    assert_int_equal(dispatcher_scheduler_start(&scheduler, registry, &watchdog, 1, NULL), 0);
    while (atomic_load(&watchdog.turned) != 1U << 1)
        sched_yield();
    pthread_mutex_lock(&registry->lock);
    atomic_store(&watchdog.turned, 0);
    sleep_ms(50);
    assert_int_equal(atomic_load(&watchdog.turned), 0);
    pthread_mutex_unlock(&registry->lock);
    while (atomic_load(&watchdog.turned) != 1U << 1)
        sched_yield();
    dispatcher_registry_stop(registry);
    dispatcher_scheduler_stop(&scheduler);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(scheduler_without_agents_sleeps),
        TEST(scheduler_asks_a_new_agent_at_once),
        TEST(scheduler_waits_for_the_beat_of_an_agent_with_a_recent_checkpoint),
        TEST(scheduler_leaves_an_agent_alone_until_its_volumes_have_begun),
        TEST(scheduler_goes_by_each_agents_own_period),
        TEST(scheduler_asks_nothing_of_a_paused_agent),
        TEST(scheduler_tells_once_that_a_busy_agent_skips_beats),
        TEST(beat_soon_after_a_request_is_served_by_it_without_a_word),
        TEST(scheduler_bounds_the_outstanding_requests),
        TEST(scheduler_takes_the_longest_due_first),
        TEST(scheduler_counts_no_full_pass_as_outstanding),
        TEST(scheduler_lets_nobody_hold_a_slot_for_ever),
        TEST(scheduler_turns_the_watchdog_unless_somebody_keeps_the_registry),
        TEST(scheduler_thread_asks_and_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
