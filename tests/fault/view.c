/* SPDX-License-Identifier: Apache-2.0 */
/* The one reader of a checkpoint: it reads what is there or fails, and a failure leaves nothing
 * wrong in its cache and no checkpoint held. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "store/view/difference.h"
#include "store/view/frame_cache_private.h"
#include "store/view/image_private.h"
#include "store/view/stored_frame_private.h"
#include "store/view/stretch_private.h"
#include "store/view/sweep_private.h"
#include "store/view/volume_secret_private.h"
#include "store_state.h"
#include "sys.h"

struct viewing {
    struct blx_frame_cache *cache;
    struct blx_view *view;
    struct blx_image *image;
    struct blx_volume_secret secret;
    struct blx_stored_frame stored;
    struct blx_segment_reader *reader;
    struct blx_cached_frame *frame;
    struct blx_view_extent extent;
    struct blx_index index;
    uint64_t end_block;
    struct blx_stretch stretch;
    struct blx_sweep *sweep;
    struct blx_difference *difference;
    uint8_t content[STATE_BYTES];
};

static struct blx_agent_store web1(void)
{
    return blx_store_agent(&store_state.test.store, "web1");
}

static void setup(void *arg)
{
    struct viewing *viewing = arg;
    memset(viewing, 0, sizeof(*viewing));
    viewing->cache = blx_frame_cache_new(BLX_FRAME_CACHE_DEFAULT_BYTES);
    assert_non_null(viewing->cache);
}

static void check_nobody_holds(void)
{
    struct blx_agent_lock lock = {.fd = -1};
    assert_int_equal(blx_agent_lock_open(web1(), &lock, NULL), 0);
    int rc = blx_agent_lock_alone(&lock, BLX_LOCK_CHAINS, 0, NULL);
    int held = blx_agent_lock_is_held(&lock, 1, UINT64_MAX >> 1, NULL);
    blx_agent_lock_close(&lock); /* first, or a test that fails makes the next one wait */
    assert_int_equal(rc, 0);
    assert_int_equal(held, 0);
}

static void teardown(void *arg)
{
    struct viewing *viewing = arg;
    blx_sweep_free(viewing->sweep);
    blx_difference_close(viewing->difference);
    blx_stretch_done(&viewing->stretch);
    blx_index_done(&viewing->index);
    blx_view_close(viewing->view);
    blx_image_close(viewing->image);
    blx_frame_cache_free(viewing->cache);
    blx_stored_frame_done(&viewing->stored);
    blx_segment_reader_close(viewing->reader);
    check_nobody_holds();
}

static int run_open(void *arg, struct blx_error *err)
{
    struct viewing *viewing = arg;
    const struct blx_view_request request = {.agent = web1(),
                                             .checkpoint = store_state.checkpoints[1],
                                             .volume = "vda",
                                             .cache = viewing->cache};
    return blx_view_open(&request, &viewing->view, err);
}

static int run_secret(void *arg, struct blx_error *err)
{
    struct viewing *viewing = arg;
    return blx_volume_secret_find(web1(), store_state.checkpoints[1], "vda", NULL, &viewing->secret,
                                  err);
}

static void check_secret(void *arg, int rc)
{
    (void)rc;
    assert_null(blx_volume_secret_key(&((struct viewing *)arg)->secret));
}

static void setup_view(void *arg)
{
    setup(arg);
    assert_int_equal(run_open(arg, NULL), 0);
}

static int run_read(void *arg, struct blx_error *err)
{
    struct viewing *viewing = arg;
    return blx_view_read(viewing->view, viewing->content, STATE_BYTES, 0, err);
}

static void check_open(void *arg, int rc)
{
    struct viewing *viewing = arg;
    assert_int_equal(viewing->view != NULL, rc == 0);
    assert_int_not_equal(rc, -EBADMSG); /* a call that failed is no damage */
}

/* A read that failed leaves nothing wrong behind. */
static void check_read(void *arg, int rc)
{
    struct viewing *viewing = arg;
    if (rc < 0)
        assert_int_equal(run_read(arg, NULL), 0);
    assert_memory_equal(viewing->content, store_state.images[1], STATE_BYTES);
}

static void a_view_is_opened_and_read_or_an_error(void **state)
{
    (void)state;
    static struct viewing viewing;
    fault_loop(&(struct fault_case){setup, run_secret, check_secret, teardown, 0}, &viewing);
    fault_loop(&(struct fault_case){setup, run_open, check_open, teardown, 0}, &viewing);
    fault_loop(&(struct fault_case){setup_view, run_read, check_read, teardown, 0}, &viewing);
}

static int add_chain(void *arg, struct blx_plan *plan, struct blx_error *err)
{
    (void)arg;
    return blx_plan_add_chain(web1(), store_state.checkpoints[1], "vda", plan, err);
}

static unsigned sources_done;

static void source_done(void *arg)
{
    (void)arg;
    sources_done++;
}

static int run_source(void *arg, struct blx_error *err)
{
    struct viewing *viewing = arg;
    struct blx_view_source source = {
        .add = add_chain, .done = source_done, .cache = viewing->cache};
    sources_done = 0;
    return blx_view_open_source(&source, &viewing->view, err);
}

