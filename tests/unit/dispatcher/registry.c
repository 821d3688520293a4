/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/units.h"
#include "fake_entry.h"

enum { PENDING_LIMIT = 3 };

static int setup(void **state)
{
    static struct dispatcher_registry registry;
    *state = &registry;
    return dispatcher_registry_init(&registry, PENDING_LIMIT, PENDING_LIMIT);
}

static int teardown(void **state)
{
    dispatcher_registry_done(*state);
    return 0;
}

static struct dispatcher_registry_waiter new_waiter(void)
{
    return (struct dispatcher_registry_waiter){.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
}

static void finish(struct dispatcher_registry *registry, struct fake_entry *fake,
                   blx_timestamp timestamp)
{
    const struct blx_control_done outcome = {.ok = true, .timestamp = timestamp};
    dispatcher_registry_finish_request(registry, &fake->entry, &outcome);
}

static uint64_t take_request(struct dispatcher_registry *registry, struct fake_entry *fake)
{
    struct dispatcher_registry_orders orders;
    dispatcher_registry_take_orders(registry, &fake->entry, &orders);
    return orders.request;
}

static void connections_beyond_the_limit_are_refused(void **state)
{
    struct fake_entry *fakes[PENDING_LIMIT];
    for (unsigned i = 0; i < PENDING_LIMIT; i++)
        fakes[i] = fake_entry_connect(*state);
    struct dispatcher_registry_entry further = {0};
    struct blx_error err = {0};
    assert_int_equal(dispatcher_registry_connect(*state, &further, &err), -EAGAIN);
    assert_non_null(strstr(err.message, "3 connections"));

    /* A connection that has identified itself makes room, and so does one that leaves. */
    assert_int_equal(dispatcher_registry_enter(*state, &fakes[0]->entry, "web1", NULL), 0);
    struct fake_entry *another = fake_entry_connect(*state);
    fake_entry_leave(*state, another, "");
    another = fake_entry_connect(*state);
    fake_entry_leave(*state, another, "");
    for (unsigned i = 0; i < PENDING_LIMIT; i++)
        fake_entry_leave(*state, fakes[i], "");
}

struct victim {
    struct dispatcher_registry *registry;
    struct fake_entry *fake;
    enum dispatcher_registry_ending ending;
    bool stubborn; /* ends only when its socket is shut down */
};

/* A session that waits for orders, and leaves when it is told to. */
static void *victim_main(void *arg)
{
    struct victim *victim = arg;
    struct pollfd fds = {.fd = victim->stubborn ? victim->fake->entry.socket_fd
                                                : victim->fake->entry.wake_fd,
                         .events = POLLIN};
    struct dispatcher_registry_orders orders = {0};
    while (orders.ending == DISPATCHER_ENDING_NONE) {
        poll(&fds, 1, -1);
        dispatcher_registry_take_orders(victim->registry, &victim->fake->entry, &orders);
    }
    victim->ending = orders.ending;
    fake_entry_leave(victim->registry, victim->fake, "another session of this agent took over");
    return NULL;
}

static void take_over(struct dispatcher_registry *registry, bool stubborn)
{
    struct victim victim = {registry, fake_entry_ready(registry, "web1", 0), 0, stubborn};
    struct dispatcher_registry_waiter waiter = new_waiter();
    assert_int_equal(dispatcher_registry_ask(registry, "web1", &waiter, NULL), 0);
    struct fake_entry *heir = fake_entry_connect(registry);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, victim_main, &victim), 0);
    assert_int_equal(dispatcher_registry_enter(registry, &heir->entry, "web1", NULL), 0);
    pthread_join(thread, NULL);
    assert_int_equal(victim.ending, DISPATCHER_ENDING_TAKEN_OVER);

    /* Who waited for the old session's checkpoint hears why there is none. */
    assert_true(fake_entry_is_readable(waiter.event_fd));
    assert_true(dispatcher_registry_unask(registry, &waiter));
    assert_false(waiter.outcome.ok);
    assert_string_equal(waiter.outcome.text, "another session of this agent took over");
    close(waiter.event_fd);
    fake_entry_leave(registry, heir, "");
}

static void new_session_takes_over(void **state)
{
    take_over(*state, false);
}

