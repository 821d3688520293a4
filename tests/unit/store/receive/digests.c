/* SPDX-License-Identifier: Apache-2.0 */
/* The digests that come with frames: the segments' tables have them, images read these and nothing
 * else, and whatever is missing is made of the frames. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "fixture.h"
#include "receive/version1.h"
#include "store/digest_key.h"
#include "store/layout_private.h"
#include "store/prune/rewrite.h"
#include "store/verify/verify.h"
#include "store/view/image.h"
#include "store/view/plan_private.h"

enum { BLOCKS = 48, PER_FRAME = 7 };

struct fixture {
    struct test_store test;
    struct test_volume sda;
    struct test_volume *volumes[1];
    struct blx_agent_writer *writer;
    struct blx_volume_state state;
    uint64_t second;
    uint8_t generation;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    test_store_init(&f->test);
    test_volume_init(&f->sda, "sda", BLOCKS * TEST_BLOCK_BYTES, 1);
    f->volumes[0] = &f->sda;
    f->second = 1000;
    f->generation = 1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    blx_agent_writer_close(f->writer);
    test_volume_done(&f->sda);
    test_store_done(&f->test);
    free(f);
    return 0;
}

/* The agent's next session, under a generation of its own. */
static void begin(struct fixture *f, enum blx_pass pass)
{
    struct blx_error err = {0};
    blx_agent_writer_close(f->writer);
    test_volume_generation(&f->sda, ++f->generation);
    f->sda.seq = 0;
    f->writer = test_writer_open(&f->test, f->volumes, 1, &f->state);
    test_ok(blx_agent_writer_begin(f->writer, 0, pass, &err), &err);
}

static blx_timestamp commit(struct fixture *f)
{
    return test_writer_commit(f->writer, f->volumes, 1, f->second += 100);
}

/* Every fifth block is zero. */
static void send_all(struct fixture *f, uint64_t seed)
{
    for (uint64_t block = 0; block < BLOCKS; block++)
        test_volume_write(&f->sda, block, block % 5 == 0 ? 0 : seed + block);
    test_volume_send_all(&f->sda, f->writer, PER_FRAME);
}

static void segment_path(const struct fixture *f, uint32_t number, char path[PATH_MAX])
{
    test_path(&f->test, path, "agents/web1/volumes/sda/%08u.seg", number);
}

static struct blx_segment_reader *open_segment(const struct fixture *f, uint32_t number)
{
    struct blx_error err = {0};
    struct blx_segment_reader *reader = NULL;
    char dir[PATH_MAX];
    test_path(&f->test, dir, "agents/web1/volumes/sda");
    test_ok(blx_segment_reader_open(dir, number, &reader, &err), &err);
    return reader;
}

/* What an agent computes from its disk. */
static void digest_of(const struct fixture *f, uint64_t block,
                      uint8_t digest[BLX_BLOCK_DIGEST_BYTES])
{
    const struct blx_volume_key keys = test_digest_keys("sda");
    struct blx_block_digester *digester = NULL;
    struct blx_error err = {0};
    test_ok(blx_block_digester_new(&keys, &digester, &err), &err);
    test_ok(blx_block_digest(digester, block, f->sda.image + block * TEST_BLOCK_BYTES,
                             TEST_BLOCK_BYTES, digest, &err),
            &err);
    blx_block_digester_free(digester);
}

static struct blx_image *open_image(const struct fixture *f, enum blx_image_origin origin)
{
    struct blx_error err = {0};
    struct blx_image *image = NULL;
    test_ok(blx_agent_writer_open_image(f->writer, 0, origin, &image, &err), &err);
    assert_int_equal(blx_image_unit_shift(image), BLX_BLOCK_DIGEST_SHIFT);
    return image;
}

/* The image has the digests of the disk as it is, but for those blocks that are damaged. */
static unsigned check_image(const struct fixture *f, enum blx_image_origin origin)
{
    struct blx_image *image = open_image(f, origin);
    unsigned damaged = 0;
    for (uint64_t block = 0; block < BLOCKS; block++) {
        uint8_t wanted[BLX_BLOCK_DIGEST_BYTES], found[BLX_BLOCK_DIGEST_BYTES];
        int rc = blx_image_read(image, block, 1, found, NULL);
        assert_true(rc == 0 || rc == -EBADMSG);
        damaged += rc != 0;
        digest_of(f, block, wanted);
        if (rc == 0)
            assert_memory_equal(found, wanted, sizeof(found));
    }
    blx_image_close(image);
    return damaged;
}

