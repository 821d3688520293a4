/* SPDX-License-Identifier: Apache-2.0 */
/* lib/store's readers: the data directory, manifests, segments, restore. Outputs stay as they were
 * if a call fails, and the store stays good. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "store/checkpoint/missing.h"
#include "loop.h"
#include "store_state.h"
#include "sys.h"

struct outputs {
    struct store_state *state;
    enum blx_store_mode mode;
    struct blx_store store;
    char **ids;
    size_t count;
    blx_timestamp *timestamps;
    blx_timestamp timestamp;
    struct blx_manifest manifest;
    struct blx_segment_writer *writer;
    struct blx_segment_reader *reader;
    struct blx_segment_summary summary;
    struct blx_index index;
    struct blx_overlay *overlay;
    char dir[64], path[PATH_MAX];
};

static void reset(void *arg)
{
    memset(arg, 0, sizeof(struct outputs));
    struct outputs *out = arg;
    out->state = &store_state;
    out->store.lock_fd = -1;
}

static void check_untouched(const struct outputs *out)
{
    assert_null(out->ids);
    assert_null(out->timestamps);
    assert_null(out->manifest.volumes);
    assert_null(out->writer);
    assert_null(out->reader);
    assert_int_equal(out->count, 0);
    assert_int_equal(out->timestamp, 0);
    assert_int_equal(out->summary.frame_count, 0);
}

/* A new folder to be made a store. */

static void make_dir(void *arg)
{
    struct outputs *out = arg;
    enum blx_store_mode mode = out->mode;
    reset(out);
    out->mode = mode;
    test_make_dir(out->dir, sizeof(out->dir));
    struct blx_store made = {.lock_fd = -1};
    if (mode == BLX_STORE_WRITE)
        assert_int_equal(blx_store_open(out->dir, BLX_STORE_INIT, &made, NULL), 0);
}

static int run_open(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_store_open(out->dir, out->mode, &out->store, err);
}

static void check_open(void *arg, int rc)
{
    struct outputs *out = arg;
    struct blx_error err = {0};
    if (rc < 0) {
        assert_int_equal(out->store.lock_fd, -1);
        assert_int_equal(out->store.data_dir[0], '\0');
        test_ok(run_open(arg, &err), &err);
    }
    assert_string_equal(out->store.data_dir, out->dir);
    blx_store_close(&out->store);
}

static void remove_dir(void *arg)
{
    char command[96];
    snprintf(command, sizeof(command), "rm -r '%s'", ((struct outputs *)arg)->dir);
    assert_int_equal(system(command), 0);
}

static void a_store_that_was_begun_is_completed(void **state)
{
    (void)state;
    struct outputs out = {.mode = BLX_STORE_WRITE};
    fault_loop(&(struct fault_case){make_dir, run_open, check_open, remove_dir, 0}, &out);
    out.mode = BLX_STORE_INIT;
    fault_loop(&(struct fault_case){make_dir, run_open, check_open, remove_dir, 0}, &out);
}

static int run_open_read(void *arg, struct blx_error *err)
{
    return blx_store_open(store_state.test.dir, BLX_STORE_READ, &((struct outputs *)arg)->store,
                          err);
}

static void check_open_read(void *arg, int rc)
{
    struct outputs *out = arg;
    assert_int_equal(out->store.data_dir[0] != '\0', rc == 0);
    blx_store_close(&out->store);
}

static int run_agents(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_store_list_agents(&out->state->test.store, &out->ids, &out->count, err);
}

static void check_agents(void *arg, int rc)
{
    struct outputs *out = arg;
    if (rc < 0) {
        check_untouched(out);
        return;
    }
    assert_int_equal(out->count, 1);
    assert_string_equal(out->ids[0], "web1");
    blx_store_free_agents(out->ids, out->count);
}

/* The answer does not hang on the names that it lists. */
static int run_unknown(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    int rc = blx_agent_store_check(blx_store_agent(&out->state->test.store, "web9"), err);
    assert_int_equal(rc, -ENOENT);
    assert_non_null(strstr(err->message, "'web9'"));
    blx_error_clear(err);
    return 0;
}

static void check_unknown(void *arg, int rc)
{
    (void)arg;
    assert_int_equal(rc, 0);
}

static int run_enroll(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_agent_store_enroll(blx_store_agent(&out->state->test.store, "web9"), err);
}

