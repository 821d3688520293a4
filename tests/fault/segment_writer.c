/* SPDX-License-Identifier: Apache-2.0 */
/* lib/store's writer of one segment. Whatever failed, the next writer that opens it finds the
 * frames that were whole before, and a sealed segment is whole or not there. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../unit/store/fixture.h"
#include "folder.h"
#include "loop.h"
#include "store/segment/segment_writer_private.h"

enum { NUMBER = 7, BLOCKS = 8, WHOLE_FRAMES = 2, TORN_BYTES = 100 };

struct written {
    char dir[FOLDER_BYTES];
    struct test_volume volume;
    struct blx_frame frame; /* the next one; borrows the volume's */
    struct blx_segment_writer *writer;
    struct blx_segment_writer bare; /* made by hand, for the functions that open() calls */
    struct blx_segment_recovery recovery;
    struct blx_segment_summary summary;
};

static void path_of(const struct written *written, const char *name, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%s", written->dir, name);
}

static void make_frame(struct written *written)
{
    const uint64_t blocks[] = {written->volume.seq, written->volume.seq + 2};
    test_volume_write(&written->volume, blocks[0], written->volume.seq + 1);
    test_volume_frame(&written->volume, blocks, 2);
    assert_int_equal(blx_frame_parse_with_digests(written->volume.frame, written->volume.sent_bytes,
                                                  &written->frame, NULL),
                     0);
}

static void setup_folder(void *arg)
{
    struct written *written = arg;
    memset(written, 0, sizeof(*written));
    folder_make(written->dir);
    test_volume_init(&written->volume, "vda", BLOCKS * TEST_BLOCK_BYTES, 1);
    fault_poison(&written->recovery, sizeof(written->recovery));
    fault_poison(&written->summary, sizeof(written->summary));
}

static int run_open(void *arg, struct blx_error *err)
{
    struct written *written = arg;
    int rc = blx_segment_writer_open(written->dir, NUMBER, TEST_BLOCK_SHIFT, &written->writer,
                                     &written->recovery, err);
    if (rc == 0)
        blx_segment_writer_set_digest_key(written->writer, &test_digest_key()->id);
    return rc;
}

static int run_append(void *arg, struct blx_error *err)
{
    struct written *written = arg;
    return blx_segment_writer_append(written->writer, &written->frame, err);
}

/* An open segment with whole frames; the next one is made. */
static void setup_frames(void *arg)
{
    struct written *written = arg;
    setup_folder(arg);
    assert_int_equal(run_open(arg, NULL), 0);
    for (int i = 0; i < WHOLE_FRAMES; i++) {
        make_frame(written);
        assert_int_equal(run_append(arg, NULL), 0);
    }
    make_frame(written);
}

static void close_writer(struct written *written)
{
    blx_segment_writer_close(written->writer);
    written->writer = NULL;
}

/* Of a writer that died within a frame. */
static void setup_torn(void *arg)
{
    struct written *written = arg;
    char path[PATH_MAX];
    setup_frames(arg);
    close_writer(written);
    path_of(written, "open.seg", path);
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, written->volume.frame, TORN_BYTES), TORN_BYTES);
    close(fd);
    fault_poison(&written->recovery, sizeof(written->recovery));
}

static void teardown(void *arg)
{
    struct written *written = arg;
    close_writer(written);
    test_volume_done(&written->volume);
    folder_remove(written->dir);
}

/* The next writer finds `least` to `most` frames, and goes on. */
static void check_frames(struct written *written, uint64_t least, uint64_t most)
{
    struct blx_error err = {0};
    close_writer(written);
    test_ok(run_open(written, &err), &err);
    blx_segment_writer_summary(written->writer, &written->summary);
    assert_in_range(written->summary.frame_count, least, most);
    assert_int_equal(written->summary.last_seq, written->summary.frame_count);
    assert_int_equal(written->recovery.damage[0], '\0');
    blx_frame_seal(written->volume.frame, written->summary.last_seq + 1);
    written->frame.seq = written->summary.last_seq + 1;
    test_ok(run_append(written, &err), &err);
}

static void check_open(void *arg, int rc)
{
    struct written *written = arg;
    uint64_t whole = written->volume.seq == 0 ? 0 : WHOLE_FRAMES;
    if (rc < 0) {
        assert_null(written->writer);
        fault_assert_poisoned(&written->recovery, sizeof(written->recovery));
    } else {
        assert_int_equal(written->recovery.cut_bytes, whole == 0 ? 0 : TORN_BYTES);
    }
    if (whole == 0)
        make_frame(written);
    check_frames(written, whole, whole);
}