/* How many digests of the segment's blocks are in its table, all of them right. */
static uint32_t check_table(const struct fixture *f, uint32_t number)
{
    struct blx_segment_reader *reader = open_segment(f, number);
    const struct blx_index *index = blx_segment_reader_index(reader);
    uint32_t count = 0;
    for (size_t i = 0; i < index->count; i++) {
        const struct blx_index_entry *entry = &index->entries[i];
        if (!entry->has_digests)
            continue;
        assert_false(entry->zero);
        assert_int_equal(entry->digest, count);
        for (uint32_t n = 0; n < entry->extent.block_count; n++, count++) {
            uint8_t wanted[BLX_BLOCK_DIGEST_BYTES], found[BLX_BLOCK_DIGEST_BYTES];
            assert_int_equal(blx_segment_reader_digests(reader, count, 1, found, NULL), 0);
            digest_of(f, entry->extent.start_block + n, wanted);
            assert_memory_equal(found, wanted, sizeof(found));
        }
    }
    assert_int_equal(blx_segment_reader_summary(reader)->digest_count, count);
    blx_segment_reader_close(reader);
    return count;
}

static uint32_t data_blocks(const struct fixture *f, uint32_t number)
{
    struct blx_segment_reader *reader = open_segment(f, number);
    const struct blx_index *index = blx_segment_reader_index(reader);
    uint64_t count = 0;
    for (size_t i = 0; i < index->count; i++)
        count += index->entries[i].zero ? 0 : index->entries[i].extent.block_count;
    blx_segment_reader_close(reader);
    return (uint32_t)count;
}

/* Flips a bit of each byte of the segment's frames, after their headers. */
static void damage_frames(const struct fixture *f, uint32_t number)
{
    struct blx_segment_reader *reader = open_segment(f, number);
    const struct blx_index *index = blx_segment_reader_index(reader);
    char path[PATH_MAX];
    segment_path(f, number, path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    for (size_t i = 0; i < index->count; i++) {
        uint8_t byte;
        off_t at = (off_t)(index->entries[i].frame_offset + index->entries[i].frame_bytes - 1);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte = (uint8_t)(~byte | 1);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    close(fd);
    blx_segment_reader_close(reader);
}

static void a_sealed_segment_has_the_digest_of_each_block(void **state)
{
    struct fixture *f = *state;
    begin(f, BLX_PASS_FULL);
    send_all(f, 100);
    for (uint64_t block = 0; block < BLOCKS; block += 4) /* some again, and some as zeros */
        test_volume_send(&f->sda, f->writer, block, block % 3 == 0 ? 0 : 900 + block);
    commit(f);
    assert_int_equal(check_table(f, 1), data_blocks(f, 1));
}

static void an_image_of_digests_reads_no_frame(void **state)
{
    struct fixture *f = *state;
    begin(f, BLX_PASS_FULL);
    send_all(f, 100);
    commit(f);
    for (uint64_t block = 3; block < BLOCKS; block += 9)
        test_volume_send(&f->sda, f->writer, block, 700 + block);
    assert_int_equal(check_image(f, BLX_IMAGE_FROM_FRAMES), 0);
    damage_frames(f, 1);
    damage_frames(f, 2);
    assert_int_equal(check_image(f, BLX_IMAGE_FROM_TABLES), 0);
    assert_true(check_image(f, BLX_IMAGE_FROM_FRAMES) > BLOCKS / 2);
}

static void frames_without_digests_are_unpacked(void **state)
{
    struct fixture *f = *state;
    f->sda.has_digests = false;
    begin(f, BLX_PASS_FULL);
    send_all(f, 100);
    commit(f);
    f->sda.has_digests = true;
    begin(f, BLX_PASS_CONTINUE);
    for (uint64_t block = 1; block < BLOCKS; block += 6)
        test_volume_send(&f->sda, f->writer, block, 500 + block);
    commit(f);
    assert_int_equal(check_table(f, 1), 0);
    assert_int_equal(check_table(f, 2), data_blocks(f, 2));
    assert_int_equal(check_image(f, BLX_IMAGE_FROM_TABLES), 0);
    assert_int_equal(check_image(f, BLX_IMAGE_FROM_FRAMES), 0);
}

static void digests_of_another_secret_are_not_believed(void **state)
{
    struct fixture *f = *state;
    static const uint8_t secret[BLX_KEY_BYTES] = "another secret of the dispatcher";
    struct blx_key other;
    struct blx_volume_key keys;
    begin(f, BLX_PASS_FULL);
    send_all(f, 100);
    commit(f);
    assert_int_equal(blx_key_set(&other, secret, NULL), 0);
    assert_int_equal(blx_volume_key_derive(&other, "web1", "sda", &keys, NULL), 0);
    blx_agent_writer_set_digest_key(f->writer, &other);
    struct blx_image *image = open_image(f, BLX_IMAGE_FROM_TABLES);
    uint8_t found[BLX_BLOCK_DIGEST_BYTES], wanted[BLX_BLOCK_DIGEST_BYTES];
    struct blx_block_digester *digester = NULL;
    assert_int_equal(blx_block_digester_new(&keys, &digester, NULL), 0);
    for (uint64_t block = 0; block < BLOCKS; block++) {
        assert_int_equal(blx_image_read(image, block, 1, found, NULL), 0);
        assert_int_equal(blx_block_digest(digester, block, f->sda.image + block * TEST_BLOCK_BYTES,
                                          TEST_BLOCK_BYTES, wanted, NULL),
                         0);
        assert_memory_equal(found, wanted, sizeof(found));
    }
    blx_block_digester_free(digester);
    blx_image_close(image);
}

static void a_session_that_ends_keeps_the_open_segments_digests(void **state)
{
    struct fixture *f = *state;
    begin(f, BLX_PASS_FULL);
    send_all(f, 100);
    begin(f, BLX_PASS_CONTINUE); /* which finds the frames, and seals them */
    assert_int_equal(check_table(f, 1), data_blocks(f, 1));
    char path[PATH_MAX];
    test_path(&f->test, path, "agents/web1/volumes/sda/open.digests");
    assert_int_equal(access(path, F_OK), -1);
}

/* A power cut may leave anything in the log: another segment's records, zeros, a part. */
static void a_log_that_a_crash_left_is_believed_record_by_record(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];
    test_path(&f->test, path, "agents/web1/volumes/sda/open.digests");
    for (unsigned at = 0; at < 8; at++) {
        begin(f, BLX_PASS_FULL);
        send_all(f, 100 + at);
        blx_agent_writer_close(f->writer);
        f->writer = NULL;
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0);
        uint8_t byte;
        off_t place = st.st_size * (off_t)at / 8 + 3;
        assert_int_equal(pread(fd, &byte, 1, place), 1);
        byte ^= 0x40;
        assert_int_equal(pwrite(fd, &byte, 1, place), 1);
        if (at % 2 == 1)
            assert_int_equal(ftruncate(fd, place + 20), 0);
        close(fd);
        begin(f, BLX_PASS_CONTINUE);
        uint32_t number = f->state.volume + 1 + at;
        assert_true(check_table(f, number) < data_blocks(f, number));
        assert_int_equal(check_image(f, BLX_IMAGE_FROM_TABLES), 0);
        commit(f);
    }
}