static void check_enroll(void *arg, int rc)
{
    struct outputs *out = arg;
    struct blx_agent_store agent = blx_store_agent(&out->state->test.store, "web9");
    if (rc < 0)
        assert_int_equal(run_enroll(arg, NULL), 0);
    assert_true(blx_agent_store_look_enrolled(agent) != 0);
    char path[PATH_MAX];
    assert_int_equal(blx_agent_store_path(agent, path, NULL), 0);
    assert_int_equal(rmdir(path), 0);
}

static void a_store_is_read_and_its_agents_are_listed(void **state)
{
    (void)state;
    struct outputs out;
    fault_loop(&(struct fault_case){reset, run_open_read, check_open_read, NULL, 0}, &out);
    fault_loop(&(struct fault_case){reset, run_agents, check_agents, NULL, 0}, &out);
    fault_loop(&(struct fault_case){reset, run_unknown, check_unknown, NULL, 0}, &out);
    fault_loop(&(struct fault_case){reset, run_enroll, check_enroll, NULL, 0}, &out);
}

/* Manifests. */

static int run_list(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_manifest_list(blx_store_agent(&out->state->test.store, "web1"), 0, UINT64_MAX,
                             &out->timestamps, &out->count, err);
}

static void check_list(void *arg, int rc)
{
    struct outputs *out = arg;
    if (rc < 0) {
        check_untouched(out);
        return;
    }
    assert_int_equal(out->count, 2);
    assert_memory_equal(out->timestamps, out->state->checkpoints, sizeof(out->state->checkpoints));
    free(out->timestamps);
}

static int run_latest(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_manifest_latest(blx_store_agent(&out->state->test.store, "web1"), &out->timestamp,
                               err);
}

static int run_resolve(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_manifest_resolve(blx_store_agent(&out->state->test.store, "web1"), "latest",
                                &out->timestamp, err);
}

static int run_find(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_missing_find(blx_store_agent(&out->state->test.store, "web1"), "/dev/vda",
                            &out->timestamp, err);
}

static void check_latest(void *arg, int rc)
{
    struct outputs *out = arg;
    assert_int_equal(out->timestamp, rc < 0 ? 0 : out->state->checkpoints[1]);
}

static int run_read(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_manifest_read(blx_store_agent(&out->state->test.store, "web1"),
                             out->state->checkpoints[1], &out->manifest, err);
}

static void check_read(void *arg, int rc)
{
    struct outputs *out = arg;
    if (rc < 0) {
        check_untouched(out);
        return;
    }
    assert_int_equal(out->manifest.volume_count, 1);
    blx_manifest_done(&out->manifest);
}

static int note_visit(void *arg, const struct blx_manifest *manifest,
                      const struct blx_error *damage, struct blx_error *err)
{
    struct outputs *out = arg;
    assert_true((manifest == NULL) != (damage == NULL));
    out->count++;
    return damage == NULL ? 0 : blx_error_set(err, damage->code, "%s", damage->message);
}

static void reset_visits(void *arg)
{
    struct outputs *out = arg;
    reset(arg);
    out->count = 0;
}

static int run_each(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_manifest_each(blx_store_agent(&out->state->test.store, "web1"),
                             out->state->checkpoints, 2, note_visit, out, err);
}

static void check_each(void *arg, int rc)
{
    const struct outputs *out = arg;
    assert_true(rc < 0 || out->count == 2);
}

/* The same manifest once more, a day later. */
static int run_write(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    struct blx_manifest later = out->manifest;
    later.timestamp += 1000000;
    return blx_manifest_write(blx_store_agent(&out->state->test.store, "web1"), &later, err);
}

static void prepare_write(void *arg)
{
    struct outputs *out = arg;
    reset(out);
    assert_int_equal(run_read(out, NULL), 0);
}

static void check_write(void *arg, int rc)
{
    struct outputs *out = arg;
    struct blx_manifest found = {0};
    blx_timestamp timestamp = out->manifest.timestamp + 1000000;
    char path[PATH_MAX];
    int found_rc = blx_manifest_read(blx_store_agent(&out->state->test.store, "web1"), timestamp,
                                     &found, NULL);
    assert_true(found_rc == 0 || (rc < 0 && found_rc == -ENOENT));
    if (found_rc == -ENOENT)
        assert_int_equal(run_write(arg, NULL), 0);
    test_path(&out->state->test, path, "agents/web1/checkpoints/%llu",
              (unsigned long long)timestamp);
    assert_int_equal(unlink(path), 0);
    blx_manifest_done(&found);
    blx_manifest_done(&out->manifest);
}

