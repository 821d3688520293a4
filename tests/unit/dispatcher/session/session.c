/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/sys.h"
#include "dispatcher/scheduler.h"
#include "fake_agent.h"
#include "store/checkpoint/manifest.h"
#include "store/restore/restore.h"

static int setup(void **state)
{
    *state = fake_site_start(DISPATCHER_HEARTBEAT_MS);
    return 0;
}

static int teardown(void **state)
{
    fake_site_stop(*state);
    return 0;
}

static blx_timestamp checkpoint(struct fake_site *site, struct fake_agent *agent,
                                const char *agent_id)
{
    struct dispatcher_registry_waiter waiter;
    fake_site_ask(site, agent_id, &waiter);
    blx_timestamp timestamp = fake_agent_checkpoint(agent);
    struct blx_control_done done = fake_site_outcome(site, &waiter);
    assert_true(done.ok);
    assert_int_equal(done.timestamp, timestamp);
    return timestamp;
}

static void assert_restores(const struct fake_site *site, const char *agent_id,
                            blx_timestamp timestamp, const uint8_t *disk)
{
    char path[64];
    struct blx_error err = {0};
    void *content = NULL;
    size_t bytes = 0;
    snprintf(path, sizeof(path), "%s/restored.img", site->dir);
    const struct blx_restore_target target = {.path = path};
    if (blx_restore(blx_store_agent(&site->store, agent_id), timestamp, "vda", &target, NULL,
                    &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(blx_file_read(path, 2 * FAKE_VOLUME_BYTES, &content, &bytes, NULL), 0);
    assert_int_equal(bytes, FAKE_VOLUME_BYTES);
    assert_memory_equal(content, disk, FAKE_VOLUME_BYTES);
    free(content);
    unlink(path);
}

static void session_welcomes_and_says_that_nothing_is_stored(void **state)
{
    struct fake_agent *agent = fake_agent_connect(*state, "web1", NULL);
    fake_agent_greet(agent, "web1");
    assert_int_equal(agent->welcome.version, BLX_PROTOCOL_VERSION);
    assert_int_equal(agent->welcome.sync_freq_ms, 60 * 1000);
    assert_int_equal(agent->welcome.heartbeat_ms, DISPATCHER_HEARTBEAT_MS);
    assert_int_equal(agent->welcome.last_checkpoint, 0);
    assert_true(blx_generation_is_none(&agent->state.generation));
    fake_agent_close(agent);
}

static void first_sync_is_acknowledged_committed_and_restorable(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    fake_agent_write(agent, 0, 64, 0xaa);
    fake_agent_write(agent, 100, 20, 0xbb);
    fake_agent_wait_durable(agent, 2);
    blx_timestamp first = checkpoint(*state, agent, "web1");
    uint8_t *then = malloc(FAKE_VOLUME_BYTES);
    assert_non_null(then);
    memcpy(then, agent->disk, FAKE_VOLUME_BYTES);
    fake_agent_write(agent, 10, 3, 0xcc);
    blx_timestamp second = checkpoint(*state, agent, "web1");
    assert_true(second > first);
    assert_restores(*state, "web1", first, then);
    assert_restores(*state, "web1", second, agent->disk);
    free(then);
    fake_agent_close(agent);
}

/* The agent's clock names nothing, and a liar cannot ask for an early turn. */
static void checkpoint_is_named_by_this_sides_clock(void **state)
{
    static const uint64_t lies_s[] = {1, 1000000000, 4102444800, UINT64_C(18000000000)};
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    fake_agent_write(agent, 0, 64, 0xaa);
    int64_t began = time(NULL);
    for (size_t i = 0; i < sizeof(lies_s) / sizeof(lies_s[0]); i++) {
        agent->clock_ns = lies_s[i] * 1000000000;
        blx_timestamp timestamp = checkpoint(*state, agent, "web1");
        /* Several in one second take the next free ones. */
        assert_in_range(blx_timestamp_to_unix(timestamp), began, time(NULL) + (int64_t)i);
    }
    fake_agent_close(agent);
}

static void session_acknowledges_before_it_confirms_the_checkpoint(void **state)
{
    struct fake_site *site = *state;
    struct fake_agent *agent = fake_agent_online(site, "web1");
    struct dispatcher_registry_waiter waiter;
    fake_site_ask(site, "web1", &waiter);
    uint64_t request =
        fake_agent_expect(agent, BLX_MESSAGE_CHECKPOINT_REQUEST).checkpoint_request.request;
    fake_agent_write(agent, 0, 64, 0xaa);
    fake_agent_cut(agent, request, 1);
    assert_int_equal(fake_agent_expect(agent, BLX_MESSAGE_ACK).ack.durable_seq, 1);
    fake_agent_expect(agent, BLX_MESSAGE_CHECKPOINT_DONE);
    assert_true(fake_site_outcome(site, &waiter).ok);
    fake_agent_close(agent);
}

static void scheduler_asks_a_new_agent_for_its_first_checkpoint(void **state)
{
    struct fake_site *site = *state;
    struct dispatcher_scheduler scheduler;
    assert_int_equal(dispatcher_scheduler_start(&scheduler, &site->dispatcher.registry,
                                                &site->dispatcher.watchdog,
                                                DISPATCHER_HAND_SCHEDULER, NULL),
                     0);
    struct fake_agent *agent = fake_agent_online(site, "web1");
    fake_agent_write(agent, 0, 1, 0x11);
    blx_timestamp timestamp = fake_agent_checkpoint(agent);
    assert_restores(site, "web1", timestamp, agent->disk);
    fake_agent_close(agent);
    dispatcher_registry_stop(&site->dispatcher.registry);
    dispatcher_scheduler_stop(&scheduler);
}

static void bad_input_of_one_agent_leaves_the_other_alone(void **state)
{
    struct fake_agent *good = fake_agent_online(*state, "web1");
    struct fake_agent *bad = fake_agent_online(*state, "web10");
    fake_agent_write(good, 0, 8, 0x11);
    fake_agent_frame(bad, 9, 0, 1, 0x22);
    fake_agent_expect_error(bad, "");
    fake_agent_write(good, 8, 8, 0x33);
    fake_agent_wait_durable(good, 2);
    blx_timestamp timestamp = checkpoint(*state, good, "web1");
    assert_restores(*state, "web1", timestamp, good->disk);
    fake_agent_close(bad);
    fake_agent_close(good);
}

static int connect_plain(const struct fake_site *site)
{
    unsigned port = 0;
    assert_int_equal(sscanf(site->address, "127.0.0.1:%u", &port), 1);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void drain_until_closed(int fd)
{
    char sink[256];
    while (recv(fd, sink, sizeof(sink), 0) > 0)
        ;
    close(fd);
}

static void garbage_instead_of_tls_costs_its_connection_only(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    int fd = connect_plain(*state);
    static const char garbage[] = "GET / HTTP/1.0\r\n\r\n";
    assert_int_equal(send(fd, garbage, sizeof(garbage), MSG_NOSIGNAL), sizeof(garbage));
    drain_until_closed(fd);
    fake_agent_write(agent, 0, 8, 0x11);
    fake_agent_wait_durable(agent, 1);
    fake_agent_close(agent);
}

static void connections_beyond_the_limit_are_closed_at_once(void **state)
{
    int fds[DISPATCHER_MAX_PENDING];
    for (unsigned i = 0; i < DISPATCHER_MAX_PENDING; i++)
        fds[i] = connect_plain(*state);
    drain_until_closed(connect_plain(*state)); /* long before any handshake's time is over */
    for (unsigned i = 0; i < DISPATCHER_MAX_PENDING; i++)
        close(fds[i]);
}

static void session_resumes_after_the_last_durable_frame(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    fake_agent_write(agent, 0, 64, 0xaa);
    fake_agent_write(agent, 64, 64, 0xbb);
    fake_agent_wait_durable(agent, 2);
    blx_conn_shutdown(agent->conn); /* as when the machine is gone */

    struct fake_agent *again = fake_agent_connect(*state, "web1", agent);
    fake_agent_greet(again, "web1");
    assert_true(blx_generation_equal(&again->state.generation, &agent->generation));
    assert_int_equal(again->state.durable_seq, 2);
    memcpy(again->disk, agent->disk, sizeof(agent->disk));
    fake_agent_begin(again, BLX_PASS_RESUME);
    fake_agent_write(again, 128, 64, 0xcc);
    blx_timestamp timestamp = checkpoint(*state, again, "web1");
    assert_restores(*state, "web1", timestamp, again->disk);
    fake_agent_close(agent);
    fake_agent_close(again);
}

static void session_continues_under_another_generation(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    fake_agent_write(agent, 0, 64, 0xaa);
    fake_agent_wait_durable(agent, 1);
    blx_conn_shutdown(agent->conn);

    struct fake_agent *again = fake_agent_connect(*state, "web1", NULL);
    again->features = BLX_FEATURE_CONTINUE;
    fake_agent_greet(again, "web1");
    assert_int_equal(again->welcome.features, BLX_FEATURE_CONTINUE);
    assert_true(blx_generation_equal(&again->state.generation, &agent->generation));
    assert_int_equal(again->state.durable_seq, 1);
    memcpy(again->disk, agent->disk, sizeof(agent->disk));
    fake_agent_begin(again, BLX_PASS_CONTINUE);
    fake_agent_write(again, 128, 64, 0xcc);
    blx_timestamp timestamp = checkpoint(*state, again, "web1");
    assert_restores(*state, "web1", timestamp, again->disk);
    fake_agent_close(agent);
    fake_agent_close(again);
}

static void session_refuses_to_continue_if_that_was_not_agreed_on(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    fake_agent_write(agent, 0, 64, 0xaa);
    fake_agent_wait_durable(agent, 1);
    blx_conn_shutdown(agent->conn);

    struct fake_agent *again = fake_agent_connect(*state, "web1", NULL);
    fake_agent_greet(again, "web1");
    assert_int_equal(again->welcome.features, 0);
    fake_agent_begin(again, BLX_PASS_CONTINUE);
    fake_agent_expect_error(again, "not agreed on");
    fake_agent_close(agent);
    fake_agent_close(again);
}

static void frames_that_arrived_before_a_protocol_error_are_kept(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    fake_agent_write(agent, 0, 64, 0xaa);
    fake_agent_frame(agent, 9, 0, 1, 0x22);
    fake_agent_expect_error(agent, "frame 9");
    struct fake_agent *again = fake_agent_connect(*state, "web1", agent);
    fake_agent_greet(again, "web1");
    assert_int_equal(again->state.durable_seq, 1);
    fake_agent_close(agent);
    fake_agent_close(again);
}

static void new_session_takes_over_from_the_old_one(void **state)
{
    struct fake_agent *old = fake_agent_online(*state, "web1");
    fake_agent_write(old, 0, 64, 0xaa);
    fake_agent_wait_durable(old, 1);
    struct fake_agent *heir = fake_agent_connect(*state, "web1", old);
    fake_agent_greet(heir, "web1");
    assert_int_equal(heir->state.durable_seq, 1);
    fake_agent_expect_error(old, "another session of this agent took over");
    fake_agent_begin(heir, BLX_PASS_RESUME);
    memcpy(heir->disk, old->disk, sizeof(old->disk));
    blx_timestamp timestamp = checkpoint(*state, heir, "web1");
    assert_restores(*state, "web1", timestamp, heir->disk);
    fake_agent_close(old);
    fake_agent_close(heir);
}

static void goodbye_makes_everything_durable(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    fake_agent_write(agent, 0, 64, 0xaa);
    const struct blx_message goodbye = {.type = BLX_MESSAGE_GOODBYE};
    fake_agent_send(agent, &goodbye);
    fake_agent_wait_durable(agent, 1);
    struct blx_message message;
    assert_int_equal(blx_conn_recv(agent->conn, FAKE_RECV_MS, &message, NULL), -EPIPE);
    fake_agent_close(agent);
}

static void stopping_says_goodbye_and_loses_nothing(void **state)
{
    struct fake_site *site = *state;
    struct fake_agent *agent = fake_agent_online(site, "web1");
    fake_agent_write(agent, 0, 64, 0xaa);
    fake_agent_wait_durable(agent, 1);
    blx_timestamp timestamp = checkpoint(site, agent, "web1");
    fake_agent_write(agent, 64, 1, 0xbb);
    fake_agent_wait_durable(agent, 2);
    /* The session lingers until the agent has closed its end, so read its GOODBYE while the site
     * halts. */
    dispatcher_registry_stop(&site->dispatcher.registry);
    fake_agent_expect(agent, BLX_MESSAGE_GOODBYE);
    fake_agent_close(agent);
    fake_site_halt(site);

    fake_site_resume(site);
    struct fake_agent *again = fake_agent_connect(site, "web1", NULL);
    fake_agent_greet(again, "web1");
    assert_int_equal(again->welcome.last_checkpoint, timestamp);
    assert_int_equal(again->state.durable_seq, 2);
    fake_agent_close(again);
}

static void failed_checkpoint_is_told_to_who_asked(void **state)
{
    struct fake_site *site = *state;
    struct fake_agent *agent = fake_agent_online(site, "web1");
    struct dispatcher_registry_waiter waiter;
    fake_site_ask(site, "web1", &waiter);
    const struct blx_message failed = {
        .type = BLX_MESSAGE_CHECKPOINT_FAILED,
        .checkpoint_failed = {.request = fake_agent_expect(agent, BLX_MESSAGE_CHECKPOINT_REQUEST)
                                             .checkpoint_request.request,
                              .reason = "the disk is on holiday"},
    };
    fake_agent_send(agent, &failed);
    struct blx_control_done done = fake_site_outcome(site, &waiter);
    assert_false(done.ok);
    assert_string_equal(done.text, "the disk is on holiday");
    /* The session goes on. */
    fake_agent_write(agent, 0, 1, 0x11);
    checkpoint(site, agent, "web1");
    fake_agent_close(agent);
}

static void lost_session_is_told_to_who_asked(void **state)
{
    struct fake_site *site = *state;
    struct fake_agent *agent = fake_agent_online(site, "web1");
    struct dispatcher_registry_waiter waiter;
    fake_site_ask(site, "web1", &waiter);
    fake_agent_expect(agent, BLX_MESSAGE_CHECKPOINT_REQUEST);
    fake_agent_close(agent);
    struct blx_control_done done = fake_site_outcome(site, &waiter);
    assert_false(done.ok);
    assert_true(done.text[0] != '\0');
}

static atomic_bool disk_is_full;

static ssize_t pwrite_or_full(int fd, const void *buffer, size_t bytes, off_t offset)
{
    if (!atomic_load(&disk_is_full))
        return blx_sys_real.pwrite(fd, buffer, bytes, offset);
    errno = ENOSPC;
    return -1;
}

static int setup_with_a_disk_that_fills(void **state)
{
    static struct blx_sys sys;
    sys = blx_sys_real;
    sys.pwrite = pwrite_or_full;
    blx_sys = &sys;
    return setup(state);
}

static int teardown_with_a_disk_that_fills(void **state)
{
    int rc = teardown(state);
    blx_sys = &blx_sys_real;
    return rc;
}

static void full_disk_ends_the_session_and_nothing_else(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    fake_agent_write(agent, 0, 64, 0xaa);
    fake_agent_wait_durable(agent, 1);
    atomic_store(&disk_is_full, true);
    fake_agent_write(agent, 64, 64, 0xbb);
    fake_agent_expect_error(agent, "No space left on device");
    atomic_store(&disk_is_full, false);

    struct fake_agent *again = fake_agent_connect(*state, "web1", agent);
    fake_agent_greet(again, "web1");
    assert_int_equal(again->state.durable_seq, 1);
    fake_agent_begin(again, BLX_PASS_RESUME);
    memcpy(again->disk, agent->disk, sizeof(agent->disk));
    fake_agent_write(again, 64, 64, 0xbb);
    blx_timestamp timestamp = checkpoint(*state, again, "web1");
    assert_restores(*state, "web1", timestamp, again->disk);
    fake_agent_close(agent);
    fake_agent_close(again);
}

static int setup_with_quick_heart(void **state)
{
    *state = fake_site_start(100);
    return 0;
}

static void idle_session_is_kept_by_heartbeats(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    const struct blx_message ping = {.type = BLX_MESSAGE_PING};
    struct blx_message message;
    /* Longer than the three heartbeats after which silence would end it. */
    for (unsigned pings = 0; pings < 10; pings++) {
        assert_int_equal(blx_conn_recv(agent->conn, FAKE_RECV_MS, &message, NULL), 0);
        assert_int_equal(message.type, BLX_MESSAGE_PING);
        fake_agent_send(agent, &ping);
    }
    fake_agent_write(agent, 0, 1, 0x11);
    fake_agent_wait_durable(agent, 1);
    fake_agent_close(agent);
}

static void silent_agent_counts_as_dead(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    struct blx_message message = {.type = BLX_MESSAGE_PING};
    int rc = 0;
    while (rc == 0) {
        assert_int_equal(message.type, BLX_MESSAGE_PING);
        rc = blx_conn_recv(agent->conn, FAKE_RECV_MS, &message, NULL);
    }
    assert_true(rc == -EPIPE || rc == -ECONNRESET);
    fake_agent_close(agent);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(session_welcomes_and_says_that_nothing_is_stored),
        TEST(first_sync_is_acknowledged_committed_and_restorable),
        TEST(checkpoint_is_named_by_this_sides_clock),
        TEST(session_acknowledges_before_it_confirms_the_checkpoint),
        TEST(scheduler_asks_a_new_agent_for_its_first_checkpoint),
        TEST(bad_input_of_one_agent_leaves_the_other_alone),
        TEST(garbage_instead_of_tls_costs_its_connection_only),
        TEST(connections_beyond_the_limit_are_closed_at_once),
        TEST(session_resumes_after_the_last_durable_frame),
        TEST(session_continues_under_another_generation),
        TEST(session_refuses_to_continue_if_that_was_not_agreed_on),
        TEST(frames_that_arrived_before_a_protocol_error_are_kept),
        TEST(new_session_takes_over_from_the_old_one),
        TEST(goodbye_makes_everything_durable),
        TEST(stopping_says_goodbye_and_loses_nothing),
        TEST(failed_checkpoint_is_told_to_who_asked),
        TEST(lost_session_is_told_to_who_asked),
        cmocka_unit_test_setup_teardown(full_disk_ends_the_session_and_nothing_else,
                                        setup_with_a_disk_that_fills,
                                        teardown_with_a_disk_that_fills),
        cmocka_unit_test_setup_teardown(idle_session_is_kept_by_heartbeats, setup_with_quick_heart,
                                        teardown),
        cmocka_unit_test_setup_teardown(silent_agent_counts_as_dead, setup_with_quick_heart,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
