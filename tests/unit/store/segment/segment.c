/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "store/segment/index.h"

enum { FRAMES = 4, HEADER_BYTES = 32 };

struct fixture {
    struct test_store test;
    struct test_volume volume;
    char open_path[PATH_MAX];
    char sealed_path[PATH_MAX];
    uint64_t ends[FRAMES + 1]; /* where each frame ends in the file */
};

/* An open.seg of FRAMES frames: block 0, block 1, block 2 and then 1 again with zeros. */
static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    test_store_init(&f->test);
    test_volume_init(&f->volume, "sda", 10 * TEST_BLOCK_BYTES, 1);
    test_path(&f->test, f->open_path, "open.seg");
    test_path(&f->test, f->sealed_path, "00000007.seg");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    test_volume_done(&f->volume);
    test_store_done(&f->test);
    free(f);
    return 0;
}

static struct blx_segment_writer *open_writer(const struct fixture *f,
                                              struct blx_segment_recovery *recovery)
{
    struct blx_error err = {0};
    struct blx_segment_writer *writer = NULL;
    test_ok(blx_segment_writer_open(f->test.dir, 7, TEST_BLOCK_SHIFT, &writer, recovery, &err),
            &err);
    return writer;
}

static void append(struct fixture *f, struct blx_segment_writer *writer)
{
    struct blx_error err = {0};
    struct blx_frame frame;
    test_ok(blx_frame_parse(f->volume.frame, f->volume.frame_bytes, &frame, &err), &err);
    test_ok(blx_segment_writer_append(writer, &frame, &err), &err);
}

static struct blx_segment_writer *fill(struct fixture *f)
{
    static const uint64_t blocks[FRAMES] = {0, 1, 2, 1};
    struct blx_segment_writer *writer = open_writer(f, NULL);
    f->ends[0] = HEADER_BYTES;
    for (size_t i = 0; i < FRAMES; i++) {
        test_volume_write(&f->volume, blocks[i], i == FRAMES - 1 ? 0 : i + 1);
        test_volume_frame(&f->volume, &blocks[i], 1);
        append(f, writer);
        f->ends[i + 1] = f->ends[i] + f->volume.frame_bytes;
    }
    return writer;
}

static uint64_t count_frames(const struct blx_segment_writer *writer)
{
    struct blx_segment_summary summary;
    blx_segment_writer_summary(writer, &summary);
    assert_int_equal(summary.last_seq, summary.frame_count);
    return summary.frame_count;
}

static uint64_t size_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

static void flip(const char *path, uint64_t offset)
{
    uint8_t byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
    close(fd);
}

static void seal(struct blx_segment_writer *writer, struct blx_segment_summary *summary)
{
    struct blx_error err = {0};
    test_ok(blx_segment_writer_seal(writer, summary, &err), &err);
}

static void a_sealed_segment_says_what_is_in_it(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    struct blx_segment_summary sealed;
    struct blx_segment_reader *reader = NULL;
    seal(fill(f), &sealed);
    test_ok(blx_segment_reader_open(f->test.dir, 7, &reader, &err), &err);
    const struct blx_segment_summary *summary = blx_segment_reader_summary(reader);
    assert_int_equal(summary->number, 7);
    assert_int_equal(summary->frame_count, FRAMES);
    assert_int_equal(summary->changed_blocks, 3);
    assert_int_equal(sealed.changed_blocks, 3);
    assert_int_equal(summary->stored_bytes, f->ends[FRAMES] - HEADER_BYTES);
    assert_int_equal(summary->first_seq, 1);
    assert_int_equal(summary->last_seq, FRAMES);
    assert_true(blx_generation_equal(&summary->last_generation, &f->volume.info.generation));

    const struct blx_index *index = blx_segment_reader_index(reader);
    const struct blx_index_entry *second = blx_index_find(index, 1);
    assert_true(second->zero);
    assert_int_equal(second->frame_offset, f->ends[3]);
    blx_segment_reader_close(reader);
}

static void a_frame_reads_back_also_after_shrink(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    struct blx_segment_reader *reader = NULL;
    uint8_t buffer[65536], data[TEST_BLOCK_BYTES];
    struct blx_frame frame;
    seal(fill(f), NULL);
    test_ok(blx_segment_reader_open(f->test.dir, 7, &reader, &err), &err);
    for (int round = 0; round < 3; round++) {
        test_ok(blx_segment_reader_frame(reader, f->ends[2], (uint32_t)(f->ends[3] - f->ends[2]),
                                         buffer, &frame, &err),
                &err);
        assert_int_equal(frame.seq, 3);
        test_ok(blx_frame_unpack(&frame, data, &err), &err);
        assert_memory_equal(data, f->volume.image + 2 * TEST_BLOCK_BYTES, TEST_BLOCK_BYTES);
        blx_segment_reader_shrink(reader,
                                  round == 0 ? BLX_SEGMENT_KEEP_FILE : BLX_SEGMENT_CLOSE_FILE);
    }
    blx_segment_reader_close(reader);
}