static void manifests_are_read_and_written_whole_or_not_at_all(void **state)
{
    (void)state;
    struct outputs out;
    fault_loop(&(struct fault_case){reset, run_list, check_list, NULL, 0}, &out);
    fault_loop(&(struct fault_case){reset, run_latest, check_latest, NULL, 0}, &out);
    fault_loop(&(struct fault_case){reset, run_resolve, check_latest, NULL, 0}, &out);
    fault_loop(&(struct fault_case){reset, run_find, check_latest, NULL, 0}, &out);
    fault_loop(&(struct fault_case){reset, run_read, check_read, NULL, 0}, &out);
    fault_loop(&(struct fault_case){reset_visits, run_each, check_each, NULL, 0}, &out);
    fault_loop(&(struct fault_case){prepare_write, run_write, check_write, NULL, 0}, &out);
    store_state_check(&store_state);
}

/* Segments. */

static void volume_dir(const struct outputs *out, char path[PATH_MAX])
{
    assert_int_equal(blx_agent_store_volume_path(blx_store_agent(&out->state->test.store, "web1"),
                                                 "vda", path, NULL),
                     0);
}

static int run_segment(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    char dir[PATH_MAX];
    volume_dir(out, dir);
    return blx_segment_reader_open(dir, 1, &out->reader, err);
}

static void check_segment(void *arg, int rc)
{
    struct outputs *out = arg;
    if (rc < 0)
        check_untouched(out);
    else
        assert_true(blx_segment_reader_index(out->reader)->count > 0);
    blx_segment_reader_close(out->reader);
}

/* Of a reader that has given its file up, so that the frame needs it opened, too. */
static void prepare_frame(void *arg)
{
    struct outputs *out = arg;
    reset(out);
    assert_int_equal(run_segment(out, NULL), 0);
    assert_int_equal(blx_index_add(&out->index, &blx_segment_reader_index(out->reader)->entries[0]),
                     0);
    blx_segment_reader_shrink(out->reader, BLX_SEGMENT_CLOSE_FILE);
}

static int run_frame(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    const struct blx_index_entry *entry = &out->index.entries[0];
    static uint8_t buffer[BLX_FRAME_MAX_BYTES];
    struct blx_frame frame = {0};
    int rc = blx_segment_reader_frame(out->reader, entry->frame_offset, entry->frame_bytes, buffer,
                                      &frame, err);
    out->count = frame.frame_bytes;
    return rc;
}

static void check_frame(void *arg, int rc)
{
    struct outputs *out = arg;
    assert_int_equal(out->count, rc < 0 ? 0 : out->index.entries[0].frame_bytes);
    blx_index_done(&out->index);
    blx_segment_reader_close(out->reader);
}

static void segments_are_read_whole_or_not_at_all(void **state)
{
    (void)state;
    struct outputs out;
    fault_loop(&(struct fault_case){reset, run_segment, check_segment, NULL, 0}, &out);
    fault_loop(&(struct fault_case){prepare_frame, run_frame, check_frame, NULL, 0}, &out);
    store_state_check(&store_state);
}

static void prepare_index(void *arg)
{
    struct outputs *out = arg;
    reset(out);
    for (uint32_t i = 0; i < 100; i++) {
        const struct blx_index_entry entry = {.extent = {(uint64_t)i * 7 % 50, 9},
                                              .frame_offset = i * 4096UL,
                                              .frame_bytes = 4096,
                                              .rank = i};
        assert_int_equal(blx_index_add(&out->index, &entry), 0);
    }
}

static int run_flatten(void *arg, struct blx_error *err)
{
    (void)err;
    return blx_index_flatten(&((struct outputs *)arg)->index);
}

static void check_flatten(void *arg, int rc)
{
    struct outputs *out = arg;
    assert_true(rc == 0 || rc == -ENOMEM);
    if (rc < 0) {
        assert_int_equal(out->index.count, 100);
        assert_int_equal(run_flatten(arg, NULL), 0);
    }
    assert_int_equal(blx_index_blocks(&out->index), 58);
    blx_index_done(&out->index);
}

static void an_index_is_flat_or_as_it_was(void **state)
{
    (void)state;
    struct outputs out;
    fault_loop(&(struct fault_case){prepare_index, run_flatten, check_flatten, NULL, 1}, &out);
}

/* Restore. */

static void prepare_restore(void *arg)
{
    struct outputs *out = arg;
    reset(out);
    test_path(&out->state->test, out->path, "image");
}

static int run_restore(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    const struct blx_restore_target target = {.path = out->path};
    return blx_restore(blx_store_agent(&out->state->test.store, "web1"), out->state->checkpoints[1],
                       "vda", &target, NULL, err);
}

