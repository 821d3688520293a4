/* SPDX-License-Identifier: Apache-2.0 */
/* A rescan as an agent sees it, over a real connection. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "fake_agent.h"
#include "store/rescan_order.h"
#include "wire/digest.h"

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

static blx_timestamp checkpoint(struct fake_site *site, struct fake_agent *agent)
{
    struct dispatcher_registry_waiter waiter;
    fake_site_ask(site, "web1", &waiter);
    blx_timestamp timestamp = fake_agent_checkpoint(agent);
    assert_true(fake_site_outcome(site, &waiter).ok);
    return timestamp;
}

/* Blocks 10 to 29 and 100 to 104, in pieces of `piece`. */
static struct blx_digest_request request_of(uint32_t piece, bool fresh)
{
    static uint64_t number = 40;
    return (struct blx_digest_request){
        .request = ++number,
        .fresh = fresh,
        .blocks_per_digest = piece,
        .first_block = 10,
        .extent_count = 2,
        .extents = {{0, 20}, {70, 5}},
    };
}

static void send_request(struct fake_agent *agent, const struct blx_digest_request *request)
{
    struct blx_message message = {.type = BLX_MESSAGE_DIGEST_REQUEST, .digest_request = *request};
    fake_agent_send(agent, &message);
}

/* What its digests are made with; NULL: its data. */
static const struct blx_volume_key *keys_of(const struct fake_agent *agent)
{
    if (agent->key != NULL)
        return agent->key;
    return blx_key_id_is_none(&agent->digest_keys.id) ? NULL : &agent->digest_keys;
}

static void add_keyed(const struct fake_agent *agent, struct blx_digester *digester, uint64_t start,
                      uint64_t count)
{
    struct blx_block_digester *blocks = NULL;
    uint8_t digest[BLX_BLOCK_DIGEST_BYTES];
    assert_int_equal(blx_block_digester_new(keys_of(agent), &blocks, NULL), 0);
    for (uint64_t block = start; block < start + count; block++) {
        assert_int_equal(blx_block_digest(blocks, block, agent->disk + block * FAKE_BLOCK_BYTES,
                                          FAKE_BLOCK_BYTES, digest, NULL),
                         0);
        assert_int_equal(blx_digester_add(digester, digest, 1, NULL), 0);
    }
    blx_block_digester_free(blocks);
}

static struct blx_digests digests_of_disk(const struct fake_agent *agent,
                                          const struct blx_digest_request *request)
{
    struct blx_digester *digester;
    struct blx_digests digests;
    assert_int_equal(blx_digester_new(&digester, NULL), 0);
    if (keys_of(agent) != NULL) {
        blx_digester_begin(digester, request, BLX_BLOCK_DIGEST_SHIFT, &digests);
        add_keyed(agent, digester, 10, 20);
        add_keyed(agent, digester, 100, 5);
    } else {
        blx_digester_begin(digester, request, 12, &digests);
        blx_digester_add(digester, agent->disk + 10 * FAKE_BLOCK_BYTES, 20, NULL);
        blx_digester_add(digester, agent->disk + 100 * FAKE_BLOCK_BYTES, 5, NULL);
    }
    assert_int_equal(blx_digester_end(digester, NULL), 0);
    blx_digester_free(digester);
    return digests;
}

/* Past acknowledgements, the last of which is remembered. */
static uint64_t acked_seq;

static struct blx_digests take_digests(struct fake_agent *agent)
{
    struct blx_message message;
    do {
        assert_int_equal(blx_conn_recv(agent->conn, FAKE_RECV_MS, &message, NULL), 0);
        if (message.type == BLX_MESSAGE_ACK)
            acked_seq = message.ack.durable_seq;
    } while (message.type == BLX_MESSAGE_ACK || message.type == BLX_MESSAGE_PING);
    assert_int_equal(message.type, BLX_MESSAGE_DIGESTS);
    return message.digests;
}