static void session_that_does_not_end_by_itself_is_cut(void **state)
{
    struct dispatcher_registry *registry = *state;
    registry->takeover_ms = 1000; /* and as long again for the cut one to end */
    take_over(registry, true);
}

/* The entry's socket pair is replaced by a connection over TCP, of which the kernel tells when it
 * was heard last. */
static void use_tcp(struct fake_entry *fake)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, bytes), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &bytes), 0);
    int agent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(agent, (struct sockaddr *)&address, bytes), 0);
    int accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(accepted >= 0);
    assert_int_equal(dup2(accepted, fake->entry.socket_fd), fake->entry.socket_fd);
    assert_int_equal(dup2(agent, fake->agent_fd), fake->agent_fd);
    close(accepted);
    close(agent);
    close(listener);
}

/* A session whose agent answers each PING that it is asked for, until it is told to end. */
struct answering {
    struct dispatcher_registry *registry;
    struct fake_entry *fake;
    atomic_uint pings;
    bool silent;
    _Atomic enum dispatcher_registry_ending ending;
};

static void *answering_main(void *arg)
{
    struct answering *answering = arg;
    struct pollfd fds = {.fd = answering->fake->entry.wake_fd, .events = POLLIN};
    struct dispatcher_registry_orders orders = {0};
    while (orders.ending == DISPATCHER_ENDING_NONE) {
        poll(&fds, 1, -1);
        dispatcher_registry_take_orders(answering->registry, &answering->fake->entry, &orders);
        answering->pings += orders.ping;
        if (orders.ping && !answering->silent)
            assert_int_equal(write(answering->fake->agent_fd, "x", 1), 1);
    }
    answering->ending = orders.ending;
    fake_entry_leave(answering->registry, answering->fake, "");
    return NULL;
}

static int enter_as(struct dispatcher_registry *registry, struct fake_entry *fake, uint8_t instance,
                    struct blx_error *err)
{
    fake->entry.instance.bytes[0] = instance;
    return dispatcher_registry_enter(registry, &fake->entry, "web1", err);
}

static pthread_t start_answering(struct answering *answering)
{
    pthread_t thread;
    answering->fake = fake_entry_connect(answering->registry);
    use_tcp(answering->fake);
    assert_int_equal(enter_as(answering->registry, answering->fake, 1, NULL), 0);
    assert_int_equal(pthread_create(&thread, NULL, answering_main, answering), 0);
    return thread;
}

static void another_process_is_refused_while_the_first_one_answers(void **state)
{
    struct dispatcher_registry *registry = *state;
    registry->takeover_ms = 1000;
    struct answering first = {.registry = registry};
    pthread_t thread = start_answering(&first);
    struct fake_entry *clone = fake_entry_connect(registry);
    struct blx_error err = {0};
    snprintf(clone->entry.peer, sizeof(clone->entry.peer), "192.0.2.2:5000");
    assert_int_equal(enter_as(registry, clone, 2, &err), -EEXIST);
    assert_non_null(strstr(err.message, "192.0.2.1:4711"));
    assert_non_null(strstr(err.message, "192.0.2.2:5000"));
    assert_int_equal(first.ending, DISPATCHER_ENDING_NONE);
    assert_int_equal(first.pings, 2);

    /* The same process over another connection is the first one itself: no question. */
    struct fake_entry *again = fake_entry_connect(registry);
    uint64_t begun_ns = blx_clock_ns();
    assert_int_equal(enter_as(registry, again, 1, NULL), 0);
    assert_true(blx_clock_ns() - begun_ns < 500 * UINT64_C(1000000));
    pthread_join(thread, NULL);
    assert_int_equal(first.ending, DISPATCHER_ENDING_TAKEN_OVER);
    fake_entry_leave(registry, again, "");

    /* Nobody is there now, but the clone was told. Another process may come. */
    assert_int_equal(enter_as(registry, clone, 2, NULL), -EEXIST);
    assert_int_equal(enter_as(registry, clone, 3, NULL), 0);
    fake_entry_leave(registry, clone, "");
}

/* Whoever holds the certificate of a machine that was replaced keeps the new one out for no longer
 * than it takes to tell it to go, however alive it is. */
