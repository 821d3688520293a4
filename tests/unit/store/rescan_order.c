/* SPDX-License-Identifier: Apache-2.0 */
#include "store/rescan_order.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "fixture.h"

static struct test_store test;

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

static void expect_order(const char *reason)
{
    char found[BLX_TEXT_BYTES] = "";
    struct blx_error err = {0};
    int rc = blx_rescan_order_look(blx_store_agent(&test.store, "web1"), found, &err);
    test_ok(rc, &err);
    assert_int_equal(rc, reason != NULL);
    if (reason != NULL)
        assert_string_equal(found, reason);
}

static void give(const char *reason)
{
    struct blx_error err = {0};
    test_ok(blx_rescan_order_give(blx_store_agent(&test.store, "web1"), reason, &err), &err);
}

static void order_stands_with_its_first_reason_until_it_is_done(void **state)
{
    (void)state;
    struct blx_error err = {0};
    expect_order(NULL);
    give("it is damaged");
    give("asked for by hand");
    expect_order("it is damaged");
    for (int i = 0; i < 2; i++)
        test_ok(blx_rescan_order_done(blx_store_agent(&test.store, "web1"), &err), &err);
    expect_order(NULL);
    give("asked for by hand");
    expect_order("asked for by hand");
}

static void order_is_of_one_agent(void **state)
{
    (void)state;
    char path[PATH_MAX], found[BLX_TEXT_BYTES];
    struct blx_error err = {0};
    test_path(&test, path, "agents/web10");
    assert_int_equal(mkdir(path, 0700), 0);
    give("it is damaged");
    assert_int_equal(blx_rescan_order_look(blx_store_agent(&test.store, "web10"), found, &err), 0);
    assert_true(blx_rescan_order_give(blx_store_agent(&test.store, "web2"), "why", &err) <
                0); /* never heard of */
    assert_non_null(strstr(err.message, "web2"));
}

/* A file made by hand is an order whatever is in it. */
static void order_need_not_make_sense(void **state)
{
    (void)state;
    static const char *const contents[] = {"", "two\nlines", "bell \a", NULL};
    static const char *const reasons[] = {"it was ordered", "two", "it was ordered",
                                          "it was ordered"};
    char path[PATH_MAX];
    test_path(&test, path, "agents/web1/rescan");
    for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
        FILE *file = fopen(path, "we");
        assert_non_null(file);
        for (int n = 0; contents[i] == NULL && n < 5000; n++)
            fputc('x', file);
        if (contents[i] != NULL)
            fputs(contents[i], file);
        fclose(file);
        expect_order(reasons[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(order_stands_with_its_first_reason_until_it_is_done, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(order_is_of_one_agent, setup, teardown),
        cmocka_unit_test_setup_teardown(order_need_not_make_sense, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