/* How many digests differ from those of the blocks that the agent has sent. */
static unsigned count_different(struct fake_agent *agent, uint32_t piece, bool fresh)
{
    struct blx_digest_request request = request_of(piece, fresh);
    send_request(agent, &request);
    struct blx_digests theirs = take_digests(agent), mine = digests_of_disk(agent, &request);
    assert_int_equal(theirs.request, request.request);
    assert_int_equal(theirs.count, mine.count);
    unsigned different = 0;
    for (uint32_t i = 0; i < mine.count; i++)
        different += !blx_digests_equal(&mine, &theirs, i);
    return different;
}

static void digests_are_those_of_checkpoint_and_later_frames(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    fake_agent_write(agent, 0, 64, 0xaa);
    checkpoint(*state, agent);
    fake_agent_write(agent, 12, 3, 0x11);
    fake_agent_write(agent, 101, 1, 0x12);
    assert_int_equal(count_different(agent, 8, true), 0);
    assert_int_equal(count_different(agent, 1, false), 0);
    assert_int_equal(acked_seq, agent->seq); /* although the segment was sealed on the way */
    fake_agent_close(agent);
}

static void flip_or_truncate(const struct fake_site *site, off_t offset, bool truncates)
{
    char path[256];
    uint8_t byte;
    snprintf(path, sizeof(path), "%s/agents/web1/volumes/vda/00000001.seg", site->data_dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    if (truncates) {
        assert_int_equal(ftruncate(fd, offset), 0);
    } else {
        assert_int_equal(pread(fd, &byte, 1, offset), 1);
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    }
    close(fd);
}

static struct fake_agent *online_with_digests(struct fake_site *site, const char *agent_id,
                                              const struct fake_agent *earlier)
{
    struct fake_agent *agent = fake_agent_connect(site, agent_id, earlier);
    agent->features = BLX_FEATURE_DIGESTS;
    fake_agent_greet(agent, agent_id);
    assert_int_equal(agent->welcome.features, BLX_FEATURE_DIGESTS);
    return agent;
}

/* The stored frames are damaged, and nobody notices, as nobody reads them. */
static void digests_that_came_with_frames_are_all_that_is_read(void **state)
{
    struct fake_site *site = *state;
    struct fake_agent *agent = online_with_digests(site, "web1", NULL);
    fake_agent_begin(agent, BLX_PASS_FULL);
    fake_agent_write(agent, 0, 64, 0xaa);
    checkpoint(site, agent);
    fake_agent_write(agent, 12, 3, 0x11);
    fake_agent_write(agent, 101, 1, 0x12);
    assert_int_equal(count_different(agent, 8, true), 0);
    flip_or_truncate(site, 200, false);
    assert_int_equal(count_different(agent, 1, true), 0);
    agent->disk[20 * FAKE_BLOCK_BYTES] ^= 1;
    agent->disk[102 * FAKE_BLOCK_BYTES] ^= 1; /* zero before */
    assert_int_equal(count_different(agent, 1, false), 2);
    fake_agent_close(agent);
}

/* An agent of before sent the frames; the same one, updated, goes on. */
static void frames_of_an_older_agent_are_compared_with_digests(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    fake_agent_write(agent, 0, 64, 0xaa);
    checkpoint(*state, agent);
    uint8_t *disk = malloc(FAKE_VOLUME_BYTES);
    assert_non_null(disk);
    memcpy(disk, agent->disk, FAKE_VOLUME_BYTES);
    struct fake_agent *next = online_with_digests(*state, "web1", NULL);
    memcpy(next->disk, disk, FAKE_VOLUME_BYTES);
    free(disk);
    fake_agent_begin(next, BLX_PASS_RESCAN);
    fake_agent_write(next, 12, 3, 0x11);
    assert_int_equal(count_different(next, 8, true), 0);
    assert_int_equal(count_different(next, 1, false), 0);
    /* And the other way: the update is taken back. */
    struct fake_agent *last = fake_agent_connect(*state, "web1", NULL);
    memcpy(last->disk, next->disk, FAKE_VOLUME_BYTES);
    fake_agent_greet(last, "web1");
    fake_agent_begin(last, BLX_PASS_RESCAN);
    fake_agent_write(last, 13, 1, 0x13);
    assert_int_equal(count_different(last, 1, true), 0);
    fake_agent_close(agent);
    fake_agent_close(next);
    fake_agent_close(last);
}

static uint32_t place_of(struct fake_site *site, const char *agent_id)
{
    struct blx_control_agent shown;
    struct dispatcher *dispatcher = &site->dispatcher;
    assert_int_equal(
        dispatcher_roster_describe(&dispatcher->roster, dispatcher->store, agent_id, &shown, NULL),
        0);
    return shown.rescan_place;
}

/* There is memory for one image only. */
static void a_rescan_waits_for_its_turn(void **state)
{
    struct fake_site *site = *state;
    site->dispatcher.turns.places = 1;
    struct fake_agent *first = fake_agent_online(site, "web1");
    struct fake_agent *second = online_with_digests(site, "web10", NULL);
    fake_agent_begin(second, BLX_PASS_FULL);
    fake_agent_write(first, 0, 64, 0xaa);
    fake_agent_write(second, 0, 64, 0xbb);
    fake_agent_wait_durable(second, 1);
    assert_int_equal(count_different(first, 1, true), 0);
    struct blx_digest_request requests[] = {request_of(8, true), request_of(1, false)};
    send_request(second, &requests[0]);
    send_request(second, &requests[1]);
    struct blx_message status = {.type = BLX_MESSAGE_STATUS, .status.state = BLX_AGENT_RESCAN};
    fake_agent_send(second, &status);
    for (unsigned looks = 0; place_of(site, "web10") != 1 && looks < 2000; looks++)
        usleep(10 * 1000);
    assert_int_equal(place_of(site, "web10"), 1);
    assert_int_equal(count_different(first, 1, false), 0); /* whose turn it still is */
    status.status.state = BLX_AGENT_LIVE;
    fake_agent_send(first, &status);
    for (size_t i = 0; i < 2; i++) {
        struct blx_digests theirs = take_digests(second);
        struct blx_digests mine = digests_of_disk(second, &requests[i]);
        assert_int_equal(theirs.request, requests[i].request);
        for (uint32_t at = 0; at < mine.count; at++)
            assert_true(blx_digests_equal(&mine, &theirs, at));
    }
    fake_agent_close(first);
    fake_agent_close(second);
}

/* An agent of ours asks for no more than it has places for answers. */
static void too_many_questions_end_the_session(void **state)
{
    struct fake_site *site = *state;
    site->dispatcher.turns.places = 1;
    struct fake_agent *first = fake_agent_online(site, "web1");
    struct fake_agent *second = fake_agent_online(site, "web10");
    fake_agent_write(first, 0, 64, 0xaa);
    assert_int_equal(count_different(first, 1, true), 0);
    for (int i = 0; i < 9; i++) {
        struct blx_digest_request request = request_of(8, i == 0);
        send_request(second, &request);
    }
    fake_agent_expect_error(second, "wait for an answer");
    fake_agent_close(first);
    fake_agent_close(second);
}

/* As if the agent had asked for hours. An hour ahead, so that nothing comes back meanwhile. */
static void use_up_answers(struct fake_site *site, const char *agent_id)
{
    const uint64_t later_ns = blx_clock_ns() + 3600 * BLX_NS_PER_S;
    const uint64_t all_ns = (uint64_t)DISPATCHER_ALLOWED_ANSWERS_S * BLX_NS_PER_S;
    struct dispatcher_roster *roster = &site->dispatcher.roster;
    struct dispatcher_roster_record *record;
    assert_int_equal(dispatcher_roster_enter(roster, &site->store, agent_id, &record, NULL), 0);
    assert_true(dispatcher_roster_allow_answer(roster, record, all_ns - BLX_NS_PER_S, later_ns));
    assert_false(dispatcher_roster_allow_answer(roster, record, 2 * BLX_NS_PER_S, later_ns));
}

static uint64_t ask_eight_times(struct fake_agent *agent)
{
    const uint64_t begun_ns = blx_clock_ns();
    struct blx_digest_request requests[8];
    for (size_t i = 0; i < 8; i++) {
        requests[i] = request_of(8, i == 0);
        send_request(agent, &requests[i]);
    }
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(take_digests(agent).request, requests[i].request);
    return blx_clock_ns() - begun_ns;
}

/* Nothing is refused: a disk whose tracking is doubtful all day is still compared. */
static void agent_that_asks_for_hours_gets_its_answers_slowly(void **state)
{
    struct fake_site *site = *state;
    struct fake_agent *agent = fake_agent_online(site, "web1");
    struct fake_agent *other = fake_agent_online(site, "web10");
    fake_agent_write(agent, 0, 64, 0xaa);
    fake_agent_write(other, 0, 64, 0xbb);
    ask_eight_times(agent);
    use_up_answers(site, "web1");
    assert_true(ask_eight_times(agent) >= 350 * BLX_NS_PER_MS);
    assert_int_equal(count_different(agent, 8, false), 0);
    /* Its other messages are not held up, and another session begins as slowly. */
    checkpoint(site, agent);
    fake_agent_close(agent);
    agent = fake_agent_online(site, "web1");
    fake_agent_write(agent, 0, 64, 0xaa);
    assert_true(ask_eight_times(agent) >= 350 * BLX_NS_PER_MS);
    fake_agent_close(agent);
    ask_eight_times(other);
    fake_agent_close(other);
}

static struct blx_volume_key key_of(uint8_t byte)
{
    struct blx_key key = {.secret = {byte}, .id = {{byte}}};
    struct blx_volume_key derived;
    assert_int_equal(blx_volume_key_derive(&key, "web1", "vda", &derived, NULL), 0);
    return derived;
}

static void digests_of_what_is_encrypted_are_made_without_its_key(void **state)
{
    const struct blx_volume_key key = key_of(7);
    struct fake_agent *agent = fake_agent_connect(*state, "web1", NULL);
    agent->key = &key;
    fake_agent_greet(agent, "web1");
    fake_agent_begin(agent, BLX_PASS_FULL);
    fake_agent_write(agent, 0, 64, 0xaa);
    checkpoint(*state, agent);
    fake_agent_write(agent, 12, 3, 0x11);
    fake_agent_write(agent, 101, 1, 0x12);
    assert_int_equal(count_different(agent, 8, true), 0);
    assert_int_equal(count_different(agent, 1, false), 0);
    agent->disk[20 * FAKE_BLOCK_BYTES] ^= 1;
    agent->disk[102 * FAKE_BLOCK_BYTES] ^= 1; /* zero before */
    assert_int_equal(count_different(agent, 1, false), 2);
    fake_agent_close(agent);
}

/* Its frames cannot be gone on from: everything comes again, and the agent is told why. */
static void another_key_is_told_to_send_everything(void **state)
{
    const struct blx_volume_key keys[] = {key_of(7), key_of(8)};
    struct fake_agent *agent = fake_agent_connect(*state, "web1", NULL);
    agent->key = &keys[0];
    fake_agent_greet(agent, "web1");
    fake_agent_begin(agent, BLX_PASS_FULL);
    fake_agent_write(agent, 0, 64, 0xaa);
    fake_agent_wait_durable(agent, 1);
    for (size_t i = 0; i < 2; i++) {
        struct fake_agent *next = fake_agent_connect(*state, "web1", agent);
        next->key = i == 0 ? &keys[1] : NULL;
        fake_agent_greet(next, "web1");
        assert_int_equal(next->state.image_bytes, 0);
        assert_true(blx_generation_is_none(&next->state.generation));
        assert_non_null(strstr(next->state.reason, i == 0 ? "key changed from 07" : "any more"));
        fake_agent_close(agent);
        agent = next;
    }
    fake_agent_close(agent);
}

/* FRESH opens the image again; without it an open one stays. */
static void later_frames_are_in_a_fresh_image(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    fake_agent_write(agent, 0, 64, 0xaa);
    assert_int_equal(count_different(agent, 8, true), 0);
    fake_agent_write(agent, 13, 1, 0xbb);
    assert_int_equal(count_different(agent, 1, false), 1);
    assert_int_equal(count_different(agent, 1, true), 0);
    fake_agent_write(agent, 14, 1, 0xcc);
    checkpoint(*state, agent);
    assert_int_equal(count_different(agent, 1, false), 0);
    fake_agent_close(agent);
}

static void status_of_another_state_lets_go_of_the_image(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    fake_agent_write(agent, 0, 64, 0xaa);
    assert_int_equal(count_different(agent, 8, true), 0);
    fake_agent_write(agent, 13, 1, 0xbb);
    struct blx_message status = {.type = BLX_MESSAGE_STATUS, .status.state = BLX_AGENT_RESCAN};
    fake_agent_send(agent, &status);
    assert_int_equal(count_different(agent, 1, false), 1);
    status.status.state = BLX_AGENT_LIVE;
    fake_agent_send(agent, &status);
    assert_int_equal(count_different(agent, 1, false), 0);
    fake_agent_close(agent);
}

static void another_generation_rescans_and_goes_on(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    fake_agent_write(agent, 0, 64, 0xaa);
    checkpoint(*state, agent);
    fake_agent_write(agent, 11, 1, 0xab);
    fake_agent_wait_durable(agent, agent->seq);
    struct fake_agent *again = fake_agent_connect(*state, "web1", NULL);
    memcpy(again->disk, agent->disk, sizeof(again->disk));
    fake_agent_close(agent);
    fake_agent_greet(again, "web1");
    assert_int_equal(again->state.image_bytes, FAKE_VOLUME_BYTES);
    fake_agent_begin(again, BLX_PASS_RESCAN);
    assert_int_equal(count_different(again, 8, true), 0);
    fake_agent_write(again, 12, 1, 0xac);
    checkpoint(*state, again);
    assert_int_equal(count_different(again, 1, true), 0);
    fake_agent_close(again);
}

static void requests_that_make_no_sense_end_the_session(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    struct blx_digest_request request = request_of(8, true);
    request.first_block = FAKE_VOLUME_BLOCKS - 94;
    send_request(agent, &request);
    fake_agent_expect_error(agent, "beyond the end");
    fake_agent_close(agent);
    agent = fake_agent_online(*state, "web1");
    request = request_of(8, true);
    request.volume = 1;
    send_request(agent, &request);
    fake_agent_expect_error(agent, "which has not begun");
    fake_agent_close(agent);
    agent = fake_agent_connect(*state, "web1", NULL);
    fake_agent_greet(agent, "web1");
    request = request_of(8, true);
    send_request(agent, &request);
    fake_agent_expect_error(agent, "which has not begun");
    fake_agent_close(agent);
}

static void damaged_blocks_count_as_different(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    fake_agent_write(agent, 10, 2, 0xaa);
    fake_agent_write(agent, 12, 20, 0xbb);
    checkpoint(*state, agent);
    flip_or_truncate(*state, 32 + 90, false);
    assert_int_equal(count_different(agent, 1, true), 2);
    assert_int_equal(count_different(agent, 8, false), 1);
    fake_agent_close(agent);
}

static void a_chain_that_cannot_be_read_leads_to_a_full_pass(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    fake_agent_write(agent, 10, 20, 0xaa);
    checkpoint(*state, agent);
    flip_or_truncate(*state, 80, true);
    struct blx_digest_request request = request_of(8, true);
    send_request(agent, &request);
    fake_agent_expect_error(agent, "is damaged");
    struct fake_agent *again = fake_agent_connect(*state, "web1", agent);
    fake_agent_close(agent);
    fake_agent_greet(again, "web1");
    assert_int_equal(again->state.image_bytes, 0);
    assert_true(blx_generation_is_none(&again->state.generation));
    fake_agent_close(again);
}

static void a_rescan_by_hand_reaches_the_agent(void **state)
{
    struct fake_site *site = *state;
    struct blx_error err = {0};
    assert_int_equal(dispatcher_registry_order_rescan(&site->dispatcher.registry, "web1", &err),
                     -ENOTCONN);
    struct fake_agent *agent = fake_agent_online(site, "web1");
    fake_agent_write(agent, 0, 4, 0xaa);
    fake_agent_wait_durable(agent, 1);
    struct blx_conn *conn = fake_site_control(site);
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_RESCAN,
                                  .control_rescan = {.agent_id = "web1"}};
    assert_int_equal(blx_conn_send(conn, &message, NULL), 0);
    assert_int_equal(blx_conn_recv(conn, FAKE_RECV_MS, &message, NULL), 0);
    assert_int_equal(message.type, BLX_MESSAGE_CONTROL_DONE);
    assert_true(message.control_done.ok);
    blx_conn_free(conn);
    message = fake_agent_expect(agent, BLX_MESSAGE_RESCAN_REQUEST);
    assert_string_equal(message.rescan_request.text, "asked for by hand");
    fake_agent_close(agent);
}