static void a_frame_without_its_digests_is_refused(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    uint64_t block = 3;
    begin(f, BLX_PASS_FULL);
    test_volume_write(&f->sda, block, 5);
    test_volume_frame(&f->sda, &block, 1);
    assert_int_equal(blx_agent_writer_append(f->writer, 0, f->sda.frame, f->sda.frame_bytes, &err),
                     -EBADMSG);
    assert_non_null(strstr(err.message, "does not come with a digest"));
    test_ok(blx_agent_writer_append(f->writer, 0, f->sda.frame, f->sda.sent_bytes, &err), &err);
}

/* As blx_digest_key_take() would make it, with the secret of the tests. */
static void write_secret(const struct fixture *f)
{
    struct blx_digest_key_disk disk = {.magic = blx_le32_of(BLX_DIGEST_MAGIC),
                                       .version = BLX_LAYOUT_VERSION};
    struct blx_error err = {0};
    char path[PATH_MAX];
    memcpy(disk.secret, test_digest_key()->secret, sizeof(disk.secret));
    disk.checksum =
        blx_le64_of(blx_layout_checksum(&disk, sizeof(disk), offsetof(__typeof__(disk), checksum)));
    test_path(&f->test, path, "agents/web1/digest-key");
    test_ok(blx_file_replace(path, &disk, sizeof(disk), 0600, &err), &err);
}