static void another_process_takes_over_from_one_that_owes_a_proof(void **state)
{
    struct dispatcher_registry *registry = *state;
    registry->takeover_ms = 1000;
    struct answering first = {.registry = registry};
    pthread_t thread = start_answering(&first);
    dispatcher_registry_set_proof(registry, &first.fake->entry, DISPATCHER_PROOF_OWED);
    struct fake_entry *heir = fake_entry_connect(registry);
    assert_int_equal(enter_as(registry, heir, 2, NULL), 0);
    pthread_join(thread, NULL);
    assert_int_equal(first.ending, DISPATCHER_ENDING_TAKEN_OVER);
    fake_entry_leave(registry, heir, "");
}

static void another_process_takes_over_from_a_silent_one(void **state)
{
    struct dispatcher_registry *registry = *state;
    registry->takeover_ms = 300;
    struct answering first = {.registry = registry, .silent = true};
    pthread_t thread = start_answering(&first);
    struct fake_entry *heir = fake_entry_connect(registry);
    /* Its last words are only just arriving. */
    assert_int_equal(write(first.fake->agent_fd, "x", 1), 1);
    assert_int_equal(enter_as(registry, heir, 2, NULL), 0);
    pthread_join(thread, NULL);
    assert_int_equal(first.ending, DISPATCHER_ENDING_TAKEN_OVER);
    fake_entry_leave(registry, heir, "");
}

static void take_over_is_refused_while_the_old_session_is_in_the_store(void **state)
{
    struct dispatcher_registry *registry = *state;
    registry->takeover_ms = 20;
    struct fake_entry *old = fake_entry_ready(registry, "web1", 0);
    struct fake_entry *heir = fake_entry_connect(registry);
    struct blx_error err = {0};
    assert_int_equal(dispatcher_registry_enter(registry, &heir->entry, "web1", &err), -EBUSY);
    assert_non_null(strstr(err.message, "'web1' from 192.0.2.1:4711 has not ended yet"));
    fake_entry_leave(registry, heir, "");
    fake_entry_leave(registry, old, "");
}

static void agents_whose_names_begin_alike_are_different(void **state)
{
    struct fake_entry *web1 = fake_entry_ready(*state, "web1", 1);
    struct fake_entry *web10 = fake_entry_ready(*state, "web10", 2);
    struct blx_control_agent agent = {0};
    assert_true(dispatcher_registry_describe(*state, "web1", &agent));
    assert_int_equal(agent.last_checkpoint, 1);
    assert_true(dispatcher_registry_describe(*state, "web10", &agent));
    assert_int_equal(agent.last_checkpoint, 2);
    assert_false(dispatcher_registry_describe(*state, "web", &agent));
    fake_entry_leave(*state, web1, "");
    fake_entry_leave(*state, web10, "");
}

static void waiter_gets_the_outcome_of_its_request(void **state)
{
    struct fake_entry *fake = fake_entry_ready(*state, "web1", 0);
    struct dispatcher_registry_waiter waiter = new_waiter();
    assert_int_equal(dispatcher_registry_ask(*state, "web1", &waiter, NULL), 0);
    assert_int_equal(take_request(*state, fake), waiter.request);
    assert_false(fake_entry_is_readable(waiter.event_fd));
    finish(*state, fake, 20261122203600);
    assert_true(fake_entry_is_readable(waiter.event_fd));
    assert_true(dispatcher_registry_unask(*state, &waiter));
    assert_true(waiter.outcome.ok);
    assert_int_equal(waiter.outcome.timestamp, 20261122203600);
    close(waiter.event_fd);
    fake_entry_leave(*state, fake, "");
}

