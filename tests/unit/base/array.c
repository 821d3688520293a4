/* SPDX-License-Identifier: Apache-2.0 */
/* array.h. fault/option shows what happens when memory is short. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/array.h"

enum { ENTRIES = 1000 };

static void an_array_keeps_its_entries_while_it_grows(void **state)
{
    (void)state;
    uint64_t *array = NULL;
    for (size_t count = 0; count < ENTRIES; count++) {
        assert_int_equal(blx_array_make_room(array, count), 0);
        array[count] = count * 3;
    }
    for (size_t i = 0; i < ENTRIES; i++)
        assert_int_equal(array[i], i * 3);
    free(array);
}

static void an_array_that_shrank_grows_again(void **state)
{
    (void)state;
    char(*names)[16] = NULL;
    size_t count = 0;
    for (int round = 0; round < 3; round++) {
        for (; count < 40; count++) {
            assert_int_equal(blx_array_make_room(names, count), 0);
            memset(names[count], 'a', sizeof(names[count]));
        }
        count = (size_t)round * 7;
    }
    free(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_array_keeps_its_entries_while_it_grows),
        cmocka_unit_test(an_array_that_shrank_grows_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
