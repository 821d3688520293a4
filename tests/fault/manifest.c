/* SPDX-License-Identifier: Apache-2.0 */
/* A manifest's bytes and file, from inside lib/store: the public functions are in store.c. It is
 * copied, read and replaced whole or not at all, and never called damaged for want of memory. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "store/checkpoint/manifest_codec_private.h"
#include "store/checkpoint/manifest_file_private.h"
#include "store_state.h"
#include "sys.h"

struct handling {
    struct blx_manifest manifest; /* the second checkpoint's, which lacks something */
    struct blx_manifest made;
    void *content; /* its bytes */
    size_t bytes;
    uint8_t *copy; /* of them */
    struct blx_manifest_folder folder;
};

static void setup(void *arg)
{
    struct handling *handling = arg;
    memset(handling, 0, sizeof(*handling));
    fault_poison(&handling->made, sizeof(handling->made));
    handling->folder.fd = -1;
    assert_int_equal(blx_manifest_read(blx_store_agent(&store_state.test.store, "web1"),
                                       store_state.checkpoints[1], &handling->manifest, NULL),
                     0);
    struct blx_manifest_volume *volume = &handling->manifest.volumes[0];
    free(volume->unreadable);
    volume->unreadable = calloc(1, sizeof(volume->unreadable[0]));
    assert_non_null(volume->unreadable);
    volume->unreadable[0] = (struct blx_extent){3, 2};
    volume->unreadable_count = 1;
}

static void teardown(void *arg)
{
    struct handling *handling = arg;
    blx_manifest_done(&handling->manifest);
    free(handling->content);
    free(handling->copy);
    blx_cleanup_fd(&handling->folder.fd);
}

static int run_encode(void *arg, struct blx_error *err)
{
    struct handling *handling = arg;
    return blx_manifest_encode(&handling->manifest, &handling->content, &handling->bytes, err);
}

static void check_encode(void *arg, int rc)
{
    struct handling *handling = arg;
    assert_int_equal(handling->content != NULL, rc == 0);
    assert_int_equal(handling->bytes != 0, rc == 0);
}

/* The result is what was asked for, or nothing was written. */
static void check_made(void *arg, int rc)
{
    struct handling *handling = arg;
    struct blx_manifest *made = &handling->made;
    assert_int_not_equal(rc, -EBADMSG);
    if (rc < 0) {
        fault_assert_poisoned(made, sizeof(*made));
        return;
    }
    assert_int_equal(made->timestamp, store_state.checkpoints[1]);
    assert_int_equal(made->volume_count, 1);
    assert_int_equal(made->volumes[0].segment_count, handling->manifest.volumes[0].segment_count);
    assert_int_equal(made->volumes[0].segments[0], handling->manifest.volumes[0].segments[0]);
    blx_manifest_done(made);
}

static void check_with_unreadable(void *arg, int rc)
{
    const struct handling *handling = arg;
    if (rc == 0)
        assert_int_equal(handling->made.volumes[0].unreadable[0].start_block, 3);
    check_made(arg, rc);
}

static int run_copy(void *arg, struct blx_error *err)
{
    struct handling *handling = arg;
    return blx_manifest_copy(&handling->manifest, &handling->made, err);
}

static void setup_encoded(void *arg)
{
    struct handling *handling = arg;
    setup(arg);
    assert_int_equal(run_encode(arg, NULL), 0);
    handling->copy = malloc(handling->bytes);
    assert_non_null(handling->copy);
    memcpy(handling->copy, handling->content, handling->bytes);
}

static int run_decode(void *arg, struct blx_error *err)
{
    struct handling *handling = arg;
    return blx_manifest_decode(handling->content, handling->bytes, &handling->made, err);
}

static void check_decode(void *arg, int rc)
{
    struct handling *handling = arg;
    assert_memory_equal(handling->content, handling->copy, handling->bytes);
    check_with_unreadable(arg, rc);
}

static int run_folder(void *arg, struct blx_error *err)
{
    return blx_manifest_folder_open(blx_store_agent(&store_state.test.store, "web1"),
                                    &((struct handling *)arg)->folder, err);
}

static void check_folder(void *arg, int rc)
{
    assert_int_equal(((struct handling *)arg)->folder.fd >= 0, rc == 0);
}

static void setup_folder(void *arg)
{
    setup(arg);
    assert_int_equal(run_folder(arg, NULL), 0);
}

static int run_read_in(void *arg, struct blx_error *err)
{
    struct handling *handling = arg;
    return blx_manifest_read_in(&handling->folder, store_state.checkpoints[1], &handling->made,
                                err);
}

static void a_manifest_is_made_whole_or_not_at_all(void **state)
{
    (void)state;
    struct handling handling;
    fault_loop(&(struct fault_case){setup, run_encode, check_encode, teardown, 0}, &handling);
    fault_loop(&(struct fault_case){setup_encoded, run_decode, check_decode, teardown, 0},
               &handling);
    fault_loop(&(struct fault_case){setup, run_copy, check_with_unreadable, teardown, 0},
               &handling);
    fault_loop(&(struct fault_case){setup, run_folder, check_folder, teardown, 0}, &handling);
    fault_loop(&(struct fault_case){setup_folder, run_read_in, check_made, teardown, 0}, &handling);
}

/* The checkpoint that is there is complete; the one that replaces it lacks something. */
static int run_replace(void *arg, struct blx_error *err)
{
    struct handling *handling = arg;
    return blx_manifest_replace(blx_store_agent(&store_state.test.store, "web1"),
                                &handling->manifest, err);
}

static uint32_t lacking(struct handling *handling)
{
    assert_int_equal(run_read_in(handling, NULL), 0);
    uint32_t count = handling->made.volumes[0].unreadable_count;
    blx_manifest_done(&handling->made);
    return count;
}

static void check_replace(void *arg, int rc)
{
    struct handling *handling = arg;
    assert_true(lacking(handling) == 1 || rc < 0);
    assert_int_equal(run_replace(arg, NULL), 0);
    assert_int_equal(lacking(handling), 1);
    handling->manifest.volumes[0].unreadable_count = 0;
    assert_int_equal(run_replace(arg, NULL), 0);
    assert_int_equal(lacking(handling), 0);
}

static void a_replaced_manifest_is_the_old_one_or_the_new_one(void **state)
{
    (void)state;
    struct handling handling;
    fault_loop(&(struct fault_case){setup_folder, run_replace, check_replace, teardown, 0},
               &handling);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_is_made_whole_or_not_at_all),
        cmocka_unit_test(a_replaced_manifest_is_the_old_one_or_the_new_one),
    };
    return cmocka_run_group_tests(tests, store_state_setup, store_state_teardown);
}
