/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each bit of a store, however large: every byte of every file lies under just one checksum, which
 * is shown by adding them up; each bit of what is no frame is flipped and read; each bit of a frame
 * is carried to the end of its frame's checksum (checksum_flips.h), and as many as time allows are
 * flipped and read.
 *
 * A few MiB by default. By hand: BLXREP_FLIP_MIB=200 unit_store_flips, some minutes in a release
 * build.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "checksum_flips.h"
#include "fixture.h"
#include "store/layout_private.h"
#include "store/checkpoint/manifest_file.h"
#include "store/segment/segment.h"
#include "store/verify/verify.h"
#include "store/receive/volume_file_private.h"

enum {
    INCREMENTS = 4,
    FRAME_BLOCKS = 64,
    SEGMENTS = INCREMENTS + 1,
    OPEN_FRAMES = 5,
    FRAME_HEAD_BYTES = 64,
    FRAME_EXTENT_BYTES = 16
};

static struct test_store test;
static struct test_volume volume;
static blx_timestamp timestamps[SEGMENTS];
static uint64_t seed = 4711;

static unsigned from_environment(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : (unsigned)strtoul(text, NULL, 10);
}

static void fill(uint64_t block)
{
    uint64_t words[TEST_BLOCK_BYTES / sizeof(uint64_t)];
    for (size_t i = 0; i < TEST_BLOCK_BYTES / sizeof(uint64_t); i++)
        words[i] = test_random(&seed);
    memcpy(volume.image + block * TEST_BLOCK_BYTES, words, sizeof(words));
}

/* Every third block, so that the index has something to say. */
static void send_scattered(struct blx_agent_writer *writer, uint64_t first, unsigned frames)
{
    for (unsigned i = 0; i < frames; i++) {
        uint64_t blocks[FRAME_BLOCKS];
        for (unsigned n = 0; n < FRAME_BLOCKS; n++) {
            blocks[n] = (first + (uint64_t)(i * FRAME_BLOCKS + n) * 3) % volume.blocks;
            if (n > 0 && blocks[n] <= blocks[n - 1])
                return;
            fill(blocks[n]);
        }
        struct blx_error err = {0};
        test_volume_frame(&volume, blocks, FRAME_BLOCKS);
        test_ok(blx_agent_writer_append(writer, 0, volume.frame, volume.sent_bytes, &err), &err);
    }
}

static int make_store(void **state)
{
    (void)state;
    uint64_t mib = from_environment("BLXREP_FLIP_MIB", 4);
    struct test_volume *volumes[] = {&volume};
    test_store_init(&test);
    test_volume_init(&volume, "vda", mib * 15 / 16 << 20, 9);
    for (uint64_t block = 0; block < volume.blocks; block++)
        fill(block);
    struct blx_agent_writer *writer = test_writer_open(&test, volumes, 1, NULL);
    assert_int_equal(blx_agent_writer_begin(writer, 0, BLX_PASS_FULL, NULL), 0);
    test_volume_send_all(&volume, writer, FRAME_BLOCKS);
    for (unsigned i = 0; i < SEGMENTS; i++) {
        timestamps[i] = test_writer_commit(writer, volumes, 1, 1500000000 + i * 60);
        send_scattered(writer, i, i < INCREMENTS ? (unsigned)(mib / 16) + 1 : OPEN_FRAMES);
    }
    assert_int_equal(blx_agent_writer_sync(writer, NULL, NULL, NULL), 0);
    blx_agent_writer_close(writer);
    return 0;
}

static int remove_store(void **state)
{
    (void)state;
    test_volume_done(&volume);
    test_store_done(&test);
    return 0;
}

struct file {
    char path[PATH_MAX];
    void *content;
    size_t bytes;
};

__attribute__((format(printf, 2, 3))) static void read_file(struct file *file, const char *format,
                                                            ...)
{
    char name[64];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof(name), format, args);
    va_end(args);
    test_path(&test, file->path, "agents/web1/%s", name);
    assert_int_equal(blx_file_read(file->path, SIZE_MAX, &file->content, &file->bytes, NULL), 0);
}

/* Sealed segments, and after the last of them open.seg. */
static void read_segment(struct file *file, unsigned number)
{
    if (number <= SEGMENTS)
        read_file(file, "volumes/vda/%08u.seg", number);
    else
        read_file(file, "volumes/vda/open.seg");
}

/* Where the frames end, by nothing but their own sizes. */
static size_t frames_end(const struct file *file)
{
    const uint8_t *at = file->content;
    size_t end = sizeof(struct blx_segment_header_disk);
    size_t frame_bytes;
    while (file->bytes - end >= FRAME_HEAD_BYTES &&
           blx_frame_peek(at + end, &frame_bytes, NULL) == 0)
        end += frame_bytes;
    assert_true(end <= file->bytes);
    return end;
}