/* It is told to every session until the agent has begun to compare. */
static void an_order_stands_until_it_is_followed(void **state)
{
    struct fake_site *site = *state;
    struct blx_error err = {0};
    char reason[BLX_TEXT_BYTES];
    struct fake_agent *agent = fake_agent_online(site, "web1");
    fake_agent_write(agent, 0, 4, 0xaa);
    fake_agent_wait_durable(agent, 1);
    fake_agent_close(agent);
    assert_int_equal(blx_rescan_order_give(blx_store_agent(site->dispatcher.store, "web1"),
                                           "it is damaged", &err),
                     0);
    for (int session = 0; session < 2; session++) {
        agent = fake_agent_online(site, "web1");
        struct blx_message message = fake_agent_expect(agent, BLX_MESSAGE_RESCAN_REQUEST);
        assert_string_equal(message.rescan_request.text, "it is damaged");
        fake_agent_write(agent, 0, FAKE_VOLUME_BLOCKS, 0xbb);
        if (session == 1) {
            count_different(agent, 1, false); /* of a rescan that began before */
            assert_int_equal(blx_rescan_order_look(blx_store_agent(site->dispatcher.store, "web1"),
                                                   reason, &err),
                             1);
            count_different(agent, 1, true);
        }
        fake_agent_close(agent);
        assert_int_equal(
            blx_rescan_order_look(blx_store_agent(site->dispatcher.store, "web1"), reason, &err),
            session == 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(digests_are_those_of_checkpoint_and_later_frames),
        TEST(digests_that_came_with_frames_are_all_that_is_read),
        TEST(frames_of_an_older_agent_are_compared_with_digests),
        TEST(a_rescan_waits_for_its_turn),
        TEST(too_many_questions_end_the_session),
        TEST(agent_that_asks_for_hours_gets_its_answers_slowly),
        TEST(digests_of_what_is_encrypted_are_made_without_its_key),
        TEST(another_key_is_told_to_send_everything),
        TEST(later_frames_are_in_a_fresh_image),
        TEST(status_of_another_state_lets_go_of_the_image),
        TEST(another_generation_rescans_and_goes_on),
        TEST(requests_that_make_no_sense_end_the_session),
        TEST(damaged_blocks_count_as_different),
        TEST(a_chain_that_cannot_be_read_leads_to_a_full_pass),
        TEST(a_rescan_by_hand_reaches_the_agent),
        TEST(an_order_stands_until_it_is_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
