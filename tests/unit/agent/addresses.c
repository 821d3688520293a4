/* SPDX-License-Identifier: Apache-2.0 */
/* Which dispatcher's address is tried next. */
#include "agent/addresses.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void one_that_answers_is_kept_and_each_is_tried_before_a_wait(void **state)
{
    (void)state;
    struct agent_addresses addresses;
    agent_addresses_begin(&addresses, "a:1,b:2,c:3");
    assert_string_equal(addresses.current, "a:1");
    assert_int_equal(agent_addresses_turn(&addresses), AGENT_ADDRESSES_MORE);
    assert_string_equal(addresses.current, "b:2");
    agent_addresses_keep(&addresses);
    assert_string_equal(addresses.current, "b:2");
    /* Its session ended: a whole round begins there. */
    assert_int_equal(agent_addresses_turn(&addresses), AGENT_ADDRESSES_MORE);
    assert_string_equal(addresses.current, "c:3");
    assert_int_equal(agent_addresses_turn(&addresses), AGENT_ADDRESSES_MORE);
    assert_string_equal(addresses.current, "a:1");
    assert_int_equal(agent_addresses_turn(&addresses), AGENT_ADDRESSES_DONE);
    assert_string_equal(addresses.current, "b:2");
    assert_int_equal(agent_addresses_turn(&addresses), AGENT_ADDRESSES_MORE);
}

static void one_address_is_a_round_of_its_own(void **state)
{
    (void)state;
    struct agent_addresses addresses;
    agent_addresses_begin(&addresses, "a:1");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(agent_addresses_turn(&addresses), AGENT_ADDRESSES_DONE);
        assert_string_equal(addresses.current, "a:1");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_answers_is_kept_and_each_is_tried_before_a_wait),
        cmocka_unit_test(one_address_is_a_round_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
