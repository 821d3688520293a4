/* SPDX-License-Identifier: Apache-2.0 */
/* lib/store's writer, call by call of a session. Whatever fails, the committed checkpoints restore,
 * what was synced is there, and the next writer goes on. */
#include <errno.h>
#include <string.h>
#include <stdlib.h>

#include "loop.h"
#include "store_state.h"
#include "sys.h"

struct call {
    struct store_state state;
    struct blx_volume_state found;
    unsigned acked;
    blx_timestamp timestamp;
    struct blx_agent_tail *tail; /* that the next call takes */
};

static void setup_store(void *arg)
{
    struct call *call = arg;
    memset(call, 0, sizeof(*call));
    store_state_init(&call->state);
}

static void setup_writer(void *arg)
{
    struct call *call = arg;
    setup_store(call);
    assert_int_equal(blx_agent_writer_open(blx_store_agent(&call->state.test.store, "web1"), NULL,
                                           &call->state.writer, NULL),
                     0);
    blx_agent_writer_set_digest_key(call->state.writer, test_digest_key());
}

static void setup_volume(void *arg)
{
    struct call *call = arg;
    setup_store(call);
    store_state_connect(&call->state);
}

/* After a session that left a tail, with frames after the checkpoint. */
static void setup_tail(void *arg)
{
    struct call *call = arg;
    setup_volume(call);
    call->tail = blx_agent_writer_make_tail(call->state.writer);
    assert_non_null(call->tail);
    blx_agent_writer_close(blx_take_ptr(call->state.writer));
}

/* The next frame is made and not yet appended. */
static void make_frame(struct call *call)
{
    const uint64_t blocks[] = {1, 5, 11};
    test_volume_write(&call->state.volume, 5, 55);
    test_volume_frame(&call->state.volume, blocks, 3);
}

static void setup_frame(void *arg)
{
    struct call *call = arg;
    setup_volume(call);
    assert_int_equal(blx_agent_writer_begin(call->state.writer, 0, BLX_PASS_RESUME, NULL), 0);
    make_frame(call);
}

/* The same after a further checkpoint, so that a segment must be opened for the frame. */
static void setup_first_frame(void *arg)
{
    struct call *call = arg;
    struct test_volume *volumes[] = {&call->state.volume};
    setup_volume(call);
    assert_int_equal(blx_agent_writer_begin(call->state.writer, 0, BLX_PASS_RESUME, NULL), 0);
    test_writer_commit(call->state.writer, volumes, 1, STATE_SECOND + 2);
    make_frame(call);
}

static int append(struct call *call, struct blx_error *err)
{
    return blx_agent_writer_append(call->state.writer, 0, call->state.volume.frame,
                                   call->state.volume.sent_bytes, err);
}

static void setup_appended(void *arg)
{
    setup_frame(arg);
    assert_int_equal(append(arg, NULL), 0);
}

static void teardown(void *arg)
{
    store_state_done(&((struct call *)arg)->state);
}

static void check(void *arg, int rc)
{
    (void)rc;
    store_state_check(&((struct call *)arg)->state);
}

static int run_volume(void *arg, struct blx_error *err)
{
    struct call *call = arg;
    return blx_agent_writer_add_volume(call->state.writer, &call->state.volume.info, &call->found,
                                       err);
}

static int run_open(void *arg, struct blx_error *err)
{
    struct call *call = arg;
    return blx_agent_writer_open(blx_store_agent(&call->state.test.store, "web1"), NULL,
                                 &call->state.writer, err);
}

/* The volume, too, is recovered with the tail's help. */
static int run_reopen(void *arg, struct blx_error *err)
{
    struct call *call = arg;
    int rc = blx_agent_writer_open_in(blx_store_agent(&call->state.test.store, "web1"),
                                      BLX_AGENT_FOLDER_THERE, blx_take_ptr(call->tail),
                                      &call->state.writer, err);
    if (rc == 0)
        blx_agent_writer_set_digest_key(call->state.writer, test_digest_key());
    return rc < 0 ? rc : run_volume(arg, err);
}

static void check_open(void *arg, int rc)
{
    assert_int_equal(((struct call *)arg)->state.writer != NULL, rc == 0);
    check(arg, rc);
}

static void check_volume(void *arg, int rc)
{
    struct call *call = arg;
    assert_int_equal(call->found.durable_seq, rc == 0 ? call->state.synced_seq : 0);
    check(arg, rc);
}

static int run_full(void *arg, struct blx_error *err)
{
    return blx_agent_writer_begin(((struct call *)arg)->state.writer, 0, BLX_PASS_FULL, err);
}

static int run_append(void *arg, struct blx_error *err)
{
    return append(arg, err);
}

/* After an error of the disk or of memory the writer takes nothing more. */
static void check_append(void *arg, int rc)
{
    struct call *call = arg;
    if (rc < 0) {
        assert_true(append(call, NULL) < 0 ||
                    blx_agent_writer_sync(call->state.writer, NULL, NULL, NULL) == 0);
    } else {
        assert_int_equal(blx_agent_writer_sync(call->state.writer, NULL, NULL, NULL), 0);
        call->state.synced_seq = call->state.volume.seq;
    }
    check(arg, rc);
}

static void note_ack(void *arg, uint32_t volume, uint64_t durable_seq)
{
    struct call *call = arg;
    assert_int_equal(volume, 0);
    assert_int_equal(durable_seq, call->state.volume.seq);
    call->acked++;
}

static int run_sync(void *arg, struct blx_error *err)
{
    return blx_agent_writer_sync(((struct call *)arg)->state.writer, note_ack, arg, err);
}

