/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "fake_agent.h"

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

static void session_refuses_another_agents_certificate(void **state)
{
    struct fake_site *site = *state;
    struct fake_agent *agent = fake_agent_connect(site, "web1", NULL);
    fake_agent_hello(agent, "web10");
    fake_agent_expect_error(agent, "the certificate is for 'web1', not for 'web10'");
    fake_agent_close(agent);
    assert_false(blx_agent_store_exists(blx_store_agent(&site->store, "web10")));
    assert_false(blx_agent_store_exists(blx_store_agent(&site->store, "web1")));
}

static void session_refuses_a_protocol_that_it_does_not_know(void **state)
{
    struct fake_agent *agent = fake_agent_connect(*state, "web1", NULL);
    const struct blx_message hello = {
        .type = BLX_MESSAGE_HELLO,
        .hello = {.version_min = 2,
                  .version_max = 3,
                  .volume_count = 1,
                  .agent_id = "web1",
                  .software = "fake 2"},
    };
    fake_agent_send(agent, &hello);
    fake_agent_expect_error(agent, "versions 2 to 3");
    fake_agent_close(agent);
}

static void session_refuses_to_begin_without_hello(void **state)
{
    struct fake_agent *agent = fake_agent_connect(*state, "web1", NULL);
    const struct blx_message status = {.type = BLX_MESSAGE_STATUS,
                                       .status = {.state = BLX_AGENT_LIVE}};
    fake_agent_send(agent, &status);
    fake_agent_expect_error(agent, "expected HELLO, got STATUS");
    fake_agent_close(agent);
}

static void session_refuses_frames_out_of_order(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    fake_agent_write(agent, 0, 1, 0x11);
    fake_agent_frame(agent, 3, 1, 1, 0x22);
    fake_agent_expect_error(agent, "frame 3");
    fake_agent_close(agent);
}

static void session_refuses_frames_outside_the_volume(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    fake_agent_frame(agent, 1, FAKE_VOLUME_BLOCKS - 1, 2, 0x11);
    fake_agent_expect_error(agent, "");
    fake_agent_close(agent);
}

static void session_refuses_frames_of_a_volume_that_has_not_begun(void **state)
{
    struct fake_agent *agent = fake_agent_connect(*state, "web1", NULL);
    fake_agent_greet(agent, "web1");
    fake_agent_frame(agent, 1, 0, 1, 0x11);
    fake_agent_expect_error(agent, "which has not begun");
    fake_agent_close(agent);
}

static void session_refuses_a_volume_out_of_order(void **state)
{
    struct fake_agent *agent = fake_agent_connect(*state, "web1", NULL);
    fake_agent_hello(agent, "web1");
    fake_agent_expect(agent, BLX_MESSAGE_WELCOME);
    const struct blx_message volume = {
        .type = BLX_MESSAGE_VOLUME,
        .volume = {.volume = 1,
                   .block_shift = 12,
                   .size_bytes = FAKE_VOLUME_BYTES,
                   .generation = agent->generation,
                   .name = "vda",
                   .device = "/dev/vda"},
    };
    fake_agent_send(agent, &volume);
    fake_agent_expect_error(agent, "expected VOLUME number 0, got number 1");
    fake_agent_close(agent);
}

static void session_refuses_a_begin_of_an_unknown_volume(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    const struct blx_message begin = {.type = BLX_MESSAGE_BEGIN,
                                      .begin = {.volume = 1, .pass = BLX_PASS_FULL}};
    fake_agent_send(agent, &begin);
    fake_agent_expect_error(agent, "BEGIN of volume number 1, but there are 1");
    fake_agent_close(agent);
}

static void session_refuses_a_checkpoint_that_nobody_asked_for(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    fake_agent_cut(agent, 77, 0);
    fake_agent_expect_error(agent, "the request 77, which was not asked for");
    fake_agent_close(agent);
}

static void session_refuses_a_checkpoint_of_frames_that_never_came(void **state)
{
    struct fake_site *site = *state;
    struct fake_agent *agent = fake_agent_online(site, "web1");
    struct dispatcher_registry_waiter waiter;
    fake_site_ask(site, "web1", &waiter);
    uint64_t request =
        fake_agent_expect(agent, BLX_MESSAGE_CHECKPOINT_REQUEST).checkpoint_request.request;
    fake_agent_cut(agent, request, 5);
    fake_agent_expect_error(agent, "");
    fake_agent_close(agent);
    assert_false(fake_site_outcome(site, &waiter).ok);
}

static void session_refuses_messages_of_the_other_direction(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    const struct blx_message ack = {.type = BLX_MESSAGE_ACK, .ack = {.durable_seq = 1}};
    fake_agent_send(agent, &ack);
    fake_agent_expect_error(agent, "ACK is not expected here");
    fake_agent_close(agent);
}