static int run_image(void *arg, struct blx_error *err)
{
    struct viewing *viewing = arg;
    struct blx_view_source source = {.add = add_chain, .done = source_done};
    sources_done = 0;
    return blx_image_open(&source, &viewing->image, err);
}

static void check_source(void *arg, int rc)
{
    struct viewing *viewing = arg;
    assert_int_equal(viewing->view != NULL || viewing->image != NULL, rc == 0);
    assert_int_equal(sources_done, rc < 0);
}

static void a_source_is_taken_over_in_any_case(void **state)
{
    (void)state;
    static struct viewing viewing;
    fault_loop(&(struct fault_case){setup, run_source, check_source, teardown, 0}, &viewing);
    fault_loop(&(struct fault_case){setup, run_image, check_source, teardown, 0}, &viewing);
}

/* A view of two windows, which has to plan the second one. */
static void setup_narrow(void *arg)
{
    struct viewing *viewing = arg;
    setup(arg);
    const struct blx_view_request request = {.agent = web1(),
                                             .checkpoint = store_state.checkpoints[1],
                                             .volume = "vda",
                                             .cache = viewing->cache,
                                             .max_entries = 2,
                                             .max_map_bytes = 1};
    assert_int_equal(blx_view_open(&request, &viewing->view, NULL), 0);
}

static int run_extent(void *arg, struct blx_error *err)
{
    struct viewing *viewing = arg;
    return blx_view_find_extent(viewing->view, STATE_BYTES - 1, &viewing->extent, err);
}

static void check_extent(void *arg, int rc)
{
    struct viewing *viewing = arg;
    assert_int_equal(viewing->extent.bytes, rc == 0 ? 1 : 0);
    assert_int_equal(run_read(arg, NULL), 0);
    assert_memory_equal(viewing->content, store_state.images[1], STATE_BYTES);
}

static void a_window_is_planned_or_an_error(void **state)
{
    (void)state;
    static struct viewing viewing;
    fault_loop(&(struct fault_case){setup_narrow, run_read, check_read, teardown, 0}, &viewing);
    fault_loop(&(struct fault_case){setup_narrow, run_extent, check_extent, teardown, 0}, &viewing);
}

/* The parts, one by one. */

static void setup_reader(void *arg)
{
    struct viewing *viewing = arg;
    char dir[PATH_MAX];
    setup(arg);
    test_path(&store_state.test, dir, "agents/web1/volumes/vda");
    assert_int_equal(blx_segment_reader_open(dir, 1, &viewing->reader, NULL), 0);
}

static const struct blx_index_entry *first_entry(const struct viewing *viewing)
{
    const struct blx_index_entry *entry = blx_segment_reader_index(viewing->reader)->entries;
    while (entry->zero)
        entry++;
    return entry;
}

static int run_fetch(void *arg, struct blx_error *err)
{
    struct viewing *viewing = arg;
    return blx_stored_frame_fetch(&viewing->stored, viewing->reader, first_entry(viewing), err);
}

static int run_frame(void *arg, struct blx_error *err)
{
    struct viewing *viewing = arg;
    return blx_stored_frame_read(&viewing->stored, viewing->reader, first_entry(viewing), NULL,
                                 err);
}

static void check_frame(void *arg, int rc)
{
    struct viewing *viewing = arg;
    assert_true(rc != -EBADMSG);
    if (rc < 0)
        assert_int_equal(run_frame(arg, NULL), 0);
    struct blx_stored_cursor cursor = {.frame = &viewing->stored.frame};
    assert_true(blx_stored_frame_holds(&cursor, first_entry(viewing)));
}

static int load(void *arg, struct blx_cached_content *content, struct blx_error *err)
{
    (void)arg;
    content->data.bytes = malloc(1);
    if (content->data.bytes == NULL)
        return blx_error_errno(err, -ENOMEM, "a test");
    content->data.size = 1;
    content->data_bytes = 1;
    return 0;
}

static int run_get(void *arg, struct blx_error *err)
{
    struct viewing *viewing = arg;
    const struct blx_frame_key key = {.segment = 1};
    return blx_frame_cache_get(viewing->cache, &key, load, NULL, &viewing->frame, err);
}

static void check_get(void *arg, int rc)
{
    struct viewing *viewing = arg;
    assert_int_equal(viewing->frame != NULL, rc == 0);
    assert_int_equal(blx_frame_cache_memory_bytes(viewing->cache) > 0, rc == 0);
    if (rc == 0)
        blx_frame_cache_put(viewing->cache, viewing->frame);
}

static void a_frame_is_read_and_cached_or_an_error(void **state)
{
    (void)state;
    static struct viewing viewing;
    fault_loop(&(struct fault_case){setup_reader, run_fetch, check_frame, teardown, 0}, &viewing);
    fault_loop(&(struct fault_case){setup_reader, run_frame, check_frame, teardown, 0}, &viewing);
    fault_loop(&(struct fault_case){setup, run_get, check_get, teardown, 0}, &viewing);
}

