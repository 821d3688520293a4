/* SPDX-License-Identifier: Apache-2.0 */
/* Which addresses only this machine can reach. */
#include "page/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void only_loopback_needs_no_tls(void **state)
{
    static const char *const near[] = {"127.0.0.1:9480", "127.9.9.9:1", ":9480", "localhost:9480",
                                       "[::1]:9480"};
    static const char *const far[] = {"0.0.0.0:9480", "[::]:9480",          "10.0.0.1:9480",
                                      "128.0.0.1:1",  "backup.example:1",   "127.0.0.1.example:1",
                                      "[fe80::1]:1",  "localhost.example:1"};
    (void)state;
    for (size_t i = 0; i < sizeof(near) / sizeof(near[0]); i++)
        assert_true(page_address_is_loopback(near[i]));
    for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++)
        assert_false(page_address_is_loopback(far[i]));
}

static void a_browser_gets_a_host_and_a_port(void **state)
{
    char name[PAGE_HOST_BYTES];
    (void)state;
    page_address_name(":9480", name);
    assert_string_equal(name, "127.0.0.1:9480");
    page_address_name("[::1]:9480", name);
    assert_string_equal(name, "[::1]:9480");
    assert_string_equal(page_address_port("[::1]:9480"), "9480");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_loopback_needs_no_tls),
        cmocka_unit_test(a_browser_gets_a_host_and_a_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
