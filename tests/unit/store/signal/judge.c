/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of a suspicious checkpoint, with figures alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "store/signal/judge.h"

#define MIB UINT64_C(1048576)

/* A server with 1000 MiB of data that packs. */
static struct blx_history_row make_row(uint64_t checkpoint, uint64_t hardened_mib,
                                       uint64_t replaced_mib)
{
    return (struct blx_history_row){.checkpoint = checkpoint,
                                    .change = {.data_bytes = 1200 * MIB,
                                               .hard_bytes = 200 * MIB,
                                               .changed_bytes = replaced_mib * MIB,
                                               .replaced_bytes = replaced_mib * MIB,
                                               .packed_before_bytes = replaced_mib * MIB / 4,
                                               .packed_after_bytes = replaced_mib * MIB,
                                               .hardened_bytes = hardened_mib * MIB}};
}

static void add(struct blx_history *history, struct blx_history_row row)
{
    history->rows[history->count++] = row;
}

static struct blx_signal judge(const struct blx_history *history, struct blx_history_row row,
                               enum blx_sensitivity sensitivity, enum blx_signal_answer answer)
{
    struct blx_signal signal;
    blx_signal_judge(history, &row, sensitivity, answer, &signal);
    return signal;
}

static void much_hardened_data_is_a_signal_and_little_is_not(void **state)
{
    (void)state;
    struct blx_history history = {.count = 0};
    struct blx_signal signal =
        judge(&history, make_row(5, 50, 60), BLX_SENSITIVITY_DEFAULT, BLX_SIGNAL_ANSWERED);
    assert_int_equal(signal.kind, BLX_SIGNAL_HARDENED);
    assert_int_equal(signal.begun, 5);
    assert_non_null(strstr(signal.reason, "50.0 MiB of data that packed well"));
    assert_non_null(strstr(signal.reason, "5 % of the data that packs"));
    assert_non_null(strstr(signal.reason, "never before"));
    signal = judge(&history, make_row(5, 3, 4), BLX_SENSITIVITY_DEFAULT, BLX_SIGNAL_ANSWERED);
    assert_int_equal(signal.kind, BLX_SIGNAL_NONE);
    assert_string_equal(signal.reason, "");
    /* Much of it, but a small share of what was replaced. */
    signal = judge(&history, make_row(5, 50, 500), BLX_SENSITIVITY_DEFAULT, BLX_SIGNAL_ANSWERED);
    assert_int_equal(signal.kind, BLX_SIGNAL_NONE);
}

static void sensitivities_differ_in_their_order(void **state)
{
    (void)state;
    const struct blx_history history = {.count = 0};
    const enum blx_sensitivity levels[] = {BLX_SENSITIVITY_LOW, BLX_SENSITIVITY_DEFAULT,
                                           BLX_SENSITIVITY_HIGH};
    const uint64_t noticed_mib[] = {60, 20, 4};
    for (size_t i = 0; i < 3; i++)
        for (size_t level = 0; level < 3; level++)
            assert_int_equal(judge(&history, make_row(5, noticed_mib[i], noticed_mib[i]),
                                   levels[level], BLX_SIGNAL_ANSWERED)
                                 .kind,
                             level >= i ? BLX_SIGNAL_HARDENED : BLX_SIGNAL_NONE);
}

static void what_is_usual_for_the_agent_is_calm(void **state)
{
    (void)state;
    struct blx_history history = {.count = 0};
    add(&history, make_row(1, 30, 30));
    while (history.count < 24) /* so that the two are no small parts of one thing */
        add(&history, make_row(history.count + 1, 0, 10));
    const struct blx_history_row row = make_row(50, 50, 60);
    assert_int_equal(judge(&history, row, BLX_SENSITIVITY_DEFAULT, BLX_SIGNAL_ANSWERED).kind,
                     BLX_SIGNAL_NONE);
    /* Four times of that is not. */
    assert_int_equal(
        judge(&history, make_row(50, 120, 120), BLX_SENSITIVITY_DEFAULT, BLX_SIGNAL_ANSWERED).kind,
        BLX_SIGNAL_HARDENED);
}

