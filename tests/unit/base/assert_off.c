/* SPDX-License-Identifier: Apache-2.0 */
#include "assert_off.h"

#undef BLX_ASSERTS
#include "base/assert.h"

static int evaluations;

static bool count_and_fail(void)
{
    evaluations++;
    return false;
}

/* -Wextra with -Werror shows that a variable which only an assert reads counts as used. */
int assert_off_evaluations(void)
{
    const int only_for_the_assert = 10;
    blx_assert(only_for_the_assert < 10);
    blx_assert(count_and_fail());
    blx_assert_held(NULL);
    blx_assert_unreachable();
    return evaluations;
}
