/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/turns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/view/image.h"

enum { PLACES = 2, MANY = 7 };
static const uint64_t turn_ns = DISPATCHER_TURN_MS * UINT64_C(1000000);

static struct dispatcher_turns turns;
static struct dispatcher_turn all[MANY];

static int setup(void **state)
{
    (void)state;
    dispatcher_turns_init(&turns, PLACES * (uint64_t)BLX_IMAGE_MEMORY_BYTES + 5);
    for (size_t i = 0; i < MANY; i++)
        all[i] = (struct dispatcher_turn){.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        dispatcher_turns_leave(&turns, &all[i], 0);
        close(all[i].wake_fd);
    }
    dispatcher_turns_done(&turns);
    return 0;
}

static bool is_woken(size_t at)
{
    uint64_t count;
    return read(all[at].wake_fd, &count, sizeof(count)) == (ssize_t)sizeof(count);
}

static size_t count_held(void)
{
    size_t held = 0;
    for (size_t i = 0; i < MANY; i++)
        held += all[i].state == DISPATCHER_TURN_HELD;
    return held;
}

static void there_is_one_place_however_little_memory_there_is(void **state)
{
    (void)state;
    struct dispatcher_turns few;
    dispatcher_turns_init(&few, 1);
    assert_int_equal(few.places, 1);
    dispatcher_turns_done(&few);
    dispatcher_turns_init(&few, 0); /* half of the machine's */
    assert_true(few.places >= 1);
    dispatcher_turns_done(&few);
}

static void those_that_find_no_place_wait_in_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(dispatcher_turns_take(&turns, &all[i], 0),
                         i < PLACES ? DISPATCHER_TURN_HELD : DISPATCHER_TURN_WAITING);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(dispatcher_turns_place(&turns, &all[i]), i < PLACES ? 0 : i - PLACES + 1);
    /* Asking again changes nothing. */
    assert_int_equal(dispatcher_turns_take(&turns, &all[3], 0), DISPATCHER_TURN_WAITING);
    assert_int_equal(dispatcher_turns_place(&turns, &all[3]), 2);
    dispatcher_turns_leave(&turns, &all[3], 0); /* its session ended */
    assert_int_equal(dispatcher_turns_place(&turns, &all[4]), 2);
    dispatcher_turns_leave(&turns, &all[0], 0);
    assert_true(is_woken(2));
    assert_false(is_woken(3) || is_woken(4));
    assert_int_equal(all[2].state, DISPATCHER_TURN_HELD);
    assert_int_equal(dispatcher_turns_place(&turns, &all[4]), 1);
}

static void a_turn_is_over_only_if_others_wait(void **state)
{
    (void)state;
    dispatcher_turns_take(&turns, &all[0], 0);
    dispatcher_turns_take(&turns, &all[1], turn_ns / 2);
    assert_false(dispatcher_turns_is_over(&turns, &all[0], 100 * turn_ns));
    dispatcher_turns_take(&turns, &all[2], turn_ns / 2);
    assert_false(dispatcher_turns_is_over(&turns, &all[0], turn_ns - 1));
    assert_true(dispatcher_turns_is_over(&turns, &all[0], turn_ns));
    assert_false(dispatcher_turns_is_over(&turns, &all[1], turn_ns));
    assert_false(dispatcher_turns_is_over(&turns, &all[2], 100 * turn_ns)); /* it has none */
}

/* Each of them goes on whenever it may: all get the same time within a fifth, and no place is free
 * or given twice. */
static void all_of_them_get_about_the_same_time(void **state)
{
    (void)state;
    unsigned got[MANY] = {0};
    for (unsigned step = 0; step < 700; step++) {
        uint64_t now_ns = step * turn_ns;
        for (size_t i = 0; i < MANY; i++) {
            if (dispatcher_turns_is_over(&turns, &all[i], now_ns))
                dispatcher_turns_leave(&turns, &all[i], now_ns);
            (void)dispatcher_turns_take(&turns, &all[i], now_ns);
        }
        assert_int_equal(count_held(), PLACES);
        for (size_t i = 0; i < MANY; i++)
            got[i] += all[i].state == DISPATCHER_TURN_HELD;
    }
    for (size_t i = 0; i < MANY; i++)
        assert_in_range(got[i], 160, 240); /* 200 each */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_is_one_place_however_little_memory_there_is),
        cmocka_unit_test_setup_teardown(those_that_find_no_place_wait_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_turn_is_over_only_if_others_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(all_of_them_get_about_the_same_time, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