static void a_suspicious_checkpoint_is_no_example_until_a_person_says_so(void **state)
{
    (void)state;
    struct blx_history history = {.count = 0};
    add(&history, make_row(1, 50, 50));
    history.rows[0].suspicious = true;
    const struct blx_history_row row = make_row(5, 50, 60);
    assert_int_equal(judge(&history, row, BLX_SENSITIVITY_DEFAULT, BLX_SIGNAL_STANDS).kind,
                     BLX_SIGNAL_HARDENED);
    assert_int_equal(judge(&history, row, BLX_SENSITIVITY_DEFAULT, BLX_SIGNAL_ANSWERED).kind,
                     BLX_SIGNAL_NONE);
}

static void small_parts_add_up_and_the_first_of_them_is_told(void **state)
{
    (void)state;
    struct blx_history history = {.count = 0};
    struct blx_signal signal = {.kind = BLX_SIGNAL_NONE};
    for (uint64_t at = 1; at <= 10; at++)
        add(&history, make_row(at, 0, 20));
    uint64_t at = 11;
    for (; signal.kind == BLX_SIGNAL_NONE; at++) {
        struct blx_history_row row = make_row(at, 5, 8);
        signal = judge(&history, row, BLX_SENSITIVITY_DEFAULT, BLX_SIGNAL_ANSWERED);
        add(&history, row);
    }
    assert_int_equal(at - 11, 5); /* 25 MiB of 1000 */
    assert_int_equal(signal.kind, BLX_SIGNAL_SLOW);
    assert_int_equal(signal.begun, 11);
    assert_non_null(strstr(signal.reason, "over several checkpoints"));
}

static void new_data_that_does_not_pack_counts_if_it_is_very_much(void **state)
{
    (void)state;
    const struct blx_history history = {.count = 0};
    struct blx_history_row row = make_row(5, 0, 0);
    row.change.fresh_bytes = row.change.fresh_hard_bytes = 100 * MIB;
    assert_int_equal(judge(&history, row, BLX_SENSITIVITY_DEFAULT, BLX_SIGNAL_ANSWERED).kind,
                     BLX_SIGNAL_NONE);
    struct blx_signal signal = judge(&history, row, BLX_SENSITIVITY_HIGH, BLX_SIGNAL_ANSWERED);
    assert_int_equal(signal.kind, BLX_SIGNAL_FRESH);
    assert_non_null(strstr(signal.reason, "100.0 MiB of new data do not pack"));
    row.change.fresh_hard_bytes = 1300 * MIB; /* a disk that is filled */
    assert_int_equal(judge(&history, row, BLX_SENSITIVITY_HIGH, BLX_SIGNAL_ANSWERED).kind,
                     BLX_SIGNAL_NONE);
    row.change.fresh_hard_bytes = 600 * MIB;
    assert_int_equal(judge(&history, row, BLX_SENSITIVITY_DEFAULT, BLX_SIGNAL_ANSWERED).kind,
                     BLX_SIGNAL_FRESH);
    assert_int_equal(judge(&history, row, BLX_SENSITIVITY_LOW, BLX_SIGNAL_ANSWERED).kind,
                     BLX_SIGNAL_NONE);
}

static void a_full_history_and_the_largest_figures_are_judged(void **state)
{
    (void)state;
    struct blx_history history = {.count = 0};
    while (history.count < BLX_HISTORY_ROWS) {
        struct blx_history_row row = {.checkpoint = history.count + 1};
        memset(&row.change, 0xff, sizeof(row.change));
        add(&history, row);
    }
    struct blx_history_row row = {.checkpoint = 1000};
    memset(&row.change, 0xff, sizeof(row.change));
    for (unsigned level = 0; level < BLX_SENSITIVITIES; level++)
        judge(&history, row, level, BLX_SIGNAL_ANSWERED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(much_hardened_data_is_a_signal_and_little_is_not),
        cmocka_unit_test(sensitivities_differ_in_their_order),
        cmocka_unit_test(what_is_usual_for_the_agent_is_calm),
        cmocka_unit_test(a_suspicious_checkpoint_is_no_example_until_a_person_says_so),
        cmocka_unit_test(small_parts_add_up_and_the_first_of_them_is_told),
        cmocka_unit_test(new_data_that_does_not_pack_counts_if_it_is_very_much),
        cmocka_unit_test(a_full_history_and_the_largest_figures_are_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
