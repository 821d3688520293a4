/* SPDX-License-Identifier: Apache-2.0 */
/* The signal: measures, history, marks and automatic pins. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "loop.h"
#include "store/checkpoint/pin.h"
#include "store/signal/measure_private.h"
#include "store/signal/ratio_map_private.h"
#include "store/signal/signal.h"
#include "store_state.h"
#include "sys.h"

struct outputs {
    struct store_state state;
    struct blx_manifest manifest; /* of the newest checkpoint */
    struct blx_ratio_map map;
    struct blx_segment_reader *reader;
    struct blx_change change;
    struct blx_history history;
    struct blx_suspicion suspicion;
    struct blx_signal_outcome outcome;
    blx_timestamp *listed;
    size_t count;
    blx_timestamp pinned;
    enum blx_pin_result result;
};

static struct outputs outputs;

static struct blx_agent_store web1(const struct outputs *out)
{
    return blx_store_agent(&out->state.test.store, "web1");
}

static void make(void *arg)
{
    struct outputs *out = arg;
    struct blx_error err = {0};
    memset(out, 0, sizeof(*out));
    out->map.fd = -1;
    store_state_init(&out->state);
    test_ok(blx_manifest_read(web1(out), out->state.checkpoints[1], &out->manifest, &err), &err);
}

static void remove_all(void *arg)
{
    struct outputs *out = arg;
    blx_ratio_map_close(&out->map);
    blx_segment_reader_close(out->reader);
    blx_manifest_done(&out->manifest);
    free(out->listed);
    store_state_done(&out->state);
}

static void volume_dir(const struct outputs *out, char dir[PATH_MAX])
{
    test_path(&out->state.test, dir, "agents/web1/volumes/vda");
}

static int run_open(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    char dir[PATH_MAX];
    volume_dir(out, dir);
    return blx_ratio_map_open(dir, TEST_BLOCK_SHIFT, &out->map, err);
}

static void check_open(void *arg, int rc)
{
    const struct outputs *out = arg;
    assert_int_equal(out->map.fd >= 0, rc == 0);
}

static void make_map(void *arg)
{
    struct outputs *out = arg;
    struct blx_error err = {0};
    char dir[PATH_MAX];
    make(arg);
    test_ok(run_open(arg, &err), &err);
    volume_dir(out, dir);
    test_ok(blx_segment_reader_open(dir, out->manifest.volumes[0].segments[0], &out->reader, &err),
            &err);
    out->map.checkpoint = 1;
}

static int run_apply(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_ratio_map_apply(&out->map, out->reader, BLX_RATIO_FROM_HEADERS, STATE_BLOCKS,
                               &out->change, err);
}

static void check_apply(void *arg, int rc)
{
    const struct outputs *out = arg;
    assert_int_equal(out->change.changed_bytes > 0, rc == 0);
    assert_int_equal(out->map.checkpoint == 0, rc == 0 || out->map.checkpoint == 0);
}

static int run_stamp(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    int rc = blx_ratio_map_reset(&out->map, err);
    return rc == 0 ? blx_ratio_map_stamp(&out->map, out->manifest.timestamp, err) : rc;
}

static void check_stamp(void *arg, int rc)
{
    struct outputs *out = arg;
    struct blx_error err = {0};
    if (rc < 0)
        test_ok(run_stamp(arg, &err), &err);
    blx_ratio_map_close(&out->map);
    test_ok(run_open(arg, &err), &err);
    assert_int_equal(out->map.checkpoint, out->manifest.timestamp);
}

/* The second try has no map of the checkpoint before, whatever the first one left. */
static int run_measure(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_change_measure(web1(out), &out->manifest, &out->change, err);
}

static void check_measure(void *arg, int rc)
{
    struct outputs *out = arg;
    struct blx_error err = {0};
    assert_int_equal(out->change.changed_bytes > 0, rc == 0);
    struct blx_change first = out->change;
    test_ok(run_measure(arg, &err), &err);
    if (rc == 0)
        assert_memory_equal(&first, &out->change, sizeof(first));
    assert_int_equal(out->change.changed_bytes, out->manifest.volumes[0].changed_bytes);
}

static int run_take(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_signal_take(web1(out), &out->manifest, BLX_SENSITIVITY_HIGH, &out->outcome, err);
}

static void check_take(void *arg, int rc)
{
    struct outputs *out = arg;
    struct blx_error err = {0};
    if (rc < 0)
        test_ok(run_take(arg, &err), &err);
    assert_int_equal(out->outcome.suspicion.checkpoint, out->manifest.timestamp);
    test_ok(blx_history_read(web1(out), &out->history, &err), &err);
    assert_int_equal(out->history.count, 1);
}

static int run_history_add(void *arg, struct blx_error *err)
{
    const struct outputs *out = arg;
    const struct blx_history_row row = {.checkpoint = 7, .change = {.hardened_bytes = 5}};
    return blx_history_add(web1(out), &row, err);
}

static void make_history(void *arg)
{
    make(arg);
    assert_int_equal(run_history_add(arg, NULL), 0);
}

