/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store with one volume and a history of checkpoints, and what each of them must restore to.
 */
#pragma once

#include "fixture.h"
#include "store/prune/prune.h"
#include "store/prune/rewrite.h"

enum {
    HISTORY_BLOCKS = 96,
    HISTORY_BYTES = HISTORY_BLOCKS * TEST_BLOCK_BYTES - 512,
    HISTORY_CHECKPOINTS = 400,
};

struct history {
    struct test_store test;
    struct test_volume volume;
    struct blx_agent_writer *writer;
    uint64_t random;
    blx_timestamp timestamps[HISTORY_CHECKPOINTS];
    uint8_t *images[HISTORY_CHECKPOINTS]; /* owned; NULL: removed */
    size_t count;
};

/* A base is sent, and not committed yet. */
void history_init(struct history *history, uint64_t seed);
void history_done(struct history *history);

/* A new session. */
void history_begin(struct history *history, enum blx_pass pass);

/* Another state of some blocks, in one frame. */
void history_change(struct history *history);

/* A frame of up to 32 blocks that do not compress: large enough for a hole. */
void history_noise(struct history *history, uint64_t start, size_t count);

/* Checkpoints the volume as it is. */
void history_commit(struct history *history);

/* Some changes and a checkpoint, `count` times. */
void history_grow(struct history *history, size_t count);

/* The checkpoint number `at` is no more. */
void history_forget(struct history *history, size_t at);

/* Removes each but the newest with the probability `percent`. */
void history_prune(struct history *history, unsigned percent);

int test_prune(const struct test_store *test, const blx_timestamp *doomed, size_t count,
               struct blx_prune_report *report, struct blx_error *err);

int test_rewrite(const struct test_store *test, struct blx_rewrite_report *report,
                 struct blx_error *err);

void test_no_damage(const struct test_store *test);

/* Just those that were not removed are there, and each is what it was; nothing is damaged. */
void history_check(const struct history *history);
