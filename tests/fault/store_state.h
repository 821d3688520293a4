/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store for the loops: the agent "web1" with the volume "vda", a full checkpoint, an incremental
 * one, and frames after it that were synced. Whatever failed, both checkpoints restore to what the
 * disk held, and the frames that were synced are there.
 */
#pragma once

#include "../unit/store/fixture.h"

enum {
    STATE_BLOCKS = 12,
    STATE_BYTES = STATE_BLOCKS * TEST_BLOCK_BYTES,
    STATE_SECOND = 1000000000, /* of the first checkpoint; the next ones follow by the second */
};

struct store_state {
    struct test_store test;
    struct test_volume volume;
    struct blx_agent_writer *writer; /* if a loop has one; closed by store_state_done() */
    blx_timestamp checkpoints[2];
    uint8_t images[2][STATE_BYTES];
    uint64_t synced_seq;
};

void store_state_init(struct store_state *state);
void store_state_done(struct store_state *state);

/* For a state that has everything except a writer: opens one and announces the volume. */
void store_state_connect(struct store_state *state);

/* Closes the writer and looks at everything as the next session and a restore do. */
void store_state_check(struct store_state *state);

/* The program's own state, and the group's setup and teardown for it; the teardown checks it. Disk
 * calls fail only if a loop makes them fail. */
extern struct store_state store_state;
int store_state_setup(void **state);
int store_state_teardown(void **state);