static void asking_while_one_is_under_way_waits_for_the_next(void **state)
{
    struct fake_entry *fake = fake_entry_ready(*state, "web1", 0);
    struct dispatcher_registry_waiter first = new_waiter(), second = new_waiter(),
                                      third = new_waiter();
    assert_int_equal(dispatcher_registry_ask(*state, "web1", &first, NULL), 0);
    assert_int_equal(take_request(*state, fake), first.request);
    assert_int_equal(dispatcher_registry_ask(*state, "web1", &second, NULL), 0);
    assert_int_equal(dispatcher_registry_ask(*state, "web1", &third, NULL), 0);
    assert_true(second.request > first.request);
    assert_int_equal(second.request, third.request);
    assert_int_equal(take_request(*state, fake), 0); /* not while one is under way */

    finish(*state, fake, 1);
    assert_true(fake_entry_is_readable(first.event_fd));
    assert_false(fake_entry_is_readable(second.event_fd));
    assert_true(atomic_load(&fake->entry.has_orders));
    assert_int_equal(take_request(*state, fake), second.request);
    finish(*state, fake, 2);
    assert_true(fake_entry_is_readable(second.event_fd));
    assert_true(fake_entry_is_readable(third.event_fd));
    assert_true(dispatcher_registry_unask(*state, &first));
    assert_true(dispatcher_registry_unask(*state, &second));
    assert_true(dispatcher_registry_unask(*state, &third));
    assert_int_equal(first.outcome.timestamp, 1);
    assert_int_equal(second.outcome.timestamp, 2);
    assert_int_equal(third.outcome.timestamp, 2);
    close(first.event_fd);
    close(second.event_fd);
    close(third.event_fd);
    fake_entry_leave(*state, fake, "");
}

static void request_waits_until_the_volumes_have_begun(void **state)
{
    struct fake_entry *fake = fake_entry_connect(*state);
    struct dispatcher_registry_waiter waiter = new_waiter();
    assert_int_equal(dispatcher_registry_enter(*state, &fake->entry, "web1", NULL), 0);
    assert_int_equal(dispatcher_registry_ask(*state, "web1", &waiter, NULL), 0);
    assert_int_equal(take_request(*state, fake), 0);
    dispatcher_registry_set_ready(*state, &fake->entry, BLX_PASS_RESUME);
    assert_true(fake_entry_is_readable(fake->entry.wake_fd));
    assert_int_equal(take_request(*state, fake), waiter.request);
    assert_false(dispatcher_registry_unask(*state, &waiter));
    close(waiter.event_fd);
    fake_entry_leave(*state, fake, "");
}

static void failed_request_fails_its_waiters_only(void **state)
{
    struct fake_entry *fake = fake_entry_ready(*state, "web1", 0);
    struct dispatcher_registry_waiter first = new_waiter(), second = new_waiter();
    assert_int_equal(dispatcher_registry_ask(*state, "web1", &first, NULL), 0);
    take_request(*state, fake);
    assert_int_equal(dispatcher_registry_ask(*state, "web1", &second, NULL), 0);
    const struct blx_control_done failed = {.ok = false, .text = "the hook said no"};
    dispatcher_registry_finish_request(*state, &fake->entry, &failed);
    assert_true(dispatcher_registry_unask(*state, &first));
    assert_false(first.outcome.ok);
    assert_string_equal(first.outcome.text, "the hook said no");
    assert_false(dispatcher_registry_unask(*state, &second));
    close(first.event_fd);
    close(second.event_fd);
    fake_entry_leave(*state, fake, "");
}

static void waiter_that_gives_up_is_forgotten(void **state)
{
    struct fake_entry *fake = fake_entry_ready(*state, "web1", 0);
    struct dispatcher_registry_waiter waiter = new_waiter();
    assert_int_equal(dispatcher_registry_ask(*state, "web1", &waiter, NULL), 0);
    assert_false(dispatcher_registry_unask(*state, &waiter));
    take_request(*state, fake);
    finish(*state, fake, 1);
    assert_false(fake_entry_is_readable(waiter.event_fd));
    close(waiter.event_fd);
    fake_entry_leave(*state, fake, "");
}

static void asking_an_offline_agent_says_so(void **state)
{
    struct dispatcher_registry_waiter waiter = {.event_fd = -1};
    struct blx_error err = {0};
    assert_int_equal(dispatcher_registry_ask(*state, "web1", &waiter, &err), -ENOTCONN);
    assert_non_null(strstr(err.message, "the agent 'web1' is not connected"));
}

