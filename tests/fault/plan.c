/* SPDX-License-Identifier: Apache-2.0 */
/* What a restore reads: a plan is whole or an error, and one that is given up keeps no checkpoint
 * from being removed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "store/view/chain_private.h"
#include "store/view/plan_private.h"
#include "store_state.h"
#include "sys.h"

struct planning {
    bool lossy; /* as it is made */
    struct blx_plan plan;
    struct blx_losses losses;
};

static void setup(void *arg)
{
    struct planning *planning = arg;
    bool lossy = planning->lossy;
    memset(planning, 0, sizeof(*planning));
    planning->lossy = lossy;
    planning->plan.losses = lossy ? &planning->losses : NULL;
}

static void teardown(void *arg)
{
    struct planning *planning = arg;
    blx_plan_done(&planning->plan);
    blx_losses_done(&planning->losses);
    struct blx_agent_lock lock = {.fd = -1};
    assert_int_equal(
        blx_agent_lock_open(blx_store_agent(&store_state.test.store, "web1"), &lock, NULL), 0);
    int rc = blx_agent_lock_alone(&lock, BLX_LOCK_CHAINS, 0, NULL);
    int held = blx_agent_lock_is_held(&lock, 1, UINT64_MAX >> 1, NULL);
    blx_agent_lock_close(&lock); /* first, or a test that fails makes the next one wait */
    assert_int_equal(rc, 0);
    assert_int_equal(held, 0);
}

static int run_chain(void *arg, struct blx_error *err)
{
    struct planning *planning = arg;
    return blx_plan_add_chain(blx_store_agent(&store_state.test.store, "web1"),
                              store_state.checkpoints[1], "vda", &planning->plan, err);
}

static int run_make(void *arg, struct blx_error *err)
{
    struct planning *planning = arg;
    return blx_plan_make(blx_store_agent(&store_state.test.store, "web1"),
                         store_state.checkpoints[1], "vda", &planning->plan, err);
}

static int run_segment(void *arg, struct blx_error *err)
{
    struct planning *planning = arg;
    char dir[PATH_MAX];
    planning->plan.block_shift = TEST_BLOCK_SHIFT;
    test_path(&store_state.test, dir, "agents/web1/volumes/vda");
    return blx_plan_add_segment(&planning->plan, dir, 1, STATE_BYTES, err);
}

static int run_walk(void *arg, struct blx_error *err)
{
    struct blx_chain chain = {0};
    int rc = blx_chain_walk(blx_store_agent(&store_state.test.store, "web1"),
                            store_state.checkpoints[1], "vda", BLX_CHAIN_WHOLE, &chain, err);
    (void)arg;
    if (rc == 0) {
        assert_int_equal(chain.segment_count, 2);
        assert_int_equal(chain.segments[0].number, 2);
        assert_int_equal(chain.segments[1].checkpoint, store_state.checkpoints[0]);
    }
    blx_chain_done(&chain);
    return rc;
}

/* The reason why a segment cannot be opened ends it. */
static int count_opened(void *arg, const struct blx_chain_segment *segment,
                        struct blx_segment_reader *reader, const struct blx_error *cause,
                        struct blx_error *err)
{
    size_t *opened = arg;
    (void)segment;
    if (reader == NULL)
        return blx_error_copy(err, cause->code, cause);
    assert_true(blx_segment_reader_index(reader)->count > 0);
    blx_segment_reader_close(reader);
    (*opened)++;
    return 0;
}

enum { OPENED = 100 }; /* more than are opened ahead */

static int run_opening(void *arg, struct blx_error *err)
{
    struct blx_chain_segment segments[OPENED];
    size_t opened = 0;
    char dir[PATH_MAX];
    (void)arg;
    test_path(&store_state.test, dir, "agents/web1/volumes/vda");
    for (size_t i = 0; i < OPENED; i++)
        segments[i] = (struct blx_chain_segment){.number = 1 + i % 2};
    int rc = blx_opening_run(dir, segments, OPENED, count_opened, &opened, err);
    assert_true(rc < 0 || opened == OPENED);
    return rc;
}

