#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <semaphore.h>

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
    static struct blx_threads threads;
    atomic_store(&runs, 0);
    *state = &threads;
    return sem_init(&gate, 0, 0) != 0 || blx_threads_init(&threads, 3) < 0;
}

static int teardown(void **state)
{
    blx_threads_done(*state);
    return sem_destroy(&gate);
}

static void threads_run_and_are_waited_for(void **state)
{
    struct blx_threads *threads = *state;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(blx_threads_start(threads, wait_at_gate, NULL, NULL), 0);
    open_gate(3);
    assert_int_equal(blx_threads_wait(threads, UINT64_MAX), 0);
    assert_int_equal(atomic_load(&runs), 3);
}

static void threads_are_refused_beyond_the_limit(void **state)
{
    struct blx_threads *threads = *state;
    struct blx_error err = {0};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(blx_threads_start(threads, wait_at_gate, NULL, NULL), 0);
    assert_int_equal(blx_threads_start(threads, wait_at_gate, NULL, &err), -EAGAIN);
    assert_string_equal(err.message, "3 threads are running already, which is the limit");
    open_gate(3);
    assert_int_equal(blx_threads_wait(threads, UINT64_MAX), 0);
    assert_int_equal(blx_threads_start(threads, wait_at_gate, NULL, &err), 0);
    open_gate(1);
    assert_int_equal(blx_threads_wait(threads, UINT64_MAX), 0);
}

static void threads_that_do_not_end_are_waited_for_until_the_deadline(void **state)
{
    struct blx_threads *threads = *state;
    assert_int_equal(blx_threads_start(threads, wait_at_gate, NULL, NULL), 0);
    assert_int_equal(blx_threads_wait(threads, blx_clock_ns() + 20 * 1000000), -ETIMEDOUT);
    open_gate(1);
    assert_int_equal(blx_threads_wait(threads, UINT64_MAX), 0);
}

static void threads_without_any_are_waited_for_at_once(void **state)
{
    assert_int_equal(blx_threads_wait(*state, 0), 0);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
