/* SPDX-License-Identifier: Apache-2.0 */
#include "store_state.h"

#include <stdlib.h>
#include <string.h>

#include "sys.h"

static void make_checkpoint(struct store_state *state, size_t number)
{
    struct test_volume *volumes[] = {&state->volume};
    state->checkpoints[number] =
        test_writer_commit(state->writer, volumes, 1, STATE_SECOND + number);
    memcpy(state->images[number], state->volume.image, STATE_BYTES);
}

void store_state_connect(struct store_state *state)
{
    struct test_volume *volumes[] = {&state->volume};
    state->writer = test_writer_open(&state->test, volumes, 1, NULL);
}

static void disconnect(struct store_state *state)
{
    blx_agent_writer_close(state->writer);
    state->writer = NULL;
}

void store_state_init(struct store_state *state)
{
    memset(state, 0, sizeof(*state));
    test_store_init(&state->test);
    test_volume_init(&state->volume, "vda", STATE_BYTES, 7);
    for (uint64_t block = 0; block < STATE_BLOCKS - 3; block++)
        test_volume_write(&state->volume, block, block + 100);
    store_state_connect(state);
    assert_int_equal(blx_agent_writer_begin(state->writer, 0, BLX_PASS_FULL, NULL), 0);
    test_volume_send_all(&state->volume, state->writer, 5);
    make_checkpoint(state, 0);
    test_volume_send(&state->volume, state->writer, 2, 7);
    test_volume_send(&state->volume, state->writer, 4, 0);
    make_checkpoint(state, 1);
    test_volume_send(&state->volume, state->writer, 3, 8);
    test_volume_send(&state->volume, state->writer, 9, 9);
    assert_int_equal(blx_agent_writer_sync(state->writer, NULL, NULL, NULL), 0);
    state->synced_seq = state->volume.seq;
    disconnect(state);
}

void store_state_done(struct store_state *state)
{
    disconnect(state);
    test_volume_done(&state->volume);
    test_store_done(&state->test);
}

static void check_synced(struct store_state *state)
{
    struct test_volume *volumes[] = {&state->volume};
    struct blx_volume_state found;
    struct blx_agent_writer *writer = test_writer_open(&state->test, volumes, 1, &found);
    assert_true(blx_generation_equal(&found.generation, &state->volume.info.generation));
    assert_true(found.durable_seq >= state->synced_seq);
    blx_agent_writer_close(writer);
}

void store_state_check(struct store_state *state)
{
    disconnect(state);
    check_synced(state);
    for (size_t i = 0; i < 2; i++)
        test_restores_to(&state->test, state->checkpoints[i], "vda", state->images[i], STATE_BYTES);
}

struct store_state store_state;

int store_state_setup(void **state)
{
    (void)state;
    sys_use_fast();
    store_state_init(&store_state);
    return 0;
}

int store_state_teardown(void **state)
{
    (void)state;
    store_state_check(&store_state);
    store_state_done(&store_state);
    return 0;
}
