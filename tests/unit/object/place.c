/* SPDX-License-Identifier: Apache-2.0 */
#include "object/place.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct example {
    const char *url, *region;
    bool virtual_host;
    const char *host, *path; /* of the key "a/b" */
};

static void test_hosts_and_paths(void **state)
{
    static const struct example examples[] = {
        {"https://host/bucket", NULL, false, "host", "/bucket/a/b"},
        {"http://127.0.0.1:9000/bucket/", NULL, false, "127.0.0.1:9000", "/bucket/a/b"},
        {"https://[::1]:9000/bucket/some/prefix//", NULL, false, "[::1]:9000",
         "/bucket/some/prefix/a/b"},
        {"https://host:1/bucket/p", NULL, true, "bucket.host:1", "/p/a/b"},
        {"s3://bucket/p", "eu-central-1", false, "bucket.s3.eu-central-1.amazonaws.com", "/p/a/b"},
        {"s3://with.dots", "eu-central-1", false, "s3.eu-central-1.amazonaws.com",
         "/with.dots/a/b"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        char url[128], region[32] = "", path[OBJECT_KEY_BYTES];
        struct object_place place;
        snprintf(url, sizeof(url), "%s", examples[i].url);
        struct blx_config_object_store config = {.url = url,
                                                 .virtual_host = examples[i].virtual_host};
        if (examples[i].region != NULL) {
            snprintf(region, sizeof(region), "%s", examples[i].region);
            config.region = region;
        }
        assert_int_equal(object_place_parse(&config, &place, NULL), 0);
        assert_string_equal(place.host, examples[i].host);
        assert_int_equal(object_place_path(&place, "a/b", path, sizeof(path), NULL), 0);
        assert_string_equal(path, examples[i].path);
    }
}

static void test_refusals(void **state)
{
    static const char *const urls[] = {
        "",
        "host/bucket",
        "ftp://host/bucket",
        "https://",
        "https://host",
        "https://host/",
        "https://host/ab",
        "https://host/UPPER",
        "https://host/bucket/a//b",
        "https://host/bucket/../b",
        "https://host/bucket/.",
        "https://host/bucket/a%20b",
        "https://host/bucket?x=1",
        "https://user:pass@host/bucket",
        "https://ho st/bucket",
        "s3://bucket",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        char url[128];
        struct object_place place;
        struct blx_error err = {0};
        snprintf(url, sizeof(url), "%s", urls[i]);
        struct blx_config_object_store config = {.url = url};
        assert_int_equal(object_place_parse(&config, &place, &err), -EINVAL);
        assert_true(err.message[0] != '\0');
    }
}

static void test_keys(void **state)
{
    static const char *const bad[] = {"/a", "a/", "a//b", "a/../b", "a b", "a?b", "\xc3\xa4"};
    char url[] = "https://host/bucket/p", path[OBJECT_KEY_BYTES];
    struct blx_config_object_store config = {.url = url};
    struct object_place place;
    (void)state;
    assert_int_equal(object_place_parse(&config, &place, NULL), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(object_place_path(&place, bad[i], path, sizeof(path), NULL), -EINVAL);
    assert_int_equal(object_place_path(&place, "", path, sizeof(path), NULL), 0);
    assert_string_equal(path, "/bucket");
    assert_int_equal(object_place_path(&place, "a/b", path, 12, NULL), -ENAMETOOLONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts_and_paths),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