/* What goes in the plan's order. */

static int run_list(void *arg, struct blx_error *err)
{
    struct viewing *viewing = arg;
    return blx_view_list_data(viewing->view, 0, STATE_BLOCKS, &viewing->index, &viewing->end_block,
                              err);
}

static void check_list(void *arg, int rc)
{
    struct viewing *viewing = arg;
    assert_int_equal(viewing->end_block, rc == 0 ? STATE_BLOCKS : 0);
}

static int run_plan(void *arg, struct blx_error *err)
{
    struct viewing *viewing = arg;
    return blx_stretch_plan(&viewing->stretch, viewing->view, 0, STATE_BYTES, err);
}

static void check_plan(void *arg, int rc)
{
    struct viewing *viewing = arg;
    assert_int_equal(viewing->stretch.end_bytes, rc == 0 ? STATE_BYTES : 0);
}

static void setup_plan(void *arg)
{
    setup_view(arg);
    assert_int_equal(run_plan(arg, NULL), 0);
}

static int run_fill(void *arg, struct blx_error *err)
{
    struct viewing *viewing = arg;
    return blx_stretch_fill(&viewing->stretch, viewing->view, err);
}

/* A frame that the disk does not give leaves its blocks out, and no more. */
static void check_fill(void *arg, int rc)
{
    struct viewing *viewing = arg;
    uint64_t data_bytes = 0;
    if (rc < 0)
        return;
    size_t copied =
        blx_stretch_copy(&viewing->stretch, viewing->content, STATE_BYTES, 0, &data_bytes);
    assert_memory_equal(viewing->content, store_state.images[1], copied);
}

static int run_stored(void *arg, struct blx_error *err)
{
    struct viewing *viewing = arg;
    return blx_view_read_frame(viewing->view, &viewing->stretch.plan.index.entries[0],
                               &viewing->stored, err);
}

static void check_stored(void *arg, int rc)
{
    assert_true(rc != -EBADMSG);
    if (rc < 0)
        assert_int_equal(run_stored(arg, NULL), 0);
}

static void setup_sweep(void *arg)
{
    struct viewing *viewing = arg;
    const struct blx_sweep_limits limits = {.slack_bytes = STATE_BYTES};
    setup_view(arg);
    viewing->sweep = blx_sweep_new_limited(viewing->view, &limits);
    assert_non_null(viewing->sweep);
}

static int run_sweep(void *arg, struct blx_error *err)
{
    struct viewing *viewing = arg;
    return blx_sweep_read(viewing->sweep, viewing->content, STATE_BYTES, 0, err);
}

static void check_sweep(void *arg, int rc)
{
    struct viewing *viewing = arg;
    if (rc < 0)
        assert_int_equal(run_sweep(arg, NULL), 0);
    assert_memory_equal(viewing->content, store_state.images[1], STATE_BYTES);
}

static int run_difference(void *arg, struct blx_error *err)
{
    struct viewing *viewing = arg;
    const struct blx_difference_request request = {.agent = web1(),
                                                   .checkpoint = store_state.checkpoints[1],
                                                   .other = store_state.checkpoints[0],
                                                   .volume = "vda"};
    return blx_difference_open(&request, &viewing->difference, err);
}

static void check_difference(void *arg, int rc)
{
    struct viewing *viewing = arg;
    struct blx_error err = {0};
    assert_int_equal(viewing->difference != NULL, rc == 0);
    if (rc < 0)
        test_ok(run_difference(arg, &err), &err);
    assert_true(blx_difference_count(viewing->difference, 0, STATE_BYTES) > 0);
}

static void checkpoints_are_compared_or_an_error(void **state)
{
    (void)state;
    static struct viewing viewing;
    fault_loop(&(struct fault_case){setup, run_difference, check_difference, teardown, 0},
               &viewing);
}

static void a_stretch_is_read_or_an_error(void **state)
{
    (void)state;
    static struct viewing viewing;
    fault_loop(&(struct fault_case){setup_view, run_list, check_list, teardown, 0}, &viewing);
    fault_loop(&(struct fault_case){setup_view, run_plan, check_plan, teardown, 0}, &viewing);
    fault_loop(&(struct fault_case){setup_plan, run_fill, check_fill, teardown, 0}, &viewing);
    fault_loop(&(struct fault_case){setup_plan, run_stored, check_stored, teardown, 0}, &viewing);
    fault_loop(&(struct fault_case){setup_sweep, run_sweep, check_sweep, teardown, 0}, &viewing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_view_is_opened_and_read_or_an_error),
        cmocka_unit_test(checkpoints_are_compared_or_an_error),
        cmocka_unit_test(a_source_is_taken_over_in_any_case),
        cmocka_unit_test(a_window_is_planned_or_an_error),
        cmocka_unit_test(a_frame_is_read_and_cached_or_an_error),
        cmocka_unit_test(a_stretch_is_read_or_an_error),
    };
    return cmocka_run_group_tests(tests, store_state_setup, store_state_teardown);
}