static void every_byte_lies_under_one_checksum(void **state)
{
    (void)state;
    uint64_t headers = 0, frames = 0, tables = 0, indexes = 0, footers = 0, others = 0;
    struct file file;
    for (unsigned number = 1; number <= SEGMENTS + 1; number++) {
        read_segment(&file, number);
        size_t header = sizeof(struct blx_segment_header_disk), end = frames_end(&file);
        size_t footer = number <= SEGMENTS ? sizeof(struct blx_segment_footer_disk) : 0;
        struct blx_segment_footer_disk said = {0};
        memcpy(&said, (uint8_t *)file.content + file.bytes - footer, footer);
        /* What the footer covers by its checksums is just what lies between: digests and index. */
        size_t index = blx_le64_get(said.index_count) * sizeof(struct blx_index_entry_disk);
        size_t table = (size_t)blx_le32_get(said.digest_count) << BLX_BLOCK_DIGEST_SHIFT;
        if (number <= SEGMENTS)
            assert_int_equal(blx_le64_get(said.index_offset), end + table);
        assert_int_equal(end + table + index + footer, file.bytes);
        tables += table;
        headers += header;
        frames += end - header;
        indexes += index;
        footers += footer;
        free(file.content);
    }
    for (unsigned i = 0; i < SEGMENTS; i++) {
        read_file(&file, "checkpoints/%" PRIu64, timestamps[i]);
        others += file.bytes;
        free(file.content);
    }
    read_file(&file, "volumes/vda/volume");
    others += file.bytes;
    free(file.content);
    /* verify counts every byte of every file below agents. */
    struct blx_verify_report report = {0};
    assert_int_equal(blx_verify(&test.store, NULL, NULL, &report, NULL), 0);
    assert_int_equal(report.damage_count, 0);
    assert_int_equal(report.checked_bytes, headers + frames + tables + indexes + footers + others);
    print_message("%" PRIu64 " bytes: %" PRIu64 " of frames, %" PRIu64 " of headers, %" PRIu64
                  " of digests, %" PRIu64 " of indexes, %" PRIu64 " of footers, %" PRIu64
                  " of manifests and state\n",
                  report.checked_bytes, frames, headers, tables, indexes, footers, others);
    blx_verify_report_done(&report);
}

/* Reads of the file that is looked at have one bit flipped. */
static struct {
    ino_t inode;
    size_t offset;
    uint8_t mask;
} flipped;

static ssize_t flipping_pread(int fd, void *buffer, size_t bytes, off_t offset)
{
    struct stat st;
    ssize_t got = blx_sys_real.pread(fd, buffer, bytes, offset);
    if (got > 0 && flipped.offset >= (size_t)offset && flipped.offset < (size_t)(offset + got) &&
        fstat(fd, &st) == 0 && st.st_ino == flipped.inode)
        ((uint8_t *)buffer)[flipped.offset - (size_t)offset] ^= flipped.mask;
    return got;
}

static uint64_t flips;

static void each_bit(const char *path, size_t from, size_t end, void (*is_refused)(unsigned number),
                     unsigned number)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    flipped.inode = st.st_ino;
    for (flipped.offset = from; flipped.offset < end; flipped.offset++)
        for (unsigned bit = 0; bit < 8; bit++, flips++) {
            flipped.mask = (uint8_t)(1U << bit);
            is_refused(number);
        }
    flipped.inode = 0;
}

static _Noreturn void missed(const char *what, unsigned number)
{
    fail_msg("%s %u: mask %02x of byte %zu is not found", what, number, flipped.mask,
             flipped.offset);
    abort();
}

static void segment_is_refused(unsigned number)
{
    char dir[PATH_MAX];
    struct blx_segment_reader *reader = NULL;
    test_path(&test, dir, "agents/web1/volumes/vda");
    int rc = blx_segment_reader_open(dir, number, &reader, NULL);
    if (rc != -EBADMSG && rc != -ENOTSUP)
        missed("segment", number);
}

static void state_is_refused(unsigned number)
{
    char dir[PATH_MAX];
    struct blx_volume_file file;
    test_path(&test, dir, "agents/web1/volumes/vda");
    int rc = blx_volume_file_read(dir, &file, NULL);
    if (rc != -EBADMSG && rc != -ENOTSUP)
        missed("state file", number);
}

static void manifest_is_refused(unsigned number)
{
    struct blx_manifest manifest = {0};
    int rc = blx_manifest_read(blx_store_agent(&test.store, "web1"), timestamps[number], &manifest,
                               NULL);
    if (rc != -EBADMSG && rc != -ENOTSUP)
        missed("manifest", number);
}

/* Of a sealed segment: what lies between its frames and its index is the digests. */
static size_t index_offset(const struct file *file)
{
    struct blx_segment_footer_disk footer;
    memcpy(&footer, (uint8_t *)file->content + file->bytes - sizeof(footer), sizeof(footer));
    return (size_t)blx_le64_get(footer.index_offset);
}

