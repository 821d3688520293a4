/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/units.h"
#include "dispatcher/threads.h"

static sem_t gate;
static atomic_uint runs;

static void wait_at_gate(void *arg)
{
    (void)arg;
    sem_wait(&gate);
    atomic_fetch_add(&runs, 1);
}

static void open_gate(unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        sem_post(&gate);
}

static int setup(void **state)
{
    static struct dispatcher_threads threads;
    atomic_store(&runs, 0);
    *state = &threads;
    return sem_init(&gate, 0, 0) != 0 || dispatcher_threads_init(&threads, 3) < 0;
}

static int teardown(void **state)
{
    dispatcher_threads_done(*state);
    return sem_destroy(&gate);
}

static void threads_run_and_are_waited_for(void **state)
{
    struct dispatcher_threads *threads = *state;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(dispatcher_threads_start(threads, wait_at_gate, NULL, NULL), 0);
    open_gate(3);
    assert_int_equal(dispatcher_threads_wait(threads, UINT64_MAX), 0);
    assert_int_equal(atomic_load(&runs), 3);
}

static void threads_are_refused_beyond_the_limit(void **state)
{
    struct dispatcher_threads *threads = *state;
    struct blx_error err = {0};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(dispatcher_threads_start(threads, wait_at_gate, NULL, NULL), 0);
    assert_int_equal(dispatcher_threads_start(threads, wait_at_gate, NULL, &err), -EAGAIN);
    assert_string_equal(err.message, "3 threads are running already, which is the limit");
    open_gate(3);
    assert_int_equal(dispatcher_threads_wait(threads, UINT64_MAX), 0);
    assert_int_equal(dispatcher_threads_start(threads, wait_at_gate, NULL, &err), 0);
    open_gate(1);
    assert_int_equal(dispatcher_threads_wait(threads, UINT64_MAX), 0);
}

static void threads_that_do_not_end_are_waited_for_until_the_deadline(void **state)
{
    struct dispatcher_threads *threads = *state;
    assert_int_equal(dispatcher_threads_start(threads, wait_at_gate, NULL, NULL), 0);
    assert_int_equal(dispatcher_threads_wait(threads, blx_clock_ns() + 20 * 1000000), -ETIMEDOUT);
    open_gate(1);
    assert_int_equal(dispatcher_threads_wait(threads, UINT64_MAX), 0);
}

static void threads_without_any_are_waited_for_at_once(void **state)
{
    assert_int_equal(dispatcher_threads_wait(*state, 0), 0);
}

enum { PAGE = 4096, DEEP = 16 };

/* Leaves its pages touched; returns the middle one. */
__attribute__((noinline)) static uint8_t *go_deep(void)
{
    volatile uint8_t deep[DEEP * PAGE];
    for (size_t i = 0; i < sizeof(deep); i += PAGE / 4)
        deep[i] = 1;
    return (uint8_t *)((uintptr_t)&deep[sizeof(deep) / 2] & ~(uintptr_t)(PAGE - 1));
}

static void trim_itself(void *arg)
{
    unsigned char *resident = arg;
    uint8_t *page = go_deep();
    mincore(page, PAGE, &resident[0]);
    dispatcher_thread_trim();
    mincore(page, PAGE, &resident[1]);
    go_deep(); /* it can be used again */
    mincore(page, PAGE, &resident[2]);
}

static void threads_give_back_what_their_stack_once_took(void **state)
{
    unsigned char resident[3] = {9, 9, 9};
    assert_int_equal(sysconf(_SC_PAGESIZE), PAGE);
    assert_int_equal(dispatcher_threads_start(*state, trim_itself, resident, NULL), 0);
    assert_int_equal(dispatcher_threads_wait(*state, UINT64_MAX), 0);
    assert_int_equal(resident[0] & 1, 1);
    assert_int_equal(resident[1] & 1, 0);
    assert_int_equal(resident[2] & 1, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(threads_run_and_are_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(threads_are_refused_beyond_the_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(threads_that_do_not_end_are_waited_for_until_the_deadline,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(threads_without_any_are_waited_for_at_once, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(threads_give_back_what_their_stack_once_took, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