static void a_segment_that_cannot_be_opened_keeps_its_frames(void **state)
{
    (void)state;
    static struct written written;
    fault_loop(&(struct fault_case){setup_folder, run_open, check_open, teardown, 0}, &written);
    fault_loop(&(struct fault_case){setup_torn, run_open, check_open, teardown, 0}, &written);
}

static void check_append(void *arg, int rc)
{
    check_frames(arg, rc == 0 ? WHOLE_FRAMES + 1 : WHOLE_FRAMES, WHOLE_FRAMES + 1);
}

static int run_sync(void *arg, struct blx_error *err)
{
    return blx_segment_writer_sync(((struct written *)arg)->writer, err);
}

static void check_sync(void *arg, int rc)
{
    (void)rc;
    check_frames(arg, WHOLE_FRAMES, WHOLE_FRAMES);
}

static int run_note(void *arg, struct blx_error *err)
{
    struct written *written = arg;
    return blx_segment_writer_note(written->writer, &written->frame, written->writer->end_bytes,
                                   BLX_DIGESTS_LOGGED, err);
}

/* The summary has the frame only if the index has all of it. */
static void check_note(void *arg, int rc)
{
    struct written *written = arg;
    blx_segment_writer_summary(written->writer, &written->summary);
    assert_int_equal(written->summary.frame_count, rc == 0 ? WHOLE_FRAMES + 1 : WHOLE_FRAMES);
    check_frames(arg, WHOLE_FRAMES, WHOLE_FRAMES); /* nothing was written */
}

/* Room for the next entry is not there. */
static void setup_note(void *arg)
{
    struct written *written = arg;
    setup_frames(arg);
    while (written->writer->index.count < written->writer->index.capacity)
        assert_int_equal(run_note(arg, NULL), 0), written->frame.seq++;
    written->writer->summary.frame_count = written->writer->summary.last_seq = WHOLE_FRAMES;
    written->frame.seq = WHOLE_FRAMES + 1;
}

static void a_frame_that_failed_leaves_those_before_it(void **state)
{
    (void)state;
    static struct written written;
    fault_loop(&(struct fault_case){setup_frames, run_append, check_append, teardown, 0}, &written);
    fault_loop(&(struct fault_case){setup_frames, run_sync, check_sync, teardown, 0}, &written);
    fault_loop(&(struct fault_case){setup_note, run_note, check_note, teardown, 0}, &written);
}

static void check_sealed(const struct written *written, uint64_t frames)
{
    struct blx_error err = {0};
    struct blx_segment_reader *reader = NULL;
    test_ok(blx_segment_reader_open(written->dir, NUMBER, &reader, &err), &err);
    assert_int_equal(blx_segment_reader_summary(reader)->frame_count, frames);
    assert_int_equal(blx_segment_reader_index(reader)->count > 0, frames > 0);
    /* Those of a frame that is found again may be lost if a call fails. */
    assert_true(blx_segment_reader_summary(reader)->digest_count <= 2 * frames);
    blx_segment_reader_close(reader);
}

/* Closes the writer whatever happens. */
static int run_seal(void *arg, struct blx_error *err)
{
    struct written *written = arg;
    return blx_segment_writer_seal(blx_take_ptr(written->writer), &written->summary, err);
}

/* One file of both, with all frames. */
static void check_seal(void *arg, int rc)
{
    struct written *written = arg;
    struct blx_error err = {0};
    char path[PATH_MAX];
    if (rc < 0)
        fault_assert_poisoned(&written->summary, sizeof(written->summary));
    else
        assert_int_equal(written->summary.frame_count, WHOLE_FRAMES);
    path_of(written, "open.seg", path);
    if (access(path, F_OK) == 0) {
        assert_true(rc < 0);
        test_ok(run_open(arg, &err), &err);
        test_ok(run_seal(arg, &err), &err);
    }
    path_of(written, "open.digests", path);
    if (rc < 0) /* it may be left, for the next open segment to empty */
        unlink(path);
    assert_int_equal(folder_count(written->dir), 1);
    check_sealed(written, WHOLE_FRAMES);
}

static void a_seal_is_whole_or_the_segment_still_open(void **state)
{
    (void)state;
    static struct written written;
    fault_loop(&(struct fault_case){setup_frames, run_seal, check_seal, teardown, 0}, &written);
}

