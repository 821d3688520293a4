/* SPDX-License-Identifier: Apache-2.0 */
/* What the virtual machine is asked for arrives as it was, and bytes that are cut do not. */
#include "files/request.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct files_volume volumes[] = {{"/dev/vda", "vda"}, {"/dev/disk/by-id/x", "vdb"}};
static char first[] = "/etc/*.conf", second[] = "odd\xff\nname";
static char *paths[] = {first, second};

static void a_request_arrives_as_it_was(void **state)
{
    (void)state;
    const struct files_request request = {.task = FILES_COPY_PATHS,
                                          .device = "/dev/vg0/root",
                                          .volumes = volumes,
                                          .volume_count = 2,
                                          .paths = paths,
                                          .path_count = 2};
    struct files_request got;
    void *bytes;
    size_t count;
    assert_int_equal(files_request_encode(&request, &bytes, &count), 0);
    assert_int_equal(files_request_decode(bytes, count, &got), 0);
    assert_int_equal(got.task, FILES_COPY_PATHS);
    assert_string_equal(got.device, "/dev/vg0/root");
    assert_int_equal(got.volume_count, 2);
    assert_string_equal(got.volumes[1].device, "/dev/disk/by-id/x");
    assert_string_equal(got.volumes[1].name, "vdb");
    assert_int_equal(got.path_count, 2);
    assert_string_equal(got.paths[0], first);
    assert_string_equal(got.paths[1], second);
    files_request_done(&got);
    free(bytes);
}

static void without_device_and_paths_it_has_none(void **state)
{
    (void)state;
    const struct files_request request = {.task = FILES_LIST};
    struct files_request got;
    void *bytes;
    size_t count;
    assert_int_equal(files_request_encode(&request, &bytes, &count), 0);
    assert_int_equal(files_request_decode(bytes, count, &got), 0);
    assert_null(got.device);
    assert_int_equal(got.volume_count + got.path_count, 0);
    files_request_done(&got);
    free(bytes);
}

static void what_is_cut_or_no_request_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t count;
    } bad[] = {{"", 0},
               {"0", 1},
               {"0\0", 2},
               {"0\0"
                "0",
                3},
               {"0\0"
                "0\0",
                4},
               {"3\0"
                "0\0\0",
                5},
               {"0\0"
                "1\0\0a\0",
                7},
               {"0\0"
                "99999\0\0",
                9}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct files_request got;
        char copy[16] = {0};
        memcpy(copy, bad[i].bytes, bad[i].count);
        assert_int_equal(files_request_decode(copy, bad[i].count, &got), -EBADMSG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_arrives_as_it_was),
        cmocka_unit_test(without_device_and_paths_it_has_none),
        cmocka_unit_test(what_is_cut_or_no_request_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