/* A segment opens with them; `verify` reads them all. */
static void a_flip_in_the_digests_is_found_by_verify(void **state)
{
    (void)state;
    enum { PLACES = 3 };
    struct blx_sys sys = blx_sys_real;
    struct file file;
    sys.pread = flipping_pread;
    for (unsigned number = 1; number <= SEGMENTS; number++) {
        read_segment(&file, number);
        size_t from = frames_end(&file), end = index_offset(&file);
        struct stat st;
        assert_int_equal(stat(file.path, &st), 0);
        assert_true(end > from);
        for (size_t place = 0; place < PLACES; place++) {
            struct blx_verify_report report = {0};
            flipped.inode = st.st_ino;
            flipped.offset = from + place * (end - 1 - from) / (PLACES - 1);
            flipped.mask = 0x10;
            blx_sys = &sys;
            int rc = blx_verify(&test.store, NULL, NULL, &report, NULL);
            blx_sys = &blx_sys_real;
            flipped.inode = 0;
            if (rc < 0 || report.damage_count == 0)
                missed("digests of segment", number);
            blx_verify_report_done(&report);
        }
        free(file.content);
    }
}

static void each_bit_outside_of_the_frames_is_found(void **state)
{
    (void)state;
    struct blx_sys sys = blx_sys_real;
    struct file file;
    sys.pread = flipping_pread;
    blx_sys = &sys;
    flips = 0;
    for (unsigned number = 1; number <= SEGMENTS; number++) {
        read_segment(&file, number);
        size_t header = sizeof(struct blx_segment_header_disk);
        each_bit(file.path, 0, header, segment_is_refused, number);
        each_bit(file.path, index_offset(&file), file.bytes, segment_is_refused, number);
        free(file.content);
        read_file(&file, "checkpoints/%" PRIu64, timestamps[number - 1]);
        each_bit(file.path, 0, file.bytes, manifest_is_refused, number - 1);
        free(file.content);
    }
    read_file(&file, "volumes/vda/volume");
    each_bit(file.path, 0, file.bytes, state_is_refused, 0);
    free(file.content);
    blx_sys = &blx_sys_real;
    print_message("%" PRIu64 " bits flipped\n", flips);
}

/* Each bit in [from, end) of a frame whose bytes are its own to change. */
static void each_bit_of_frame(uint8_t *frame, size_t frame_bytes, size_t from, size_t end,
                              size_t step)
{
    struct blx_frame parsed;
    for (size_t bit = from * 8; bit < end * 8; bit += step, flips++) {
        flipped.offset = bit / 8;
        flipped.mask = (uint8_t)(1U << bit % 8);
        frame[flipped.offset] ^= flipped.mask;
        if (blx_frame_parse(frame, frame_bytes, &parsed, NULL) != -EBADMSG)
            missed("frame at byte", 0);
        frame[flipped.offset] ^= flipped.mask;
    }
}

static void frames_are_refused_with_a_bit_flipped(void **state)
{
    (void)state;
    unsigned frames = 0;
    struct file file;
    flips = 0;
    for (unsigned number = 1; number <= SEGMENTS + 1; number++) {
        read_segment(&file, number);
        uint8_t *content = file.content;
        size_t frame_bytes, end = frames_end(&file);
        for (size_t at = sizeof(struct blx_segment_header_disk); at < end; at += frame_bytes) {
            struct blx_frame frame;
            assert_int_equal(blx_frame_peek(content + at, &frame_bytes, NULL), 0);
            assert_int_equal(blx_frame_parse(content + at, frame_bytes, &frame, NULL), 0);
            size_t head = FRAME_HEAD_BYTES + frame.extent_count * FRAME_EXTENT_BYTES;
            each_bit_of_frame(content + at, frame_bytes, 0, head, frames % 16 == 0 ? 1 : 7);
            each_bit_of_frame(content + at, frame_bytes, head, frame_bytes, (1 << 17) + 3);
            frames++;
        }
        free(file.content);
    }
    print_message("%u frames, %" PRIu64 " bits flipped\n", frames, flips);
}

/* The checksum is made with its own field as zero; a bit that flips there is another checksum. */
static void each_bit_of_a_frame_changes_its_checksum(void **state)
{
    (void)state;
    uint64_t bits = 0, blind = 0;
    struct file file;
    for (unsigned number = 1; number <= SEGMENTS + 1; number++) {
        read_segment(&file, number);
        uint8_t *content = file.content;
        size_t frame_bytes, end = frames_end(&file);
        for (size_t at = sizeof(struct blx_segment_header_disk); at < end; at += frame_bytes) {
            assert_int_equal(blx_frame_peek(content + at, &frame_bytes, NULL), 0);
            memset(content + at + offsetof(struct blx_frame_header_disk, checksum), 0,
                   sizeof(blx_le64));
            blind += test_checksum_blind_bits(content + at, frame_bytes);
            bits += frame_bytes * 8;
        }
        free(file.content);
    }
    print_message("%" PRIu64 " bits, of which %" PRIu64 " may flip unseen\n", bits, blind);
    assert_int_equal(blind, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_lies_under_one_checksum),
        cmocka_unit_test(a_flip_in_the_digests_is_found_by_verify),
        cmocka_unit_test(each_bit_outside_of_the_frames_is_found),
        cmocka_unit_test(frames_are_refused_with_a_bit_flipped),
        cmocka_unit_test(each_bit_of_a_frame_changes_its_checksum),
    };
    return cmocka_run_group_tests(tests, make_store, remove_store);
}