static int run_history_read(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_history_read(web1(out), &out->history, err);
}

static void check_history_add(void *arg, int rc)
{
    struct blx_error err = {0};
    if (rc < 0)
        test_ok(run_history_add(arg, &err), &err);
    struct outputs *out = arg;
    test_ok(run_history_read(arg, &err), &err);
    assert_int_equal(out->history.count, 1);
}

static void check_history_read(void *arg, int rc)
{
    const struct outputs *out = arg;
    assert_int_equal(out->history.count, rc < 0 ? 0 : 1);
}

static int run_mark(void *arg, struct blx_error *err)
{
    const struct outputs *out = arg;
    const struct blx_suspicion suspicion = {.checkpoint = out->state.checkpoints[1],
                                            .since = out->state.checkpoints[1],
                                            .kind = BLX_SIGNAL_HARDENED,
                                            .reason = "much"};
    return blx_suspicion_write(web1(out), &suspicion, err);
}

static void make_marked(void *arg)
{
    make(arg);
    assert_int_equal(run_mark(arg, NULL), 0);
}

static int run_mark_read(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_suspicion_read(web1(out), out->state.checkpoints[1], &out->suspicion, err);
}

static int run_find_newest(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_suspicion_find_newest(web1(out), &out->suspicion, err);
}

static void check_mark_read(void *arg, int rc)
{
    const struct outputs *out = arg;
    assert_int_equal(out->suspicion.checkpoint, rc < 0 ? 0 : out->state.checkpoints[1]);
}

static void check_mark(void *arg, int rc)
{
    struct blx_error err = {0};
    if (rc < 0)
        test_ok(run_mark(arg, &err), &err);
    test_ok(run_mark_read(arg, &err), &err);
}

static int run_mark_list(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_suspicion_list(web1(out), &out->listed, &out->count, err);
}

static void check_mark_list(void *arg, int rc)
{
    const struct outputs *out = arg;
    assert_int_equal(out->count, rc < 0 ? 0 : 1);
}

static int run_mark_remove(void *arg, struct blx_error *err)
{
    const struct outputs *out = arg;
    return blx_suspicion_remove_locked(web1(out), out->state.checkpoints[1], err);
}

static void check_mark_remove(void *arg, int rc)
{
    assert_int_equal(run_mark_read(arg, NULL), rc < 0 ? 0 : -ENOENT);
}

static int run_pin(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_pin_write_automatic(web1(out), out->state.checkpoints[0], "automatic: a test",
                                   &out->result, err);
}

static int run_find_pin(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_pin_find_automatic(web1(out), &out->pinned, NULL, err);
}

static void check_pin(void *arg, int rc)
{
    struct outputs *out = arg;
    struct blx_error err = {0};
    if (rc < 0)
        test_ok(run_pin(arg, &err), &err);
    test_ok(run_find_pin(arg, &err), &err);
    assert_int_equal(out->pinned, out->state.checkpoints[0]);
}

static void make_pinned(void *arg)
{
    make(arg);
    assert_int_equal(run_pin(arg, NULL), 0);
}

static void check_find_pin(void *arg, int rc)
{
    const struct outputs *out = arg;
    assert_int_equal(out->pinned, rc < 0 ? 0 : out->state.checkpoints[0]);
}

static void loop(void (*setup)(void *), int (*run)(void *, struct blx_error *),
                 void (*check)(void *, int))
{
    fault_loop(&(struct fault_case){setup, run, check, remove_all, 0}, &outputs);
}

static void a_map_is_opened_changed_and_stamped(void **state)
{
    (void)state;
    loop(make, run_open, check_open);
    loop(make_map, run_apply, check_apply);
    loop(make_map, run_stamp, check_stamp);
}

static void a_measure_that_failed_is_right_the_next_time(void **state)
{
    (void)state;
    loop(make, run_measure, check_measure);
    loop(make, run_take, check_take);
}

static void rows_of_the_history_are_whole_or_not_there(void **state)
{
    (void)state;
    loop(make, run_history_add, check_history_add);
    loop(make_history, run_history_read, check_history_read);
}

static void marks_are_whole_or_not_there(void **state)
{
    (void)state;
    loop(make, run_mark, check_mark);
    loop(make_marked, run_mark_read, check_mark_read);
    loop(make_marked, run_find_newest, check_mark_read);
    loop(make_marked, run_mark_list, check_mark_list);
    loop(make_marked, run_mark_remove, check_mark_remove);
}

static void an_automatic_pin_is_made_and_found(void **state)
{
    (void)state;
    loop(make, run_pin, check_pin);
    loop(make_pinned, run_find_pin, check_find_pin);
}

int main(void)
{
    sys_use_fast();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_is_opened_changed_and_stamped),
        cmocka_unit_test(a_measure_that_failed_is_right_the_next_time),
        cmocka_unit_test(rows_of_the_history_are_whole_or_not_there),
        cmocka_unit_test(marks_are_whole_or_not_there),
        cmocka_unit_test(an_automatic_pin_is_made_and_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