/* What rewrite_group.c uses: a file of another name, begun and finished. */

static void setup_bare(void *arg)
{
    struct written *written = arg;
    char path[PATH_MAX];
    setup_folder(arg);
    path_of(written, "rewrite.tmp", path);
    written->bare = (struct blx_segment_writer){
        .fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600),
        .summary = {.number = NUMBER, .block_shift = TEST_BLOCK_SHIFT},
        .log = {.fd = -1},
    };
    assert_true(written->bare.fd >= 0);
    snprintf(written->bare.dir, sizeof(written->bare.dir), "%s", written->dir);
    snprintf(written->bare.path, sizeof(written->bare.path), "%s", path);
    blx_segment_writer_set_digest_key(&written->bare, &test_digest_key()->id);
}

static int run_begin(void *arg, struct blx_error *err)
{
    return blx_segment_writer_begin(&((struct written *)arg)->bare, err);
}

static int run_finish(void *arg, struct blx_error *err)
{
    return blx_segment_writer_finish(&((struct written *)arg)->bare, err);
}

static void setup_finish(void *arg)
{
    struct written *written = arg;
    setup_bare(arg);
    assert_int_equal(run_begin(arg, NULL), 0);
    make_frame(written);
    assert_int_equal(blx_segment_writer_append(&written->bare, &written->frame, NULL), 0);
}

static void check_begin(void *arg, int rc)
{
    struct written *written = arg;
    uint32_t number = 0;
    assert_int_equal(written->bare.end_bytes, rc < 0 ? 0 : sizeof(struct blx_segment_header_disk));
    if (rc < 0)
        assert_int_equal(run_begin(arg, NULL), 0);
    assert_int_equal(blx_segment_peek_number(written->bare.path, &number, NULL), 0);
    assert_int_equal(number, NUMBER);
}

static void check_finish(void *arg, int rc)
{
    struct written *written = arg;
    char path[PATH_MAX];
    if (rc < 0)
        assert_int_equal(run_finish(arg, NULL), 0);
    assert_int_equal(blx_segment_path(written->dir, NUMBER, path, NULL), 0);
    assert_int_equal(rename(written->bare.path, path), 0);
    check_sealed(written, 1);
}

static void teardown_bare(void *arg)
{
    struct written *written = arg;
    close(written->bare.fd);
    blx_digest_log_close(&written->bare.log);
    blx_index_done(&written->bare.index);
    teardown(arg);
}

static void a_segment_of_another_name_is_begun_and_finished_again(void **state)
{
    (void)state;
    static struct written written;
    fault_loop(&(struct fault_case){setup_bare, run_begin, check_begin, teardown_bare, 0},
               &written);
    fault_loop(&(struct fault_case){setup_finish, run_finish, check_finish, teardown_bare, 0},
               &written);
}

static int run_empty(void *arg, struct blx_error *err)
{
    return blx_segment_write_empty(((struct written *)arg)->dir, NUMBER, TEST_BLOCK_SHIFT, err);
}

/* The one that is there, or the empty one in its place. */
static void check_empty(void *arg, int rc)
{
    struct written *written = arg;
    struct blx_segment_reader *reader = NULL;
    assert_int_equal(blx_segment_reader_open(written->dir, NUMBER, &reader, NULL), 0);
    uint64_t frames = blx_segment_reader_summary(reader)->frame_count;
    assert_true(frames == 0 || (rc < 0 && frames == WHOLE_FRAMES));
    blx_segment_reader_close(reader);
    assert_int_equal(run_empty(arg, NULL), 0);
    check_sealed(written, 0);
    assert_int_equal(folder_count(written->dir), 1);
}

static void setup_sealed(void *arg)
{
    setup_frames(arg);
    assert_int_equal(run_seal(arg, NULL), 0);
}

static void an_empty_segment_takes_a_place_whole_or_not_at_all(void **state)
{
    (void)state;
    static struct written written;
    fault_loop(&(struct fault_case){setup_sealed, run_empty, check_empty, teardown, 0}, &written);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_segment_that_cannot_be_opened_keeps_its_frames),
        cmocka_unit_test(a_frame_that_failed_leaves_those_before_it),
        cmocka_unit_test(a_seal_is_whole_or_the_segment_still_open),
        cmocka_unit_test(a_segment_of_another_name_is_begun_and_finished_again),
        cmocka_unit_test(an_empty_segment_takes_a_place_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