static void request_counts_only_when_it_is_in_the_agents_hands(void **state)
{
    struct fake_entry *fake = fake_entry_ready(*state, "web1", 0);
    struct dispatcher_registry_waiter waiter = new_waiter();
    uint64_t asked_ns = 0;
    assert_false(dispatcher_registry_is_sent(*state, &fake->entry, 0, &asked_ns));
    assert_int_equal(dispatcher_registry_ask(*state, "web1", &waiter, NULL), 0);
    assert_false(dispatcher_registry_is_sent(*state, &fake->entry, waiter.request, &asked_ns));
    take_request(*state, fake);
    assert_true(dispatcher_registry_is_sent(*state, &fake->entry, waiter.request, &asked_ns));
    assert_false(dispatcher_registry_is_sent(*state, &fake->entry, waiter.request + 1, &asked_ns));
    finish(*state, fake, 1);
    assert_false(dispatcher_registry_is_sent(*state, &fake->entry, waiter.request, &asked_ns));
    dispatcher_registry_unask(*state, &waiter);
    close(waiter.event_fd);
    fake_entry_leave(*state, fake, "");
}

static void stop_ends_sessions_cuts_strangers_and_fails_waiters(void **state)
{
    struct fake_entry *live = fake_entry_ready(*state, "web1", 0);
    struct fake_entry *stranger = fake_entry_connect(*state);
    struct dispatcher_registry_waiter waiter = new_waiter();
    assert_int_equal(dispatcher_registry_ask(*state, "web1", &waiter, NULL), 0);
    dispatcher_registry_stop(*state);

    struct dispatcher_registry_orders orders;
    dispatcher_registry_take_orders(*state, &live->entry, &orders);
    assert_int_equal(orders.ending, DISPATCHER_ENDING_STOPPING);
    assert_false(fake_entry_is_readable(live->agent_fd)); /* it may still say GOODBYE */
    assert_true(fake_entry_is_readable(stranger->agent_fd));
    assert_true(dispatcher_registry_unask(*state, &waiter));
    assert_string_equal(waiter.outcome.text, "the dispatcher is stopping");
    assert_int_equal(dispatcher_registry_enter(*state, &stranger->entry, "web2", NULL), -ESHUTDOWN);
    assert_int_equal(dispatcher_registry_ask(*state, "web1", &waiter, NULL), -ESHUTDOWN);
    dispatcher_registry_cut(*state);
    assert_true(fake_entry_is_readable(live->agent_fd));
    close(waiter.event_fd);
    fake_entry_leave(*state, live, "");
    fake_entry_leave(*state, stranger, "");
}

static void status_of_a_running_full_pass_is_remembered(void **state)
{
    struct fake_entry *fake = fake_entry_ready(*state, "web1", 0);
    const struct blx_status status = {.state = BLX_AGENT_FULL_SYNC, .dirty_bytes = 4096};
    dispatcher_registry_set_status(*state, &fake->entry, &status);
    assert_true(fake->entry.full_pass);
    struct blx_control_agent agent = {0};
    assert_true(dispatcher_registry_describe(*state, "web1", &agent));
    assert_int_equal(agent.status.dirty_bytes, 4096);
    assert_string_equal(agent.peer, "192.0.2.1:4711");
    assert_true(agent.connected_ms > 0);
    finish(*state, fake, 1);
    assert_false(fake->entry.full_pass);
    fake_entry_leave(*state, fake, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(connections_beyond_the_limit_are_refused),
        TEST(new_session_takes_over),
        TEST(session_that_does_not_end_by_itself_is_cut),
        TEST(another_process_is_refused_while_the_first_one_answers),
        TEST(another_process_takes_over_from_one_that_owes_a_proof),
        TEST(another_process_takes_over_from_a_silent_one),
        TEST(take_over_is_refused_while_the_old_session_is_in_the_store),
        TEST(agents_whose_names_begin_alike_are_different),
        TEST(waiter_gets_the_outcome_of_its_request),
        TEST(asking_while_one_is_under_way_waits_for_the_next),
        TEST(request_waits_until_the_volumes_have_begun),
        TEST(failed_request_fails_its_waiters_only),
        TEST(waiter_that_gives_up_is_forgotten),
        TEST(asking_an_offline_agent_says_so),
        TEST(request_counts_only_when_it_is_in_the_agents_hands),
        TEST(stop_ends_sessions_cuts_strangers_and_fails_waiters),
        TEST(status_of_a_running_full_pass_is_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