static void session_refuses_a_key_that_was_not_agreed_on(void **state)
{
    struct fake_agent *agent = fake_agent_connect(*state, "web1", NULL);
    const struct blx_message key = {.type = BLX_MESSAGE_KEY, .key.key_id = {{1}}};
    fake_agent_hello(agent, "web1");
    assert_int_equal(fake_agent_expect(agent, BLX_MESSAGE_WELCOME).welcome.features, 0);
    fake_agent_send(agent, &key);
    fake_agent_expect_error(agent, "encryption was not agreed on");
    fake_agent_close(agent);
}

static void session_refuses_frames_without_the_key_that_was_named(void **state)
{
    const struct blx_key key = {.secret = {1}, .id = {{1}}};
    struct blx_volume_key derived;
    struct fake_agent *agent = fake_agent_connect(*state, "web1", NULL);
    assert_int_equal(blx_volume_key_derive(&key, "web1", "vda", &derived, NULL), 0);
    agent->key = &derived;
    fake_agent_greet(agent, "web1");
    fake_agent_begin(agent, BLX_PASS_FULL);
    fake_agent_write(agent, 0, 1, 0x11);
    agent->key = NULL;
    fake_agent_write(agent, 1, 1, 0x22);
    fake_agent_expect_error(agent, "not encrypted with the key");
    fake_agent_close(agent);
}

static void session_refuses_flags_of_a_cut_that_were_not_agreed_on(void **state)
{
    struct fake_site *site = *state;
    struct dispatcher_registry_waiter waiter;
    struct fake_agent *agent = fake_agent_online(site, "web1");
    fake_agent_write(agent, 0, 1, 0x11);
    fake_agent_wait_durable(agent, 1);
    fake_site_ask(site, "web1", &waiter);
    struct blx_message cut = {
        .type = BLX_MESSAGE_CHECKPOINT,
        .checkpoint = {.cut_realtime_ns = blx_clock_realtime_ns(),
                       .consistency = BLX_CONSISTENCY_FILESYSTEM,
                       .volume_count = 1,
                       .last_seq = {1},
                       .cut_flags = BLX_CUT_FLAGS_TOLD},
    };
    cut.checkpoint.request =
        fake_agent_expect(agent, BLX_MESSAGE_CHECKPOINT_REQUEST).checkpoint_request.request;
    fake_agent_send(agent, &cut);
    fake_agent_expect_error(agent, "flags of its cut");
    fake_agent_close(agent);
    assert_false(fake_site_outcome(site, &waiter).ok);
}

/* Neither an announced volume, nor a pass without a frame leaves anything in the store. */
static void session_leaves_no_folder_for_a_name_alone(void **state)
{
    struct fake_site *site = *state;
    const char *const names[] = {"x1", "x2", "x3"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct fake_agent *agent = fake_agent_connect(site, "web1", NULL);
        fake_agent_hello(agent, "web1");
        fake_agent_expect(agent, BLX_MESSAGE_WELCOME);
        struct blx_message volume = {
            .type = BLX_MESSAGE_VOLUME,
            .volume = {.block_shift = 12,
                       .size_bytes = FAKE_VOLUME_BYTES,
                       .generation = agent->generation,
                       .device = "/dev/x"},
        };
        snprintf(volume.volume.name, sizeof(volume.volume.name), "%s", names[i]);
        fake_agent_send(agent, &volume);
        fake_agent_expect(agent, BLX_MESSAGE_VOLUME_STATE);
        fake_agent_begin(agent, BLX_PASS_FULL);
        fake_agent_cut(agent, 77, 0);
        fake_agent_expect_error(agent, "which was not asked for");
        fake_agent_close(agent);
        assert_false(blx_agent_store_has_volume(blx_store_agent(&site->store, "web1"), names[i]));
    }
    struct fake_agent *agent = fake_agent_online(site, "web1");
    fake_agent_write(agent, 0, 1, 0x11);
    fake_agent_wait_durable(agent, 1);
    assert_true(blx_agent_store_has_volume(blx_store_agent(&site->store, "web1"), "vda"));
    fake_agent_close(agent);
}

/* Empties a bucket of the agent an hour ahead, so that nothing comes back while the test runs. */
static unsigned use_up(struct fake_site *site, enum dispatcher_allowance allowance)
{
    struct dispatcher_roster *roster = &site->dispatcher.roster;
    struct dispatcher_roster_record *record;
    const uint64_t later_ns = blx_clock_ns() + 3600 * UINT64_C(1000000000);
    unsigned allowed = 0, held_back;
    assert_int_equal(dispatcher_roster_enter(roster, &site->store, "web1", &record, NULL), 0);
    while (allowed < 10000 &&
           dispatcher_roster_allow(roster, record, allowance, later_ns, &held_back))
        allowed++;
    return allowed;
}

/* The bucket holds over all sessions of the agent, and others have their own. */
static void agent_that_connects_too_often_is_slowed_down(void **state)
{
    struct fake_site *site = *state;
    assert_int_equal(use_up(site, DISPATCHER_ALLOW_SESSION), DISPATCHER_ALLOWED_SESSIONS);
    struct fake_agent *agent = fake_agent_connect(site, "web1", NULL);
    fake_agent_hello(agent, "web1");
    fake_agent_expect_error(agent, "the agent 'web1' connects too often");
    fake_agent_close(agent);
    fake_agent_close(fake_agent_online(site, "web10"));
}

