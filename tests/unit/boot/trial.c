/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a guest gets on under KVM, from what is seen of it. */
#include "boot/trial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define KERNEL UINT64_C(0xffffffff81000000)

static struct boot_trial trial;
static uint64_t now_ms;

static int setup(void **state)
{
    (void)state;
    trial = (struct boot_trial){0};
    now_ms = 1000;
    return 0;
}

static enum boot_verdict see(struct boot_sample sample)
{
    now_ms += 500;
    sample.running = true;
    return boot_trial_judge(&trial, &sample, now_ms);
}

static void a_kernel_that_moves_gets_on(void **state)
{
    (void)state;
    assert_int_equal(see((struct boot_sample){.program_counter = 0xea664}), BOOT_UNDECIDED);
    assert_int_equal(see((struct boot_sample){.program_counter = KERNEL}), BOOT_UNDECIDED);
    assert_int_equal(see((struct boot_sample){.program_counter = KERNEL}), BOOT_UNDECIDED);
    assert_int_equal(see((struct boot_sample){.program_counter = KERNEL + 4}), BOOT_GETS_ON);
    for (int i = 0; i < 100; i++) /* it is idle then */
        assert_int_equal(see((struct boot_sample){.program_counter = KERNEL}), BOOT_GETS_ON);
}

static void whoever_writes_gets_on(void **state)
{
    (void)state;
    assert_int_equal(see((struct boot_sample){.written_bytes = 512}), BOOT_GETS_ON);
}

/* As on a host whose KVM runs a BIOS at a crawl, and nothing more. */
static void one_that_stands_still_is_stuck(void **state)
{
    (void)state;
    enum boot_verdict verdict = BOOT_UNDECIDED;
    uint64_t counter = 0xea600, began_ms = now_ms;
    while (verdict == BOOT_UNDECIDED && now_ms < 100000)
        verdict = see((struct boot_sample){.program_counter = counter++});
    assert_int_equal(verdict, BOOT_STUCK);
    assert_true(now_ms - began_ms >= BOOT_TRIAL_STILL_MS);
    assert_true(now_ms - began_ms <= BOOT_TRIAL_STILL_MS + 1000);
}

static void one_that_reads_or_says_something_has_time(void **state)
{
    (void)state;
    uint64_t read = 0, said = 0;
    for (int i = 0; i < 200; i++)
        assert_int_equal(see((struct boot_sample){.read_bytes = read += 512}), BOOT_UNDECIDED);
    for (int i = 0; i < 200; i++)
        assert_int_equal(see((struct boot_sample){.read_bytes = read, .said_bytes = ++said}),
                         BOOT_UNDECIDED);
}

static void a_machine_that_does_not_run_is_stuck(void **state)
{
    (void)state;
    struct boot_sample sample = {.running = false, .read_bytes = 4096};
    assert_int_equal(boot_trial_judge(&trial, &sample, now_ms), BOOT_STUCK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_kernel_that_moves_gets_on, setup),
        cmocka_unit_test_setup(whoever_writes_gets_on, setup),
        cmocka_unit_test_setup(one_that_stands_still_is_stuck, setup),
        cmocka_unit_test_setup(one_that_reads_or_says_something_has_time, setup),
        cmocka_unit_test_setup(a_machine_that_does_not_run_is_stuck, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
