/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An explorer of what can happen to an agent, a dispatcher and the stream between them: writes,
 * frames that arrive or not, acknowledgements that come or not, checkpoints, reconnects; and each
 * side is set back to an earlier state, or cloned and the copies take turns. The handshake decides
 * with the functions of stream_private.h, on real heads of ledgers.
 *
 * What must hold: when the handshake has decided, each block whose content differs from the
 * dispatcher's is marked, or will be compared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/session/stream_private.h"

enum { BLOCKS = 3, SLOTS = 2, DEPTH = 6, WALKS = 300000, WALK_STEPS = 40 };

/* A machine: what a snapshot with memory holds. */
struct machine {
    struct agent_ledger_head head;
    uint32_t disk[BLOCKS]; /* which write each block holds */
    bool marked[BLOCKS];   /* dirty or pending */
    bool sent[BLOCKS];     /* in flight */
};

struct store {
    struct blx_generation generation;
    uint64_t seq;
    uint32_t image[BLOCKS];
    blx_timestamp last;
};

struct world {
    struct machine machine, machines[SLOTS]; /* the one that runs, and snapshots or clones */
    struct store store, stores[SLOTS];
    bool connected;
};

/* Never set back: they are the universe's. */
static uint32_t writes, streams;
static blx_timestamp commits;
static uint64_t compared, resumed;

/* How the handshake decides. */
struct rule {
    bool fresh;            /* each session has a stream of its own */
    bool knows_checkpoint; /* whatever it is */
    const char *(*explain)(const struct agent_ledger_head *head,
                           const struct agent_stream_state *state);
};

static const struct rule *rule;

static const struct rule real = {.fresh = true, .explain = agent_stream_explain};

/* The volume was away, and another one knows of the checkpoints that were taken meanwhile. */
static const struct rule away = {
    .fresh = true, .knows_checkpoint = true, .explain = agent_stream_explain};

/* As it was: it knew the stream and what was acknowledged. */
static const char *explain_by_acks(const struct agent_ledger_head *head,
                                   const struct agent_stream_state *state)
{
    if (!blx_generation_equal(&state->generation, &head->stream))
        return "another stream";
    if (state->durable_seq < head->acked_seq || state->last_checkpoint < head->last_checkpoint)
        return "lost";
    return NULL;
}

static const struct rule before = {.fresh = false, .explain = explain_by_acks};

/* As it was, and it also knew what was sent; streams live on over sessions. */
static const char *explain_by_sent(const struct agent_ledger_head *head,
                                   const struct agent_stream_state *state)
{
    if (blx_generation_equal(&state->generation, &head->stream) &&
        state->durable_seq > head->sent_seq)
        return "never sent";
    return explain_by_acks(head, state);
}

static const struct rule half = {.fresh = false, .explain = explain_by_sent};

static struct blx_generation make_stream(void)
{
    struct blx_generation made = {{0}};
    streams++;
    memcpy(made.bytes, &streams, sizeof(streams));
    return made;
}

static void disconnect(struct world *world)
{
    for (int i = 0; i < BLOCKS; i++) {
        world->machine.marked[i] |= world->machine.sent[i];
        world->machine.sent[i] = false;
    }
    world->connected = false;
}

static void compare(struct world *world)
{
    for (int i = 0; i < BLOCKS; i++)
        world->machine.marked[i] |= world->machine.disk[i] != world->store.image[i];
}

/* False: a block that differs is neither marked nor compared. */
static bool connect(struct world *world)
{
    struct agent_ledger_head *head = &world->machine.head;
    struct store *store = &world->store;
    const struct agent_stream_state state = {.generation = store->generation,
                                             .durable_seq = store->seq,
                                             .last_checkpoint = store->last,
                                             .knows_checkpoint = rule->knows_checkpoint};
    disconnect(world);
    world->connected = true;
    struct blx_generation fresh = make_stream();
    if (rule->explain(head, &state) != NULL) {
        compare(world);
        compared++;
        agent_stream_begin(head, &fresh, &state);
    } else {
        for (int i = 0; i < BLOCKS; i++) {
            if (world->machine.disk[i] != store->image[i] && !world->machine.marked[i])
                return false;
        }
        resumed++;
        if (!rule->fresh) {
            head->sent_seq = head->acked_seq = store->seq;
            return true;
        }
        agent_stream_continue(head, &fresh, &state);
    }
    store->generation = head->stream;
    store->seq = 0;
    return true;
}

static void write_block(struct world *world, int block)
{
    world->machine.disk[block] = ++writes;
    world->machine.marked[block] = true;
}

enum fate { LOST, STORED, ACKED };

