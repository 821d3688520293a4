/* SPDX-License-Identifier: Apache-2.0 */
#include "store/pause.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "fixture.h"

static struct test_store test;
static const blx_timestamp noon = 20261122120000, later = 20261122130000;

static int setup(void **state)
{
    (void)state;
    char path[PATH_MAX];
    struct blx_error err = {0};
    test_store_init(&test);
    test_path(&test, path, "agents/web1");
    test_ok(blx_mkdir_parents(path, 0700, &err), &err);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_store_done(&test);
    return 0;
}

static blx_timestamp look(void)
{
    struct blx_error err = {0};
    blx_timestamp since = 4711;
    int rc = blx_pause_look(blx_store_agent(&test.store, "web1"), &since, &err);
    test_ok(rc, &err);
    assert_int_equal(rc, since != 0);
    return since;
}

static void pause_stands_with_its_first_time_until_it_ends(void **state)
{
    (void)state;
    struct blx_error err = {0};
    assert_int_equal(look(), 0);
    test_ok(blx_pause_begin(blx_store_agent(&test.store, "web1"), noon, &err), &err);
    test_ok(blx_pause_begin(blx_store_agent(&test.store, "web1"), later, &err), &err);
    assert_int_equal(look(), noon);
    for (int i = 0; i < 2; i++)
        test_ok(blx_pause_end(blx_store_agent(&test.store, "web1"), &err), &err);
    assert_int_equal(look(), 0);
}

static void whatever_the_file_says_it_is_a_pause(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "x", "20261322120000\n",
                                        "20261122120000 and so on, for long"};
    char path[PATH_MAX];
    test_path(&test, path, "agents/web1/paused");
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(blx_file_replace(path, texts[i], strlen(texts[i]), 0644, NULL), 0);
        assert_int_equal(look(), 19700101000000);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pause_stands_with_its_first_time_until_it_ends),
        TEST(whatever_the_file_says_it_is_a_pause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