/* A restore that failed leaves nothing under the final name, unless only the folder's fsync failed;
 * then it is the whole image. */
static void check_restore(void *arg, int rc)
{
    struct outputs *out = arg;
    struct blx_error err = {0};
    uint8_t found[STATE_BYTES];
    int fd = open(out->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        assert_true(rc < 0);
        test_ok(run_restore(arg, &err), &err);
        fd = open(out->path, O_RDONLY | O_CLOEXEC);
    }
    assert_int_equal(read(fd, found, sizeof(found)), sizeof(found));
    close(fd);
    assert_memory_equal(found, out->state->images[1], sizeof(found));
    assert_int_equal(unlink(out->path), 0);
}

/* With what was written over it. */

enum { WRITTEN_AT = 5000 };

static int read_checkpoint(void *arg, void *buffer, size_t bytes, uint64_t offset_bytes)
{
    memcpy(buffer, (const uint8_t *)arg + offset_bytes, bytes);
    return 0;
}

static void prepare_overlaid(void *arg)
{
    struct outputs *out = arg;
    prepare_restore(arg);
    struct blx_agent_store agent = blx_store_agent(&out->state->test.store, "web1");
    const struct blx_overlay_below below = {
        .read = read_checkpoint, .arg = out->state->images[1], .size_bytes = STATE_BYTES};
    assert_int_equal(blx_manifest_read(agent, out->state->checkpoints[1], &out->manifest, NULL), 0);
    assert_int_equal(blx_overlay_open("", BLX_OVERLAY_WRITE, &out->overlay, NULL), 0);
    assert_int_equal(blx_overlay_begin(out->overlay, "web1", &out->manifest, NULL), 0);
    assert_int_equal(blx_overlay_write(out->overlay, &below, "z", 1, WRITTEN_AT), 0);
}

static int run_overlaid(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    const struct blx_restore_target target = {.path = out->path, .overlay = out->overlay};
    return blx_restore(blx_store_agent(&out->state->test.store, "web1"), out->state->checkpoints[1],
                       "vda", &target, NULL, err);
}

static void check_overlaid(void *arg, int rc)
{
    struct outputs *out = arg;
    uint8_t found[STATE_BYTES];
    int fd = open(out->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        assert_true(rc < 0);
        assert_int_equal(run_overlaid(arg, NULL), 0);
        fd = open(out->path, O_RDONLY | O_CLOEXEC);
    }
    assert_int_equal(read(fd, found, sizeof(found)), sizeof(found));
    close(fd);
    assert_int_equal(found[WRITTEN_AT], 'z');
    found[WRITTEN_AT] = out->state->images[1][WRITTEN_AT];
    assert_memory_equal(found, out->state->images[1], sizeof(found));
    assert_int_equal(unlink(out->path), 0);
}

static void done_overlaid(void *arg)
{
    struct outputs *out = arg;
    blx_overlay_close(out->overlay);
    blx_manifest_done(&out->manifest);
}

static int run_default_path(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_restore_default_path(blx_store_agent(&out->state->test.store, "web1"),
                                    &out->manifest, "vda", BLX_IMAGE_RAW, out->path, err);
}

static void check_default_path(void *arg, int rc)
{
    struct outputs *out = arg;
    if (rc < 0)
        assert_int_equal(run_default_path(arg, NULL), 0);
    assert_non_null(strstr(out->path, "/restore/web1-"));
    blx_manifest_done(&out->manifest);
}

static void a_restore_makes_the_whole_image_or_none(void **state)
{
    (void)state;
    struct outputs out;
    fault_loop(&(struct fault_case){prepare_restore, run_restore, check_restore, NULL, 0}, &out);
    fault_loop(
        &(struct fault_case){prepare_overlaid, run_overlaid, check_overlaid, done_overlaid, 0},
        &out);
    fault_loop(&(struct fault_case){prepare_write, run_default_path, check_default_path, NULL, 0},
               &out);
    store_state_check(&store_state);
}

static int remove_store(void **state)
{
    (void)state;
    store_state_done(&store_state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_that_was_begun_is_completed),
        cmocka_unit_test(a_store_is_read_and_its_agents_are_listed),
        cmocka_unit_test(manifests_are_read_and_written_whole_or_not_at_all),
        cmocka_unit_test(segments_are_read_whole_or_not_at_all),
        cmocka_unit_test(an_index_is_flat_or_as_it_was),
        cmocka_unit_test(a_restore_makes_the_whole_image_or_none),
    };
    return cmocka_run_group_tests(tests, store_state_setup, remove_store);
}