/* Sends every marked block, a frame for each. */
static void send_frames(struct world *world, enum fate fate)
{
    struct agent_ledger_head *head = &world->machine.head;
    for (int i = 0; i < BLOCKS; i++) {
        if (!world->machine.marked[i] || world->machine.sent[i])
            continue;
        world->machine.marked[i] = false;
        world->machine.sent[i] = true;
        head->sent_seq++;
        if (fate == LOST)
            continue;
        world->store.image[i] = world->machine.disk[i];
        world->store.seq = head->sent_seq;
        if (fate == ACKED) {
            head->acked_seq = head->sent_seq;
            world->machine.sent[i] = false;
        }
    }
}

/* Frames that were sent and lost, or not acknowledged, are followed by nothing in this session. */
static bool has_unacked(const struct world *world)
{
    return world->machine.head.acked_seq < world->machine.head.sent_seq;
}

static bool work(struct world *world, int block, enum fate fate)
{
    if ((!world->connected || has_unacked(world)) && !connect(world))
        return false;
    write_block(world, block);
    send_frames(world, fate);
    return true;
}

static bool commit(struct world *world, bool confirmed)
{
    if ((!world->connected || has_unacked(world)) && !connect(world))
        return false;
    send_frames(world, ACKED);
    world->machine.head.checkpoint_unconfirmed = true;
    world->store.last = ++commits;
    if (confirmed) {
        world->machine.head.last_checkpoint = world->store.last;
        world->machine.head.checkpoint_unconfirmed = false;
    } else {
        disconnect(world);
    }
    return true;
}

static void swap_machines(struct world *world, int slot)
{
    disconnect(world);
    struct machine other = world->machines[slot];
    world->machines[slot] = world->machine;
    world->machine = other;
    disconnect(world); /* the other one's session is no more either */
}

static void swap_stores(struct world *world, int slot)
{
    disconnect(world);
    struct store other = world->stores[slot];
    world->stores[slot] = world->store;
    world->store = other;
}

enum { ACTIONS = 16 };

static bool act(struct world *world, int action, int step)
{
    int block = step % BLOCKS;
    switch (action) {
    case 0:
    case 1:
    case 2:
        return work(world, block, (enum fate)action);
    case 3:
        write_block(world, block);
        return true;
    case 4:
    case 5:
        return commit(world, action == 4);
    case 6:
        return connect(world);
    case 7:
    case 8: /* clones take turns */
        swap_machines(world, action - 7);
        return true;
    case 9:
    case 10:
        swap_stores(world, action - 9);
        return true;
    case 11: /* a snapshot of either, and back to it */
        world->machines[0] = world->machine;
        return true;
    case 12:
        disconnect(world);
        world->machine = world->machines[0];
        disconnect(world);
        return true;
    case 13:
        world->stores[0] = world->store;
        return true;
    case 14:
        disconnect(world);
        world->store = world->stores[0];
        return true;
    default: /* and both at once */
        disconnect(world);
        world->machine = world->machines[1];
        disconnect(world);
        world->store = world->stores[1];
        return true;
    }
}

/* After a first sync that went well, with a snapshot of everything. */
static void make_world(struct world *world)
{
    memset(world, 0, sizeof(*world));
    writes = streams = 0;
    commits = 0;
    assert_true(connect(world));
    assert_true(work(world, 0, ACKED));
    assert_true(commit(world, true));
    for (int i = 0; i < SLOTS; i++) {
        world->machines[i] = world->machine;
        world->stores[i] = world->store;
    }
}

/* False: some path leads to a block that differs for ever. */
static bool explore(const struct world *from, int step)
{
    if (step == DEPTH) {
        struct world last = *from;
        return connect(&last);
    }
    for (int action = 0; action < ACTIONS; action++) {
        struct world world = *from;
        if (!act(&world, action, step) || !explore(&world, step + 1))
            return false;
    }
    return true;
}

static bool explore_all(const struct rule *with)
{
    struct world world;
    rule = with;
    compared = resumed = 0;
    make_world(&world);
    return explore(&world, 0);
}

static bool walk(unsigned *seed)
{
    struct world world;
    make_world(&world);
    for (int step = 0; step < WALK_STEPS; step++) {
        if (!act(&world, rand_r(seed) % ACTIONS, rand_r(seed) % BLOCKS))
            return false;
    }
    return connect(&world);
}

static bool walk_all(const struct rule *with)
{
    unsigned seed = 1;
    rule = with;
    compared = resumed = 0;
    for (int i = 0; i < WALKS; i++) {
        if (!walk(&seed))
            return false;
    }
    return true;
}