static void check_sync(void *arg, int rc)
{
    struct call *call = arg;
    assert_int_equal(call->acked, rc == 0 ? 1 : 0);
    if (rc == 0)
        call->state.synced_seq = call->state.volume.seq;
    check(arg, rc);
}

static int run_commit(void *arg, struct blx_error *err)
{
    struct call *call = arg;
    struct blx_checkpoint_message cut = {
        .cut_realtime_ns = (uint64_t)(STATE_SECOND + 2) * 1000000000,
        .volume_count = 1,
        .last_seq[0] = call->state.volume.seq,
    };
    const struct blx_commit_times times = {cut.cut_realtime_ns, cut.cut_realtime_ns};
    return blx_agent_writer_commit(call->state.writer, &cut, &times, &call->timestamp, err);
}

static int run_unreadable(void *arg, struct blx_error *err)
{
    static const struct blx_unreadable unreadable = {.extent_count = 1, .extents = {{1, 1}}};
    return blx_agent_writer_note_unreadable(((struct call *)arg)->state.writer, &unreadable, err);
}

/* A checkpoint that lacks something never comes without saying so. */
static void check_unreadable(void *arg, int rc)
{
    struct call *call = arg;
    if (rc == 0) {
        assert_int_equal(run_commit(arg, NULL), 0);
        assert_true(blx_manifest_unreadable_bytes(blx_agent_writer_get_last(call->state.writer)) >
                    0);
    }
    check(arg, rc);
}

static int run_damaged_commit(void *arg, struct blx_error *err)
{
    int rc = run_unreadable(arg, err);
    return rc < 0 ? rc : run_commit(arg, err);
}

static void check_damaged_commit(void *arg, int rc)
{
    struct call *call = arg;
    blx_timestamp latest = 0;
    struct blx_manifest manifest;
    assert_int_equal(
        blx_manifest_latest(blx_store_agent(&call->state.test.store, "web1"), &latest, NULL), 0);
    assert_int_equal(blx_manifest_read(blx_store_agent(&call->state.test.store, "web1"), latest,
                                       &manifest, NULL),
                     0);
    assert_int_equal(blx_manifest_unreadable_bytes(&manifest) > 0,
                     latest != call->state.checkpoints[1]);
    blx_manifest_done(&manifest);
    check(arg, rc);
}

/* The checkpoint exists if the call says so. If the call failed late it may exist, and then it is
 * right. */
static void check_commit(void *arg, int rc)
{
    struct call *call = arg;
    blx_timestamp latest = 0;
    assert_int_equal(call->timestamp != 0, rc == 0);
    assert_int_equal(
        blx_manifest_latest(blx_store_agent(&call->state.test.store, "web1"), &latest, NULL), 0);
    if (rc == 0)
        assert_int_equal(latest, call->timestamp);
    if (latest != call->state.checkpoints[1])
        test_restores_to(&call->state.test, latest, "vda", call->state.volume.image, STATE_BYTES);
    check(arg, rc);
}

static void run_loop(void (*setup)(void *), int (*run)(void *, struct blx_error *),
                     void (*check_it)(void *, int))
{
    struct call *call = calloc(1, sizeof(*call));
    assert_non_null(call);
    fault_loop(&(struct fault_case){setup, run, check_it, teardown, 0}, call);
    free(call);
}

static void a_writer_comes_whole_or_not_at_all(void **state)
{
    (void)state;
    run_loop(setup_store, run_open, check_open);
}

static void a_session_after_another_is_opened_whatever_fails(void **state)
{
    (void)state;
    run_loop(setup_tail, run_reopen, check_volume);
}

static void a_volume_is_recovered_whatever_failed_before(void **state)
{
    (void)state;
    run_loop(setup_writer, run_volume, check_volume);
}

/* A full pass drops the frames after the checkpoint, as it should: only the checkpoints count. */
static void check_full(void *arg, int rc)
{
    (void)rc;
    struct call *call = arg;
    call->state.synced_seq = 0;
    for (size_t i = 0; i < 2; i++)
        test_restores_to(&call->state.test, call->state.checkpoints[i], "vda",
                         call->state.images[i], STATE_BYTES);
}

static void a_full_pass_that_failed_leaves_the_checkpoints(void **state)
{
    (void)state;
    run_loop(setup_volume, run_full, check_full);
}

static void a_frame_that_failed_loses_no_earlier_one(void **state)
{
    (void)state;
    run_loop(setup_frame, run_append, check_append);
    run_loop(setup_first_frame, run_append, check_append);
}

static void only_what_is_durable_is_acknowledged(void **state)
{
    (void)state;
    run_loop(setup_appended, run_sync, check_sync);
}

static void a_commit_that_failed_is_whole_or_not_there(void **state)
{
    (void)state;
    run_loop(setup_appended, run_commit, check_commit);
}

static void a_damaged_checkpoint_says_so_or_is_not_there(void **state)
{
    (void)state;
    run_loop(setup_appended, run_unreadable, check_unreadable);
    run_loop(setup_appended, run_damaged_commit, check_damaged_commit);
}

int main(void)
{
    sys_use_fast();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_writer_comes_whole_or_not_at_all),
        cmocka_unit_test(a_session_after_another_is_opened_whatever_fails),
        cmocka_unit_test(a_volume_is_recovered_whatever_failed_before),
        cmocka_unit_test(a_full_pass_that_failed_leaves_the_checkpoints),
        cmocka_unit_test(a_frame_that_failed_loses_no_earlier_one),
        cmocka_unit_test(only_what_is_durable_is_acknowledged),
        cmocka_unit_test(a_commit_that_failed_is_whole_or_not_there),
        cmocka_unit_test(a_damaged_checkpoint_says_so_or_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
