/* SPDX-License-Identifier: Apache-2.0 */
/* The writer's work on a volume's folder, function by function: its state file, its open segment,
 * the segments that no checkpoint has yet. Lost frames are never taken for received ones. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop.h"
#include "store/receive/agent_writer_private.h"
#include "store/receive/received_segments_private.h"
#include "store_state.h"
#include "sys.h"

struct handling {
    bool damaged; /* as it is made: the first uncommitted segment is */
    struct store_state state;
    struct blx_received_volume *volume; /* of the state's writer */
    char dir[PATH_MAX];
    struct blx_received_volume fresh; /* one that is to be recovered; borrows `dir` */
    struct blx_volume_file file;
    struct blx_received_listing listing;
};

static struct handling handling;

static void setup_store(void *arg)
{
    struct handling *handle = arg;
    bool damaged = handle->damaged;
    memset(handle, 0, sizeof(*handle));
    handle->damaged = damaged;
    fault_poison(&handle->file, sizeof(handle->file));
    store_state_init(&handle->state);
}

/* The session goes on with the two frames of the open segment. */
static void setup_volume(void *arg)
{
    struct handling *handle = arg;
    setup_store(arg);
    store_state_connect(&handle->state);
    assert_int_equal(blx_agent_writer_begin(handle->state.writer, 0, BLX_PASS_RESUME, NULL), 0);
    handle->volume = handle->state.writer->volumes[0];
}

static void free_fresh(struct handling *handle)
{
    blx_segment_writer_close(handle->fresh.open);
    free(handle->fresh.pending);
    memset(&handle->fresh, 0, sizeof(handle->fresh));
}

static void teardown(void *arg)
{
    struct handling *handle = arg;
    blx_received_listing_done(&handle->listing);
    free_fresh(handle);
    store_state_done(&handle->state);
}

/* The next session finds all frames, and both checkpoints restore. */
static void check(void *arg, int rc)
{
    struct handling *handle = arg;
    (void)rc;
    free_fresh(handle);
    store_state_check(&handle->state);
}

static int run_seal(void *arg, struct blx_error *err)
{
    return blx_received_volume_seal(((struct handling *)arg)->volume, err);
}

static int run_seal_frames(void *arg, struct blx_error *err)
{
    return blx_received_volume_seal_frames(((struct handling *)arg)->volume, err);
}

static void check_seal(void *arg, int rc)
{
    const struct handling *handle = arg;
    if (rc == 0) {
        assert_null(handle->volume->open);
        assert_int_equal(handle->volume->pending_count, 1);
    }
    check(arg, rc);
}

static int run_add_pending(void *arg, struct blx_error *err)
{
    const struct blx_segment_summary summary = {.number = 9};
    return blx_received_volume_add_pending(((struct handling *)arg)->volume, &summary, err);
}

static void check_add_pending(void *arg, int rc)
{
    const struct handling *handle = arg;
    assert_int_equal(handle->volume->pending_count, rc == 0 ? 1 : 0);
    check(arg, rc);
}

static void a_sealed_segment_keeps_its_frames(void **state)
{
    (void)state;
    handling.damaged = false;
    fault_loop(&(struct fault_case){setup_volume, run_seal, check_seal, teardown, 0}, &handling);
    fault_loop(&(struct fault_case){setup_volume, run_seal_frames, check_seal, teardown, 0},
               &handling);
    fault_loop(&(struct fault_case){setup_volume, run_add_pending, check_add_pending, teardown, 0},
               &handling);
}

/* A full pass has begun, and has a pending segment and an open one by now. */
static void setup_discard(void *arg)
{
    struct handling *handle = arg;
    setup_volume(arg);
    assert_int_equal(blx_agent_writer_begin(handle->state.writer, 0, BLX_PASS_FULL, NULL), 0);
    test_volume_send(&handle->state.volume, handle->state.writer, 1, 31);
    assert_int_equal(run_seal(arg, NULL), 0);
    test_volume_send(&handle->state.volume, handle->state.writer, 1, 32);
    handle->state.synced_seq = 0; /* they are to go */
}

static int run_discard(void *arg, struct blx_error *err)
{
    return blx_received_volume_discard(((struct handling *)arg)->volume, err);
}

static void check_discard(void *arg, int rc)
{
    struct handling *handle = arg;
    char path[PATH_MAX];
    if (rc < 0)
        assert_int_equal(run_discard(arg, NULL), 0);
    assert_int_equal(handle->volume->pending_count, 0);
    test_path(&handle->state.test, path, "agents/web1/volumes/vda/open.seg");
    assert_int_equal(access(path, F_OK), -1);
    check(arg, rc);
}