static void a_tail_torn_at_any_byte_is_cut_to_the_last_whole_frame(void **state)
{
    struct fixture *f = *state;
    blx_segment_writer_close(fill(f));
    for (uint64_t bytes = f->ends[FRAMES]; bytes-- > 0;) {
        struct blx_segment_recovery done = {0};
        uint64_t whole = 0;
        assert_int_equal(truncate(f->open_path, (off_t)bytes), 0);
        while (whole < FRAMES && f->ends[whole + 1] <= bytes)
            whole++;
        struct blx_segment_writer *writer = open_writer(f, &done);
        assert_int_equal(count_frames(writer), whole);
        assert_string_equal(done.damage, "");
        if (bytes >= HEADER_BYTES)
            assert_int_equal(done.cut_bytes, bytes - f->ends[whole]);
        assert_int_equal(size_of(f->open_path), f->ends[whole]);
        blx_segment_writer_close(writer);
    }
}

static void recovery_goes_on_appending_after_the_cut(void **state)
{
    struct fixture *f = *state;
    blx_segment_writer_close(fill(f));
    assert_int_equal(truncate(f->open_path, (off_t)f->ends[3] + 5), 0);
    struct blx_segment_writer *writer = open_writer(f, NULL);
    f->volume.seq = 3;
    test_volume_frame(&f->volume, &(uint64_t){9}, 1);
    append(f, writer);
    assert_int_equal(count_frames(writer), 4);
    seal(writer, NULL);
}

static void an_index_that_was_not_renamed_is_cut_off(void **state)
{
    struct fixture *f = *state;
    seal(fill(f), NULL);
    struct blx_segment_recovery done = {0};
    uint64_t tail = size_of(f->sealed_path) - f->ends[FRAMES];
    assert_true(tail > 0);
    assert_int_equal(rename(f->sealed_path, f->open_path), 0);
    struct blx_segment_writer *writer = open_writer(f, &done);
    assert_int_equal(done.cut_bytes, tail);
    assert_int_equal(count_frames(writer), FRAMES);
    seal(writer, NULL);
}

/* A copy of the open segment with one byte flipped. */
static void fill_flipped(struct fixture *f, uint64_t offset)
{
    f->volume.seq = 0;
    unlink(f->open_path);
    blx_segment_writer_close(fill(f));
    flip(f->open_path, offset);
}

static void damage_before_whole_frames_is_cut_off_and_told(void **state)
{
    struct fixture *f = *state;
    blx_segment_writer_close(fill(f));
    for (uint64_t offset = HEADER_BYTES, whole = 0; offset < f->ends[FRAMES - 1]; offset += 7) {
        struct blx_segment_recovery done = {0};
        fill_flipped(f, offset);
        while (f->ends[whole + 1] <= offset)
            whole++;
        struct blx_segment_writer *writer = open_writer(f, &done);
        assert_non_null(strstr(done.damage, "whole frames follow"));
        assert_int_equal(count_frames(writer), whole);
        assert_int_equal(done.cut_bytes, f->ends[FRAMES] - f->ends[whole]);
        assert_int_equal(size_of(f->open_path), f->ends[whole]);
        blx_segment_writer_close(writer);
    }
}

static void a_damaged_header_before_frames_is_left_as_it_is(void **state)
{
    struct fixture *f = *state;
    struct blx_segment_writer *writer = NULL;
    for (uint64_t offset = 0; offset < HEADER_BYTES; offset++) {
        struct blx_error err = {0};
        fill_flipped(f, offset);
        assert_int_equal(
            blx_segment_writer_open(f->test.dir, 7, TEST_BLOCK_SHIFT, &writer, NULL, &err),
            -EBADMSG);
        assert_non_null(strstr(err.message, "open.seg"));
        assert_int_equal(size_of(f->open_path), f->ends[FRAMES]);
    }
}