static void check_nothing(void *arg, int rc)
{
    (void)arg;
    (void)rc; /* run_walk() and run_opening() look at what they have */
}

static void a_chain_is_listed_and_opened_or_an_error(void **state)
{
    (void)state;
    static struct planning planning;
    fault_loop(&(struct fault_case){setup, run_walk, check_nothing, teardown, 0}, &planning);
    fault_loop(&(struct fault_case){setup, run_opening, check_nothing, teardown, 0}, &planning);
}

static uint64_t data_blocks(const uint8_t *image)
{
    static const uint8_t zero[TEST_BLOCK_BYTES];
    uint64_t count = 0;
    for (size_t at = 0; at < STATE_BYTES; at += TEST_BLOCK_BYTES)
        count += memcmp(image + at, zero, TEST_BLOCK_BYTES) != 0;
    return count;
}

/* All of it, or it says what is missing, or it is an error. */
static void check_make(void *arg, int rc)
{
    const struct planning *planning = arg;
    bool lacks = planning->losses.count > 0;
    assert_true(planning->lossy || !lacks);
    for (size_t i = 0; i < planning->losses.count; i++)
        assert_null(strstr(planning->losses.list[i].cause, "memory"));
    if (rc == 0 && !lacks)
        assert_int_equal(planning->plan.data_bytes >> TEST_BLOCK_SHIFT,
                         data_blocks(store_state.images[1]));
}

static void check_chain(void *arg, int rc)
{
    const struct blx_plan *plan = &((struct planning *)arg)->plan;
    if (rc == 0)
        assert_true(plan->segment_count == 2 || plan->losses != NULL);
    assert_true(rc < 0 || plan->size_bytes == STATE_BYTES);
}

static void check_segment(void *arg, int rc)
{
    const struct planning *planning = arg;
    if (rc == 0 && planning->losses.count == 0) {
        assert_int_equal(planning->plan.segment_count, 1);
        assert_true(planning->plan.index.count > 0);
    }
}

static void a_plan_is_whole_or_says_what_it_lacks(void **state)
{
    (void)state;
    static struct planning planning;
    for (int i = 0; i < 2; i++) {
        planning.lossy = i;
        fault_loop(&(struct fault_case){setup, run_chain, check_chain, teardown, 0}, &planning);
        fault_loop(&(struct fault_case){setup, run_segment, check_segment, teardown, 0}, &planning);
        fault_loop(&(struct fault_case){setup, run_make, check_make, teardown, 0}, &planning);
    }
}

enum { LOSSES = 20 }; /* more than the list has room for at first */

static int run_losses(void *arg, struct blx_error *err)
{
    struct planning *planning = arg;
    int rc = 0;
    (void)err;
    for (uint64_t i = 0; rc == 0 && i < LOSSES; i++)
        rc = blx_losses_add(&planning->losses, i * 8192, 4096, BLX_LOSS_ZEROS, "a test");
    return rc;
}

static void check_losses(void *arg, int rc)
{
    const struct blx_losses *losses = &((struct planning *)arg)->losses;
    assert_true(rc == 0 || rc == -ENOMEM);
    assert_int_equal(losses->count == LOSSES, rc == 0);
    for (size_t i = 0; i < losses->count; i++)
        assert_int_equal(losses->list[i].offset_bytes, i * 8192);
}

static void losses_are_noted_or_an_error(void **state)
{
    (void)state;
    static struct planning planning;
    fault_loop(&(struct fault_case){setup, run_losses, check_losses, teardown, 1}, &planning);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_is_listed_and_opened_or_an_error),
        cmocka_unit_test(a_plan_is_whole_or_says_what_it_lacks),
        cmocka_unit_test(losses_are_noted_or_an_error),
    };
    return cmocka_run_group_tests(tests, store_state_setup, store_state_teardown);
}