static void setup_unmade(void *arg)
{
    setup_volume(arg);
    ((struct handling *)arg)->volume->is_made = false;
}

static int run_make(void *arg, struct blx_error *err)
{
    return blx_received_volume_make(((struct handling *)arg)->volume, err);
}

static void check_make(void *arg, int rc)
{
    struct handling *handle = arg;
    assert_int_equal(handle->volume->is_made, rc == 0);
    check(arg, rc);
}

static void what_is_discarded_goes_now_or_then(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup_discard, run_discard, check_discard, teardown, 0},
               &handling);
    fault_loop(&(struct fault_case){setup_unmade, run_make, check_make, teardown, 0}, &handling);
}

/* The state file. */

static int run_file_read(void *arg, struct blx_error *err)
{
    struct handling *handle = arg;
    return blx_volume_file_read(handle->volume->dir, &handle->file, err);
}

static void check_file_read(void *arg, int rc)
{
    const struct handling *handle = arg;
    assert_int_not_equal(rc, -EBADMSG);
    if (rc < 0)
        fault_assert_poisoned(&handle->file, sizeof(handle->file));
    else
        assert_true(
            blx_generation_equal(&handle->file.generation, &handle->state.volume.info.generation));
}

static int run_file_write(void *arg, struct blx_error *err)
{
    const struct handling *handle = arg;
    struct blx_volume_file file = handle->volume->file;
    file.seq_before = 77;
    return blx_volume_file_write(handle->volume->dir, &file, err);
}

static void check_file_write(void *arg, int rc)
{
    struct handling *handle = arg;
    assert_int_equal(run_file_read(arg, NULL), 0);
    assert_true(handle->file.seq_before == 77 ||
                (rc < 0 && handle->file.seq_before == handle->volume->file.seq_before));
    check(arg, rc);
}

static int run_distrust(void *arg, struct blx_error *err)
{
    return blx_agent_writer_distrust(((struct handling *)arg)->state.writer, 0, err);
}

/* A writer whose disk failed takes nothing more. */
static void check_distrust(void *arg, int rc)
{
    struct handling *handle = arg;
    struct blx_agent_writer *writer = handle->state.writer;
    assert_int_equal(run_file_read(arg, NULL), 0);
    assert_true(handle->file.distrusted || rc < 0);
    assert_int_equal(writer->volumes[0]->file.distrusted, rc == 0);
    assert_int_equal(blx_agent_writer_check(writer, NULL), rc == 0 ? 0 : -EIO);
    assert_int_equal(run_distrust(arg, NULL), rc == 0 ? 0 : -EIO);
}

static void a_state_file_is_the_old_one_or_the_new_one(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup_volume, run_file_read, check_file_read, teardown, 0},
               &handling);
    fault_loop(&(struct fault_case){setup_volume, run_file_write, check_file_write, teardown, 0},
               &handling);
    fault_loop(&(struct fault_case){setup_volume, run_distrust, check_distrust, teardown, 0},
               &handling);
}

/* A folder that is found: a sealed segment and an open one that no checkpoint has. If the sealed
 * one is damaged, its frames are lost, and the generation must go with them. */

static void damage(const char *path)
{
    uint8_t byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, 8), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 8), 1);
    close(fd);
}

/* `fresh` is as blx_agent_writer_add_volume() makes it. */
static void setup_found(void *arg)
{
    struct handling *handle = arg;
    struct store_state *state = &handle->state;
    char path[PATH_MAX];
    setup_volume(arg);
    assert_int_equal(run_seal(arg, NULL), 0);
    test_volume_send(&state->volume, state->writer, 6, 41);
    assert_int_equal(blx_agent_writer_sync(state->writer, NULL, NULL, NULL), 0);
    state->synced_seq = state->volume.seq;
    snprintf(path, sizeof(path), "%s/%08u.seg", handle->volume->dir,
             handle->volume->pending[0].number);
    if (handle->damaged)
        damage(path);
    blx_agent_writer_close(state->writer);
    handle->volume = NULL;
    state->writer = NULL;
    assert_int_equal(blx_agent_writer_open(blx_store_agent(&state->test.store, "web1"), NULL,
                                           &state->writer, NULL),
                     0);
    handle->fresh.info = state->volume.info;
    test_path(&state->test, handle->dir, "agents/web1/volumes/vda");
    handle->fresh.dir = handle->dir;
}

