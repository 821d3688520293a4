/* SPDX-License-Identifier: Apache-2.0 */
/* Frames in memory: the cache keeps to its bound, and frames that go give their memory to those
 * that come. */
#include "store/view/frame_cache_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CACHE_BYTES = 1 << 20, FRAME_BYTES = 128 << 10, FRAMES = 64 };

struct loading {
    size_t bytes;
    unsigned loads, reused; /* of data buffers, and of packed ones */
    bool fails;
};

static int load(void *arg, struct blx_cached_content *content, struct blx_error *err)
{
    struct loading *loading = arg;
    loading->loads++;
    loading->reused += content->data.size >= loading->bytes && content->packed.size > 0;
    if (content->packed.size == 0)
        content->packed =
            (struct blx_stored_bytes){.bytes = malloc(FRAME_BYTES), .size = FRAME_BYTES};
    if (loading->fails)
        return blx_error_set(err, -EBADMSG, "a test");
    if (content->data.size < loading->bytes) {
        free(content->data.bytes);
        content->data =
            (struct blx_stored_bytes){.bytes = malloc(loading->bytes), .size = loading->bytes};
    }
    memset(content->data.bytes, 1, loading->bytes);
    content->data_bytes = loading->bytes;
    return 0;
}

static int use(struct blx_frame_cache *cache, uint64_t number, struct loading *loading)
{
    const struct blx_frame_key key = {.frame_offset = number};
    struct blx_cached_frame *frame = NULL;
    int rc = blx_frame_cache_get(cache, &key, load, loading, &frame, NULL);
    if (rc == 0)
        blx_frame_cache_put(cache, frame);
    return rc;
}

static void a_frame_that_comes_has_the_memory_of_one_that_went(void **state)
{
    (void)state;
    struct loading loading = {.bytes = FRAME_BYTES};
    struct blx_frame_cache *cache = blx_frame_cache_new(CACHE_BYTES);
    assert_non_null(cache);
    for (uint64_t i = 0; i < FRAMES; i++) {
        assert_int_equal(use(cache, i, &loading), 0);
        assert_true(blx_frame_cache_memory_bytes(cache) <= CACHE_BYTES);
    }
    assert_int_equal(loading.loads, FRAMES);
    assert_true(loading.reused >= FRAMES - CACHE_BYTES / FRAME_BYTES - 2);
    blx_frame_cache_free(cache);
}

static void one_that_cannot_be_read_gives_its_memory_back(void **state)
{
    (void)state;
    struct loading loading = {.bytes = FRAME_BYTES, .fails = true};
    struct blx_frame_cache *cache = blx_frame_cache_new(CACHE_BYTES);
    assert_non_null(cache);
    for (uint64_t i = 0; i < FRAMES; i++)
        assert_int_equal(use(cache, i, &loading), -EBADMSG);
    assert_int_equal(blx_frame_cache_memory_bytes(cache), 0);
    loading.fails = false;
    assert_int_equal(use(cache, 0, &loading), 0);
    assert_int_equal(use(cache, 0, &loading), 0); /* it is there */
    assert_int_equal(loading.loads, FRAMES + 1);
    blx_frame_cache_free(cache);
}

static void memory_of_a_large_frame_counts_whatever_it_holds(void **state)
{
    (void)state;
    struct loading loading = {.bytes = FRAME_BYTES};
    struct blx_frame_cache *cache = blx_frame_cache_new(CACHE_BYTES);
    assert_non_null(cache);
    for (uint64_t i = 0; i < FRAMES; i++)
        assert_int_equal(use(cache, i, &loading), 0);
    loading.bytes = 1;
    for (uint64_t i = FRAMES; i < (uint64_t)100 * FRAMES; i++)
        assert_int_equal(use(cache, i, &loading), 0);
    assert_true(blx_frame_cache_memory_bytes(cache) <= CACHE_BYTES);
    blx_frame_cache_free(cache);
}

static void what_is_lent_is_nobody_elses(void **state)
{
    (void)state;
    struct loading loading = {.bytes = FRAME_BYTES};
    struct blx_frame_cache *cache = blx_frame_cache_new(CACHE_BYTES);
    assert_non_null(cache);
    for (uint64_t i = 0; i < FRAMES; i++)
        assert_int_equal(use(cache, i, &loading), 0);
    assert_int_equal(blx_frame_cache_spare_bytes(cache), CACHE_BYTES / 4 * 3);
    assert_true(blx_frame_cache_lend(cache));
    assert_true(blx_frame_cache_memory_bytes(cache) <= CACHE_BYTES / 4);
    assert_false(blx_frame_cache_lend(cache));
    for (uint64_t i = 0; i < FRAMES; i++) {
        assert_int_equal(use(cache, i, &loading), 0);
        assert_true(blx_frame_cache_memory_bytes(cache) <= CACHE_BYTES / 4);
    }
    blx_frame_cache_return(cache);
    for (uint64_t i = 0; i < FRAMES; i++)
        assert_int_equal(use(cache, i, &loading), 0);
    assert_true(blx_frame_cache_memory_bytes(cache) > CACHE_BYTES / 4);
    blx_frame_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_that_comes_has_the_memory_of_one_that_went),
        cmocka_unit_test(one_that_cannot_be_read_gives_its_memory_back),
        cmocka_unit_test(memory_of_a_large_frame_counts_whatever_it_holds),
        cmocka_unit_test(what_is_lent_is_nobody_elses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