static void frames_that_do_not_follow_are_cut_off_and_told(void **state)
{
    struct fixture *f = *state;
    struct blx_segment_recovery done = {0};
    struct blx_segment_writer *writer = fill(f);
    int fd = open(f->open_path, O_RDWR | O_CLOEXEC | O_APPEND);
    assert_true(fd >= 0);
    f->volume.seq += 1;
    test_volume_frame(&f->volume, &(uint64_t){3}, 1);
    assert_int_equal(write(fd, f->volume.frame, f->volume.frame_bytes), f->volume.frame_bytes);
    close(fd);
    blx_segment_writer_close(writer);
    writer = open_writer(f, &done);
    assert_non_null(strstr(done.damage, "does not follow"));
    assert_int_equal(done.cut_bytes, f->volume.frame_bytes);
    assert_int_equal(count_frames(writer), FRAMES);
    blx_segment_writer_close(writer);
}

static void damage_in_the_last_frame_counts_as_torn(void **state)
{
    struct fixture *f = *state;
    blx_segment_writer_close(fill(f));
    flip(f->open_path, f->ends[FRAMES] - 1);
    struct blx_segment_writer *writer = open_writer(f, NULL);
    assert_int_equal(count_frames(writer), FRAMES - 1);
    blx_segment_writer_close(writer);
}

static void an_open_segment_keeps_a_higher_number_and_refuses_a_lower_one(void **state)
{
    struct fixture *f = *state;
    struct blx_segment_writer *writer = NULL;
    struct blx_segment_summary summary;
    struct blx_error err = {0};
    blx_segment_writer_close(fill(f));
    test_ok(blx_segment_writer_open(f->test.dir, 5, TEST_BLOCK_SHIFT, &writer, NULL, &err), &err);
    blx_segment_writer_summary(writer, &summary);
    assert_int_equal(summary.number, 7);
    blx_segment_writer_close(writer);
    assert_int_equal(blx_segment_writer_open(f->test.dir, 8, TEST_BLOCK_SHIFT, &writer, NULL, &err),
                     -EBADMSG);
    blx_error_clear(&err);
    assert_int_equal(
        blx_segment_writer_open(f->test.dir, 7, TEST_BLOCK_SHIFT + 1, &writer, NULL, &err),
        -EBADMSG);
}

static void any_flipped_byte_of_a_sealed_segment_is_found(void **state)
{
    struct fixture *f = *state;
    seal(fill(f), NULL);
    uint8_t buffer[65536];
    uint64_t bytes = size_of(f->sealed_path);
    for (uint64_t offset = 0; offset < bytes; offset++) {
        struct blx_error err = {0};
        struct blx_segment_reader *reader = NULL;
        struct blx_frame frame;
        flip(f->sealed_path, offset);
        int rc = blx_segment_reader_open(f->test.dir, 7, &reader, &err);
        for (size_t i = 0; rc == 0 && i < FRAMES; i++)
            rc = blx_segment_reader_frame(
                reader, f->ends[i], (uint32_t)(f->ends[i + 1] - f->ends[i]), buffer, &frame, &err);
        assert_int_equal(rc, -EBADMSG);
        assert_non_null(strstr(err.message, "00000007.seg"));
        blx_segment_reader_close(reader);
        flip(f->sealed_path, offset);
    }
}

static void a_sealed_segment_that_was_cut_anywhere_is_refused(void **state)
{
    struct fixture *f = *state;
    seal(fill(f), NULL);
    for (uint64_t bytes = size_of(f->sealed_path); bytes-- > 0;) {
        struct blx_error err = {0};
        struct blx_segment_reader *reader = NULL;
        assert_int_equal(truncate(f->sealed_path, (off_t)bytes), 0);
        assert_int_equal(blx_segment_reader_open(f->test.dir, 7, &reader, &err), -EBADMSG);
    }
}

static void sealing_never_replaces_a_segment(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    seal(fill(f), NULL);
    f->volume.seq = 0;
    assert_int_equal(blx_segment_writer_seal(fill(f), NULL, &err), -EEXIST);
    assert_non_null(strstr(err.message, "00000007.seg"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_sealed_segment_says_what_is_in_it),
        TEST(a_frame_reads_back_also_after_shrink),
        TEST(a_tail_torn_at_any_byte_is_cut_to_the_last_whole_frame),
        TEST(recovery_goes_on_appending_after_the_cut),
        TEST(an_index_that_was_not_renamed_is_cut_off),
        TEST(damage_before_whole_frames_is_cut_off_and_told),
        TEST(a_damaged_header_before_frames_is_left_as_it_is),
        TEST(frames_that_do_not_follow_are_cut_off_and_told),
        TEST(damage_in_the_last_frame_counts_as_torn),
        TEST(an_open_segment_keeps_a_higher_number_and_refuses_a_lower_one),
        TEST(any_flipped_byte_of_a_sealed_segment_is_found),
        TEST(a_sealed_segment_that_was_cut_anywhere_is_refused),
        TEST(sealing_never_replaces_a_segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