static void setup_damaged(void *arg)
{
    ((struct handling *)arg)->damaged = true;
    setup_found(arg);
}

static int run_recover(void *arg, struct blx_error *err)
{
    struct handling *handle = arg;
    return blx_received_volume_recover(&handle->state.writer->agent, &handle->fresh, err);
}

static void check_recover(void *arg, int rc)
{
    const struct handling *handle = arg;
    if (rc == 0) {
        assert_int_equal(handle->fresh.seq, handle->state.synced_seq);
        assert_string_equal(handle->fresh.reason, "");
    }
    check(arg, rc);
}

/* Whatever failed: the next session is not told that the stream goes on. */
static void check_damaged(void *arg, int rc)
{
    struct handling *handle = arg;
    struct test_volume *volumes[] = {&handle->state.volume};
    struct blx_volume_state found;
    if (rc == 0)
        assert_string_not_equal(handle->fresh.reason, "");
    free_fresh(handle);
    for (int again = 0; again < 2; again++) {
        blx_agent_writer_close(handle->state.writer);
        handle->state.writer = test_writer_open(&handle->state.test, volumes, 1, &found);
        assert_true(blx_generation_is_none(&found.generation));
        assert_int_equal(found.image_bytes, STATE_BYTES);
    }
    for (size_t i = 0; i < 2; i++)
        test_restores_to(&handle->state.test, handle->state.checkpoints[i], "vda",
                         handle->state.images[i], STATE_BYTES);
}

static int run_listing(void *arg, struct blx_error *err)
{
    struct handling *handle = arg;
    return blx_received_listing_read(&handle->fresh, &handle->listing, err);
}

static int run_probe(void *arg, struct blx_error *err)
{
    struct handling *handle = arg;
    return blx_received_listing_probe(&handle->fresh, 1, 9, &handle->listing, err);
}

static void check_listing(void *arg, int rc)
{
    const struct handling *handle = arg;
    if (rc == 0) {
        assert_int_equal(handle->listing.count, 3);
        assert_true(handle->listing.has_open);
    }
    check(arg, rc);
}

/* The state that blx_received_volume_recover() has found by then. */
static void setup_listed(void *arg)
{
    struct handling *handle = arg;
    setup_found(arg);
    assert_int_equal(run_listing(arg, NULL), 0);
    assert_int_equal(blx_volume_file_read(handle->fresh.dir, &handle->fresh.file, NULL), 0);
    handle->fresh.next_number = handle->listing.highest + 1;
    handle->fresh.seq = handle->state.synced_seq - 3;
}

static int run_take(void *arg, struct blx_error *err)
{
    struct handling *handle = arg;
    return blx_received_volume_take_uncommitted(&handle->fresh, &handle->listing,
                                                handle->listing.highest, err);
}

static int run_list(void *arg, struct blx_error *err)
{
    struct handling *handle = arg;
    return blx_received_volume_list_uncommitted(&handle->fresh, &handle->listing,
                                                handle->listing.highest, err);
}

static void check_take(void *arg, int rc)
{
    const struct handling *handle = arg;
    if (rc == 0) {
        assert_int_equal(handle->fresh.pending_count, 1);
        assert_int_equal(handle->fresh.seq, handle->state.synced_seq);
    }
    check(arg, rc);
}

static void check_list(void *arg, int rc)
{
    assert_int_equal(((struct handling *)arg)->fresh.pending_count, rc == 0 ? 1 : 0);
    check(arg, rc);
}

static void a_recovery_loses_no_frame_and_hides_no_loss(void **state)
{
    (void)state;
    handling.damaged = false;
    fault_loop(&(struct fault_case){setup_found, run_listing, check_listing, teardown, 0},
               &handling);
    fault_loop(&(struct fault_case){setup_found, run_probe, check_listing, teardown, 0}, &handling);
    fault_loop(&(struct fault_case){setup_listed, run_take, check_take, teardown, 0}, &handling);
    fault_loop(&(struct fault_case){setup_listed, run_list, check_list, teardown, 0}, &handling);
    fault_loop(&(struct fault_case){setup_found, run_recover, check_recover, teardown, 0},
               &handling);
    fault_loop(&(struct fault_case){setup_damaged, run_recover, check_damaged, teardown, 0},
               &handling);
}

int main(void)
{
    sys_use_fast();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sealed_segment_keeps_its_frames),
        cmocka_unit_test(what_is_discarded_goes_now_or_then),
        cmocka_unit_test(a_state_file_is_the_old_one_or_the_new_one),
        cmocka_unit_test(a_recovery_loses_no_frame_and_hides_no_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