static void every_short_history_loses_nothing(void **state)
{
    (void)state;
    assert_true(explore_all(&real));
    print_message("all histories of %d steps: %llu times resumed, %llu times compared\n", DEPTH,
                  (unsigned long long)resumed, (unsigned long long)compared);
    assert_true(resumed > 0 && compared > 0);
}

static void long_histories_lose_nothing(void **state)
{
    (void)state;
    assert_true(walk_all(&real));
    print_message("%d histories of %d steps: %llu times resumed, %llu times compared\n", WALKS,
                  WALK_STEPS, (unsigned long long)resumed, (unsigned long long)compared);
}

/* The streams alone tell what was set back: a volume whose checkpoints another one knows may go on
 * by them. */
static void a_volume_that_was_away_loses_nothing(void **state)
{
    (void)state;
    assert_true(walk_all(&away));
}

/* The explorer finds what is there to find. */
static void rules_that_know_less_lose_blocks(void **state)
{
    (void)state;
    assert_false(explore_all(&before));
    assert_false(walk_all(&before));
    assert_false(explore_all(&half));
    assert_false(walk_all(&half));
}

/* Nothing was set back: a crash of either side, at any moment, costs no comparison. */
static void crashes_alone_compare_nothing(void **state)
{
    (void)state;
    unsigned seed = 2;
    rule = &real;
    for (int i = 0; i < WALKS / 10; i++) {
        struct world world;
        make_world(&world);
        compared = 0;
        for (int step = 0; step < WALK_STEPS; step++)
            assert_true(act(&world, rand_r(&seed) % 7, rand_r(&seed) % BLOCKS));
        assert_true(connect(&world));
        assert_int_equal(compared, 0);
    }
}

/* The rows of the table, one by one. */
static void each_row_of_the_table_is_as_it_says(void **state)
{
    (void)state;
    const struct blx_generation own = {{1}}, base = {{2}}, other = {{3}}, none = {{0}};
    struct agent_ledger_head head = {.stream = own,
                                     .stream_used = true,
                                     .acked_seq = 5,
                                     .sent_seq = 8,
                                     .base = base,
                                     .base_seq = 4,
                                     .last_checkpoint = 20261129000000};
    struct agent_stream_state said = {
        .generation = own, .durable_seq = 5, .last_checkpoint = 20261129000000};
    assert_null(agent_stream_explain(&head, &said));
    said.durable_seq = 8;
    assert_null(agent_stream_explain(&head, &said));
    said.durable_seq = 9;
    assert_non_null(strstr(agent_stream_explain(&head, &said), "has not sent"));
    said.durable_seq = 4;
    assert_non_null(strstr(agent_stream_explain(&head, &said), "lost frames"));
    said.generation = base;
    assert_non_null(strstr(agent_stream_explain(&head, &said), "lost frames"));
    head.acked_seq = 0;
    assert_null(agent_stream_explain(&head, &said));
    said.durable_seq = 3;
    assert_non_null(strstr(agent_stream_explain(&head, &said), "other frames"));
    said.generation = other;
    assert_non_null(strstr(agent_stream_explain(&head, &said), "other frames"));
    said.generation = none;
    said.durable_seq = 0;
    assert_non_null(agent_stream_explain(&head, &said));
    head.base = none; /* "none" is no base that "none" could equal */
    head.base_seq = 0;
    assert_non_null(agent_stream_explain(&head, &said));

    said = (struct agent_stream_state){
        .generation = own, .durable_seq = 8, .last_checkpoint = 20261128000000};
    assert_non_null(strstr(agent_stream_explain(&head, &said), "older"));
    said.last_checkpoint = 20261130000000;
    assert_non_null(strstr(agent_stream_explain(&head, &said), "newer checkpoint"));
    said.knows_checkpoint = true;
    assert_null(agent_stream_explain(&head, &said));
    said.durable_seq = 9; /* what another volume knows is no answer to the rest */
    assert_non_null(strstr(agent_stream_explain(&head, &said), "has not sent"));
    said.durable_seq = 8;
    said.knows_checkpoint = false;
    head.checkpoint_unconfirmed = true;
    assert_null(agent_stream_explain(&head, &said));
    head.stream_used = false;
    assert_non_null(agent_stream_explain(&head, &said));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row_of_the_table_is_as_it_says),
        cmocka_unit_test(every_short_history_loses_nothing),
        cmocka_unit_test(long_histories_lose_nothing),
        cmocka_unit_test(a_volume_that_was_away_loses_nothing),
        cmocka_unit_test(rules_that_know_less_lose_blocks),
        cmocka_unit_test(crashes_alone_compare_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