static void a_rewrite_takes_digests_along_and_makes_those_of_before(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    struct blx_rewrite_report report;
    begin(f, BLX_PASS_FULL);
    send_all(f, 100);
    f->sda.has_digests = false;
    begin(f, BLX_PASS_CONTINUE); /* whose segments belong to the same checkpoint */
    for (uint64_t block = 1; block < BLOCKS; block += 2)
        test_volume_send(&f->sda, f->writer, block, 300 + block);
    f->sda.has_digests = true;
    begin(f, BLX_PASS_CONTINUE);
    for (uint64_t block = 2; block < BLOCKS; block += 3)
        test_volume_send(&f->sda, f->writer, block, 400 + block);
    blx_timestamp timestamp = commit(f);
    assert_int_equal(check_table(f, 2), 0);
    write_secret(f);
    blx_agent_writer_close(f->writer);
    f->writer = NULL;
    const struct blx_rewrite_request request = {0};
    test_ok(blx_rewrite(blx_store_agent(&f->test.store, "web1"), &request, &report, &err), &err);
    assert_int_equal(report.replaced, 3);
    struct blx_verify_report found;
    test_ok(blx_verify(&f->test.store, "web1", NULL, &found, &err), &err);
    assert_int_equal(found.damage_count, 0);
    blx_verify_report_done(&found);
    assert_int_equal(check_table(f, 3), data_blocks(f, 3));
    test_restores_to(&f->test, timestamp, "sda", f->sda.image, BLOCKS * TEST_BLOCK_BYTES);
    char path[PATH_MAX];
    test_path(&f->test, path, "agents/web1/volumes/sda/rewrite.digests");
    assert_int_equal(access(path, F_OK), -1);
}

static void verify_finds_a_digest_that_is_not_its_blocks(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    struct blx_verify_report report;
    begin(f, BLX_PASS_FULL);
    send_all(f, 100);
    uint64_t block = 17;
    test_volume_write(&f->sda, block, 4711);
    test_volume_frame(&f->sda, &block, 1);
    f->sda.frame[f->sda.frame_bytes + 5] ^= 1; /* the agent lies, or its memory does */
    test_ok(blx_agent_writer_append(f->writer, 0, f->sda.frame, f->sda.sent_bytes, &err), &err);
    commit(f);
    /* Without the secret nobody can tell. */
    test_ok(blx_verify(&f->test.store, "web1", NULL, &report, &err), &err);
    assert_int_equal(report.damage_count, 0);
    blx_verify_report_done(&report);
    write_secret(f);
    test_ok(blx_verify(&f->test.store, "web1", NULL, &report, &err), &err);
    assert_int_equal(report.damage_count, 1);
    assert_non_null(strstr(report.damages[0].cause, "are not those of its blocks"));
    assert_int_equal(report.hurt_count, 1);
    blx_verify_report_done(&report);
}

static void the_secret_is_made_once_and_again_if_it_is_damaged(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    struct blx_agent_store agent = blx_store_agent(&f->test.store, "web1");
    struct blx_key first, second, third;
    struct blx_volume_key keys;
    struct stat st;
    char path[PATH_MAX];
    begin(f, BLX_PASS_FULL);
    assert_int_equal(blx_digest_key_find(agent, "sda", &keys, &err), 0);
    test_ok(blx_digest_key_take(agent, &first, &err), &err);
    test_ok(blx_digest_key_take(agent, &second, &err), &err);
    assert_memory_equal(first.secret, second.secret, sizeof(first.secret));
    test_ok(blx_digest_key_path(agent, path, &err), &err);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(blx_digest_key_find(agent, "sda", &keys, &err), 1);
    assert_true(blx_key_id_equal(&keys.id, &first.id));
    for (off_t bytes = 47; bytes >= 0; bytes -= 47) {
        assert_int_equal(truncate(path, bytes), 0);
        assert_int_equal(blx_digest_key_find(agent, "sda", &keys, NULL), -EBADMSG);
        test_ok(blx_digest_key_take(agent, &third, &err), &err);
        assert_memory_not_equal(first.secret, third.secret, sizeof(first.secret));
    }
}

/* The volume of version1.h. */
static void fill_version1(struct fixture *f)
{
    for (uint64_t frame = 1; frame <= 3; frame++)
        memset(f->sda.image + frame * 3 * TEST_BLOCK_BYTES, (int)frame, 2UL * TEST_BLOCK_BYTES);
}