/* Each opening reads the indexes of a whole chain. */
static void agent_that_has_images_opened_too_often_is_refused(void **state)
{
    struct fake_site *site = *state;
    const struct blx_message question = {
        .type = BLX_MESSAGE_DIGEST_REQUEST,
        .digest_request = {.blocks_per_digest = 1,
                           .fresh = true,
                           .extent_count = 1,
                           .extents = {{0, 1}}},
    };
    struct fake_agent *agent = fake_agent_online(site, "web1");
    fake_agent_write(agent, 0, 1, 0x11);
    fake_agent_wait_durable(agent, 1);
    fake_agent_send(agent, &question);
    fake_agent_expect(agent, BLX_MESSAGE_DIGESTS);
    assert_in_range(use_up(site, DISPATCHER_ALLOW_IMAGE), 128, 1024);
    fake_agent_send(agent, &question);
    fake_agent_expect_error(agent, "asks for a stored image too often");
    fake_agent_close(agent);
}

/* Each writes the volume's state file, and drops what waits for a checkpoint. The first one of a
 * session is free. */
static void agent_that_begins_passes_too_often_is_refused(void **state)
{
    struct fake_site *site = *state;
    assert_in_range(use_up(site, DISPATCHER_ALLOW_BEGIN), 128, 1024);
    struct fake_agent *agent = fake_agent_online(site, "web1");
    fake_agent_begin(agent, BLX_PASS_FULL);
    fake_agent_expect_error(agent, "begins passes too often");
    fake_agent_close(agent);
}

/* Each may write a file while a CA is rolled over. */
static void agent_that_changes_its_ca_too_often_is_refused(void **state)
{
    struct fake_site *site = *state;
    const struct blx_message renewed = {.type = BLX_MESSAGE_RENEWED};
    struct fake_agent *agent = fake_agent_online(site, "web1");
    fake_agent_send(agent, &renewed);
    fake_agent_write(agent, 0, 1, 0x11);
    fake_agent_wait_durable(agent, 1); /* it was taken */
    assert_in_range(use_up(site, DISPATCHER_ALLOW_RENEWED), 4, 64);
    fake_agent_send(agent, &renewed);
    fake_agent_expect_error(agent, "changes its CA too often");
    fake_agent_close(agent);
}

/* Standard error, where the log goes, is the file `path` from here on. Returns what it was. */
static int catch_log(const char *path)
{
    int before = dup(STDERR_FILENO), fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(before >= 0 && fd >= 0);
    assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    close(fd);
    return before;
}

static bool log_has(const char *path, const char *text)
{
    char line[2048];
    bool found = false;
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL)
        found = found || strstr(line, text) != NULL;
    fclose(file);
    return found;
}

static void agent_that_causes_too_many_lines_is_held_back(void **state)
{
    struct fake_site *site = *state;
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/log", site->store.data_dir);
    use_up(site, DISPATCHER_ALLOW_LINE);
    int before = catch_log(path);
    blx_log_set_level(BLX_LOG_INFO);
    struct fake_agent *agents[] = {fake_agent_online(site, "web1"),
                                   fake_agent_online(site, "web10")};
    for (size_t i = 0; i < 2; i++) { /* an acknowledgement comes after the line */
        fake_agent_write(agents[i], 0, 1, 0x11);
        fake_agent_wait_durable(agents[i], 1);
    }
    blx_log_set_level(BLX_LOG_ERROR);
    assert_int_equal(dup2(before, STDERR_FILENO), STDERR_FILENO);
    close(before);
    assert_true(log_has(path, "agent 'web10' connected from"));
    assert_false(log_has(path, "agent 'web1' connected from"));
    fake_agent_close(agents[0]);
    fake_agent_close(agents[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(session_refuses_another_agents_certificate),
        TEST(session_refuses_a_protocol_that_it_does_not_know),
        TEST(session_refuses_to_begin_without_hello),
        TEST(session_refuses_frames_out_of_order),
        TEST(session_refuses_frames_outside_the_volume),
        TEST(session_refuses_frames_of_a_volume_that_has_not_begun),
        TEST(session_refuses_a_volume_out_of_order),
        TEST(session_refuses_a_begin_of_an_unknown_volume),
        TEST(session_refuses_a_checkpoint_that_nobody_asked_for),
        TEST(session_refuses_a_checkpoint_of_frames_that_never_came),
        TEST(session_refuses_messages_of_the_other_direction),
        TEST(session_refuses_a_key_that_was_not_agreed_on),
        TEST(session_refuses_frames_without_the_key_that_was_named),
        TEST(session_leaves_no_folder_for_a_name_alone),
        TEST(session_refuses_flags_of_a_cut_that_were_not_agreed_on),
        TEST(agent_that_connects_too_often_is_slowed_down),
        TEST(agent_that_has_images_opened_too_often_is_refused),
        TEST(agent_that_begins_passes_too_often_is_refused),
        TEST(agent_that_changes_its_ca_too_often_is_refused),
        TEST(agent_that_causes_too_many_lines_is_held_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
