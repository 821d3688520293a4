/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of the unit in a server that is tested: only those with the number count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proof/watch.h"

static const char number[] = "0123456789abcdef0123456789abcdef";

static struct proof_report read_lines(const char *format)
{
    char text[4096];
    struct proof_report report;
    size_t used = 0;
    for (const char *at = format; *at != '\0' && used + sizeof(number) < sizeof(text); at++) {
        if (*at == '#')
            used += (size_t)snprintf(text + used, sizeof(text) - used, "blxrep-test %s", number);
        else
            text[used++] = *at;
    }
    text[used] = '\0';
    proof_report_read(text, number, &report);
    return report;
}

static void whole_report_is_read(void **state)
{
    (void)state;
    struct proof_report report = read_lines("# up\n# state degraded\n# failed a.service\n"
                                            "# failed b.service\n# said ready\n# command 3\n"
                                            "# done\n# alive 1234\n");
    assert_true(report.up && report.done);
    assert_string_equal(report.state, "degraded");
    assert_string_equal(report.failed, "a.service, b.service");
    assert_string_equal(report.said, "ready");
    assert_int_equal(report.status, 3);
    assert_string_equal(report.answer, "1234");
}

static void lines_without_the_number_are_nobodys(void **state)
{
    (void)state;
    struct proof_report report = read_lines("blxrep-test 0123 up\nblxrep-test state running\n"
                                            "x# state running\n# state\n# donethat\n#done\n");
    assert_false(report.up || report.done);
    assert_string_equal(report.state, "");
    assert_int_equal(report.status, -1);
}

static void line_that_is_not_whole_waits(void **state)
{
    (void)state;
    struct proof_report report = read_lines("# up\n# state run");
    assert_true(report.up);
    assert_string_equal(report.state, "");
}

static void what_other_lines_push_out_is_remembered(void **state)
{
    (void)state;
    struct proof_report report = read_lines("# up\n# state degraded\n# failed a.service\n");
    struct proof_report later = read_lines("ack 1\n# command 0\n# done\n");
    proof_report_add(&report, &later);
    assert_true(report.up && report.done);
    assert_string_equal(report.state, "degraded");
    assert_string_equal(report.failed, "a.service");
    assert_int_equal(report.status, 0);
    later = read_lines("# alive 77\n");
    proof_report_add(&report, &later);
    assert_string_equal(report.answer, "77");
    assert_int_equal(report.status, 0);
}

static void waiting_for_a_network_is_no_failure(void **state)
{
    (void)state;
    struct proof_report report = read_lines("# failed systemd-networkd-wait-online.service\n"
                                            "# failed NetworkManager-wait-online.service\n");
    assert_string_equal(report.failed, "");
}

static void foreign_texts_are_bounded_and_cleaned(void **state)
{
    (void)state;
    char text[3000] = "blxrep-test 0123456789abcdef0123456789abcdef said \x1b[2J\x07hello\n";
    struct proof_report report;
    for (unsigned i = 0; i < 20; i++)
        strcat(text, "blxrep-test 0123456789abcdef0123456789abcdef failed "
                     "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz.service\n");
    proof_report_read(text, number, &report);
    assert_string_equal(report.said, "?[2J?hello");
    assert_true(strlen(report.failed) < sizeof(report.failed));
    assert_non_null(strstr(report.failed, "service, abc"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_report_is_read),
        cmocka_unit_test(lines_without_the_number_are_nobodys),
        cmocka_unit_test(line_that_is_not_whole_waits),
        cmocka_unit_test(what_other_lines_push_out_is_remembered),
        cmocka_unit_test(waiting_for_a_network_is_no_failure),
        cmocka_unit_test(foreign_texts_are_bounded_and_cleaned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