static void a_segment_of_version_1_is_read(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    char path[PATH_MAX];
    begin(f, BLX_PASS_FULL);
    send_all(f, 1);
    commit(f); /* it has the folder, and the segment 1, whose place the older one takes */
    memset(f->sda.image, 0, BLOCKS * TEST_BLOCK_BYTES);
    fill_version1(f);
    segment_path(f, 1, path);
    test_ok(blx_file_replace(path, version1_sealed, sizeof(version1_sealed), 0600, &err), &err);
    struct blx_segment_reader *reader = open_segment(f, 1);
    assert_int_equal(blx_segment_reader_summary(reader)->frame_count, 3);
    assert_int_equal(blx_segment_reader_summary(reader)->digest_count, 0);
    assert_true(blx_key_id_is_none(&blx_segment_reader_summary(reader)->digest_key_id));
    blx_segment_reader_close(reader);
    assert_int_equal(check_image(f, BLX_IMAGE_FROM_TABLES), 0);
}

/* It goes on as it began; digests begin with the next segment. */
static void an_open_segment_of_version_1_is_sealed_as_such(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    struct blx_segment_writer *writer = NULL;
    struct blx_frame frame;
    char path[PATH_MAX], dir[PATH_MAX];
    uint64_t block = 20;
    test_path(&f->test, dir, ".");
    test_path(&f->test, path, "open.seg");
    test_ok(blx_file_replace(path, version1_open, sizeof(version1_open), 0600, &err), &err);
    test_ok(blx_segment_writer_open(dir, 1, TEST_BLOCK_SHIFT, &writer, NULL, &err), &err);
    assert_false(blx_segment_writer_is_full(writer, NULL));
    assert_true(blx_segment_writer_is_full(writer, &test_digest_key()->id));
    blx_segment_writer_set_digest_key(writer, &test_digest_key()->id);
    test_volume_write(&f->sda, block, 9);
    f->sda.seq = 3;
    memset(&f->sda.info.generation, 0, sizeof(f->sda.info.generation));
    f->sda.info.generation.bytes[0] = 1;
    test_volume_frame(&f->sda, &block, 1);
    test_ok(blx_frame_parse_with_digests(f->sda.frame, f->sda.sent_bytes, &frame, &err), &err);
    frame.generation = f->sda.info.generation;
    struct blx_segment_summary summary;
    blx_segment_writer_summary(writer, &summary);
    frame.generation = summary.last_generation;
    test_ok(blx_segment_writer_append(writer, &frame, &err), &err);
    test_ok(blx_segment_writer_seal(writer, &summary, &err), &err);
    assert_int_equal(summary.frame_count, 4);
    assert_int_equal(summary.digest_count, 0);
    struct blx_segment_header_disk header;
    test_path(&f->test, path, "00000001.seg");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, &header, sizeof(header)), sizeof(header));
    close(fd);
    assert_int_equal(header.version, 1);
    struct blx_segment_reader *reader = NULL;
    test_ok(blx_segment_reader_open(dir, 1, &reader, &err), &err);
    blx_segment_reader_close(reader);
}

/* The memory of an image does not depend on the size of the disk: a pass in order is one entry of
 * its map for each run of data, not for each frame. */
static void a_pass_in_order_is_a_short_index(void **state)
{
    struct fixture *f = *state;
    begin(f, BLX_PASS_FULL);
    for (uint64_t block = 0; block < BLOCKS; block++)
        test_volume_write(&f->sda, block, 1 + block);
    test_volume_send_all(&f->sda, f->writer, 1);
    commit(f);
    struct blx_plan plan = {.tables = test_digest_key()->id};
    struct blx_error err = {0};
    test_ok(blx_plan_add_chain(blx_store_agent(&f->test.store, "web1"),
                               blx_agent_writer_get_last(f->writer)->timestamp, "sda", &plan, &err),
            &err);
    assert_int_equal(plan.index.count, 1);
    blx_plan_done(&plan);
    test_ok(blx_plan_add_chain(blx_store_agent(&f->test.store, "web1"),
                               blx_agent_writer_get_last(f->writer)->timestamp, "sda", &plan, &err),
            &err);
    assert_int_equal(plan.index.count, BLOCKS);
    blx_plan_done(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_sealed_segment_has_the_digest_of_each_block, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_image_of_digests_reads_no_frame, setup, teardown),
        cmocka_unit_test_setup_teardown(frames_without_digests_are_unpacked, setup, teardown),
        cmocka_unit_test_setup_teardown(digests_of_another_secret_are_not_believed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_session_that_ends_keeps_the_open_segments_digests, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_log_that_a_crash_left_is_believed_record_by_record, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_frame_without_its_digests_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_rewrite_takes_digests_along_and_makes_those_of_before,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(verify_finds_a_digest_that_is_not_its_blocks, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_secret_is_made_once_and_again_if_it_is_damaged, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_segment_of_version_1_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(an_open_segment_of_version_1_is_sealed_as_such, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_pass_in_order_is_a_short_index, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
