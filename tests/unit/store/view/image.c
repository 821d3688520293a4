/* SPDX-License-Identifier: Apache-2.0 */
/* Rescans as the store sees them: another generation goes on with what is there, and what is there
 * can be read as an image. */
#include "store/view/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

enum { BLOCKS = 60, SIZE_BYTES = BLOCKS * TEST_BLOCK_BYTES, GROWN_BLOCKS = 90, MOMENTS = 40 };

struct fixture {
    struct test_store test;
    struct test_volume sda;
    struct test_volume *volumes[1];
    struct blx_agent_writer *writer;
    struct blx_volume_state state;
    uint64_t random;
    uint8_t generation;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    test_store_init(&f->test);
    test_volume_init(&f->sda, "sda", GROWN_BLOCKS * TEST_BLOCK_BYTES, 1);
    f->sda.info.size_bytes = SIZE_BYTES;
    f->sda.blocks = BLOCKS;
    f->sda.has_digests = false; /* so that the image is of data */
    f->volumes[0] = &f->sda;
    f->random = 11;
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

static void open_session(struct fixture *f)
{
    blx_agent_writer_close(f->writer);
    f->writer = test_writer_open(&f->test, f->volumes, 1, &f->state);
}

static void begin(struct fixture *f, enum blx_pass pass)
{
    struct blx_error err = {0};
    test_ok(blx_agent_writer_begin(f->writer, 0, pass, &err), &err);
}

/* The agent's tracking began again; `size_blocks` as it is now. */
static void begin_again(struct fixture *f, enum blx_pass pass, uint64_t size_blocks)
{
    f->sda.info.size_bytes = size_blocks * TEST_BLOCK_BYTES;
    f->sda.blocks = size_blocks;
    test_volume_generation(&f->sda, ++f->generation);
    f->sda.seq = 0;
    open_session(f);
    begin(f, pass);
}

static blx_timestamp commit(struct fixture *f)
{
    static uint64_t second = 1000000000;
    return test_writer_commit(f->writer, f->volumes, 1, second += 100);
}

static void sync_all(struct fixture *f)
{
    struct blx_error err = {0};
    test_ok(blx_agent_writer_sync(f->writer, NULL, NULL, &err), &err);
}

static struct blx_image *open_image(struct fixture *f)
{
    struct blx_error err = {0};
    struct blx_image *image = NULL;
    test_ok(blx_agent_writer_open_image(f->writer, 0, BLX_IMAGE_FROM_TABLES, &image, &err), &err);
    assert_int_equal(blx_image_block_shift(image), TEST_BLOCK_SHIFT);
    assert_int_equal(blx_image_size_bytes(image), f->sda.info.size_bytes);
    return image;
}

/* In steps that cross the borders of frames and holes. */
static void check_image(struct fixture *f)
{
    struct blx_error err = {0};
    struct blx_image *image = open_image(f);
    uint8_t buffer[7 * TEST_BLOCK_BYTES];
    for (uint64_t block = 0; block < f->sda.blocks;) {
        uint32_t count = 1 + (uint32_t)(test_random(&f->random) % 7);
        if (block + count > f->sda.blocks)
            count = (uint32_t)(f->sda.blocks - block);
        memset(buffer, 0xee, sizeof(buffer));
        test_ok(blx_image_read(image, block, count, buffer, &err), &err);
        assert_memory_equal(buffer, f->sda.image + block * TEST_BLOCK_BYTES,
                            (size_t)count * TEST_BLOCK_BYTES);
        block += count;
    }
    blx_image_close(image);
}

static void an_image_is_the_checkpoint_and_the_frames_after_it(void **state)
{
    struct fixture *f = *state;
    open_session(f);
    assert_int_equal(f->state.image_bytes, 0);
    assert_int_equal(blx_agent_writer_open_image(f->writer, 0, BLX_IMAGE_FROM_TABLES, NULL, NULL),
                     -EPROTO);
    begin(f, BLX_PASS_FULL);
    check_image(f); /* nothing has come: zeros */
    test_volume_send(&f->sda, f->writer, 3, 77);
    check_image(f); /* no checkpoint yet */
    test_volume_send_all(&f->sda, f->writer, 9);
    commit(f);
    check_image(f);
    test_volume_send(&f->sda, f->writer, 5, 78);
    test_volume_send(&f->sda, f->writer, 3, 0);
    check_image(f);
    struct blx_image *older = open_image(f);
    test_volume_send(&f->sda, f->writer, 5, 79);
    uint8_t block[TEST_BLOCK_BYTES];
    assert_int_equal(blx_image_read(older, 5, 1, block, NULL), 0);
    assert_memory_not_equal(block, f->sda.image + 5 * TEST_BLOCK_BYTES, TEST_BLOCK_BYTES);
    blx_image_close(older);
    check_image(f);
    open_session(f);
    assert_int_equal(f->state.durable_seq, f->sda.seq);
    assert_int_equal(f->state.image_bytes, SIZE_BYTES);
}

static void a_rescan_goes_on_from_what_is_there(void **state)
{
    struct fixture *f = *state;
    open_session(f);
    begin(f, BLX_PASS_FULL);
    test_volume_write(&f->sda, 1, 5);
    test_volume_send_all(&f->sda, f->writer, 9);
    commit(f);
    test_volume_send(&f->sda, f->writer, 7, 100); /* durable, in no checkpoint */
    sync_all(f);
    begin_again(f, BLX_PASS_RESCAN, BLOCKS);
    assert_int_equal(f->state.image_bytes, SIZE_BYTES);
    assert_true(!blx_generation_equal(&f->state.generation, &f->sda.info.generation));
    check_image(f);
    test_volume_send(&f->sda, f->writer, 8, 101);
    sync_all(f);
    open_session(f);
    assert_true(blx_generation_equal(&f->state.generation, &f->sda.info.generation));
    assert_int_equal(f->state.durable_seq, 1);
    begin(f, BLX_PASS_RESUME);
    check_image(f);
    blx_timestamp timestamp = commit(f);
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    assert_int_equal(
        blx_manifest_read(blx_store_agent(&f->test.store, "web1"), timestamp, &manifest, NULL), 0);
    assert_false(manifest.volumes[0].base);
    assert_int_equal(manifest.volumes[0].changed_bytes, 2 * TEST_BLOCK_BYTES);
    test_restores_to(&f->test, timestamp, "sda", f->sda.image, SIZE_BYTES);
}

static void a_first_sync_that_a_reboot_cut_off_still_becomes_the_base(void **state)
{
    struct fixture *f = *state;
    open_session(f);
    begin(f, BLX_PASS_FULL);
    for (uint64_t block = 0; block < BLOCKS / 2; block++)
        test_volume_send(&f->sda, f->writer, block, 200 + block);
    sync_all(f);
    begin_again(f, BLX_PASS_RESCAN, BLOCKS);
    check_image(f);
    for (uint64_t block = BLOCKS / 2; block < BLOCKS; block++)
        test_volume_send(&f->sda, f->writer, block, 200 + block);
    blx_timestamp timestamp = commit(f);
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    assert_int_equal(
        blx_manifest_read(blx_store_agent(&f->test.store, "web1"), timestamp, &manifest, NULL), 0);
    assert_true(manifest.volumes[0].base);
    assert_int_equal(manifest.volumes[0].segment_count, 2);
    test_restores_to(&f->test, timestamp, "sda", f->sda.image, SIZE_BYTES);
}

static void a_rescan_needs_an_image_and_a_new_generation(void **state)
{
    struct fixture *f = *state;
    open_session(f);
    assert_int_equal(blx_agent_writer_begin(f->writer, 0, BLX_PASS_RESCAN, NULL), -EPROTO);
    begin(f, BLX_PASS_FULL);
    test_volume_send_all(&f->sda, f->writer, 9);
    commit(f);
    open_session(f);
    assert_int_equal(blx_agent_writer_begin(f->writer, 0, BLX_PASS_RESCAN, NULL), -EPROTO);
    strcpy(f->sda.info.identity, "another");
    test_volume_generation(&f->sda, 9);
    open_session(f);
    assert_int_equal(f->state.image_bytes, 0);
    assert_non_null(strstr(f->state.reason, "replaced by 'another'"));
    assert_int_equal(blx_agent_writer_begin(f->writer, 0, BLX_PASS_RESCAN, NULL), -EPROTO);
    strcpy(f->sda.info.identity, "");
    f->sda.info.size_bytes = SIZE_BYTES - TEST_BLOCK_BYTES;
    open_session(f);
    assert_int_equal(f->state.image_bytes, 0);
    assert_non_null(strstr(f->state.reason, "shrank"));
    f->sda.info.size_bytes = SIZE_BYTES;
    f->sda.info.block_shift = TEST_BLOCK_SHIFT + 1;
    open_session(f);
    assert_int_equal(f->state.image_bytes, 0);
    f->sda.info.block_shift = TEST_BLOCK_SHIFT;
    open_session(f);
    assert_int_equal(f->state.image_bytes, SIZE_BYTES);
}

static void a_grown_disk_goes_on_from_its_smaller_image(void **state)
{
    struct fixture *f = *state;
    open_session(f);
    begin(f, BLX_PASS_FULL);
    test_volume_write(&f->sda, 2, 300);
    test_volume_send_all(&f->sda, f->writer, 9);
    blx_timestamp small = commit(f);
    uint8_t *old = malloc(SIZE_BYTES);
    assert_non_null(old);
    memcpy(old, f->sda.image, SIZE_BYTES);
    begin_again(f, BLX_PASS_RESCAN, GROWN_BLOCKS);
    assert_int_equal(f->state.image_bytes, SIZE_BYTES);
    assert_true(blx_generation_is_none(&f->state.generation));
    assert_non_null(strstr(f->state.reason, "grew"));
    test_volume_send(&f->sda, f->writer, GROWN_BLOCKS - 1, 301);
    check_image(f);
    open_session(f); /* before any checkpoint of the new size */
    assert_int_equal(f->state.durable_seq, 1);
    begin(f, BLX_PASS_RESUME);
    blx_timestamp large = commit(f);
    test_restores_to(&f->test, large, "sda", f->sda.image, GROWN_BLOCKS * TEST_BLOCK_BYTES);
    test_restores_to(&f->test, small, "sda", old, SIZE_BYTES);
    free(old);
}

static void segment_path(const struct fixture *f, char path[PATH_MAX], unsigned number)
{
    test_path(&f->test, path, "agents/web1/volumes/sda/%08u.seg", number);
}

static void a_missing_kept_segment_leads_to_another_rescan(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];
    open_session(f);
    begin(f, BLX_PASS_FULL);
    test_volume_send_all(&f->sda, f->writer, 9);
    commit(f);
    for (int i = 0; i < 2; i++) {
        test_volume_send(&f->sda, f->writer, 7, 100 + (uint64_t)i);
        sync_all(f);
        begin_again(f, BLX_PASS_RESCAN, BLOCKS);
    }
    test_volume_send(&f->sda, f->writer, 8, 102);
    sync_all(f);
    segment_path(f, path, 3); /* 1 is the checkpoint's, 2 and 3 were kept, 4 is open */
    assert_int_equal(unlink(path), 0);
    for (int i = 0; i < 2; i++) { /* also once it has been noticed */
        open_session(f);
        assert_true(blx_generation_is_none(&f->state.generation));
        assert_int_equal(f->state.image_bytes, SIZE_BYTES);
    }
    begin_again(f, BLX_PASS_RESCAN, BLOCKS);
    test_volume_send_all(&f->sda, f->writer, 9);
    test_restores_to(&f->test, commit(f), "sda", f->sda.image, SIZE_BYTES);
}

static void flip(const char *path, off_t offset)
{
    uint8_t byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static void a_damaged_frame_hurts_its_own_blocks_only(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];
    struct blx_error err = {0};
    uint8_t block[TEST_BLOCK_BYTES];
    open_session(f);
    begin(f, BLX_PASS_FULL);
    test_volume_send(&f->sda, f->writer, 3, 1);
    test_volume_send(&f->sda, f->writer, 4, 2);
    commit(f);
    segment_path(f, path, 1);
    flip(path, 32 + 70);
    struct blx_image *image = open_image(f);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(blx_image_read(image, 3, 1, block, &err), -EBADMSG);
        assert_non_null(strstr(err.message, "damaged at byte 32"));
        assert_int_equal(blx_image_read(image, 4, 1, block, NULL), 0);
        assert_memory_equal(block, f->sda.image + 4 * TEST_BLOCK_BYTES, TEST_BLOCK_BYTES);
    }
    blx_image_close(image);
    test_volume_send(&f->sda, f->writer, 3, 1); /* what a rescan does */
    check_image(f);
    test_restores_to(&f->test, commit(f), "sda", f->sda.image, SIZE_BYTES);
}

static void a_chain_that_cannot_be_read_is_distrusted_for_good(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];
    struct blx_image *image = NULL;
    open_session(f);
    begin(f, BLX_PASS_FULL);
    test_volume_send_all(&f->sda, f->writer, 9);
    commit(f);
    segment_path(f, path, 1);
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(blx_agent_writer_open_image(f->writer, 0, BLX_IMAGE_FROM_TABLES, &image, NULL),
                     -EBADMSG);
    assert_null(image);
    assert_int_equal(blx_agent_writer_distrust(f->writer, 0, NULL), 0);
    open_session(f);
    assert_int_equal(f->state.image_bytes, 0);
    assert_true(blx_generation_is_none(&f->state.generation));
    f->sda.seq = 0;
    begin(f, BLX_PASS_FULL);
    test_volume_send_all(&f->sda, f->writer, 9);
    test_restores_to(&f->test, commit(f), "sda", f->sda.image, SIZE_BYTES);
}

/* In a process of its own: the rescan begins, a frame comes. 1 if it was acknowledged. */
static void run_rescan(struct fixture *f, enum test_fault fault, unsigned after, int *acked)
{
    test_volume_generation(&f->sda, 2);
    f->sda.seq = 0;
    test_volume_write(&f->sda, 8, 102);
    test_volume_frame(&f->sda, (const uint64_t[]){8}, 1);
    test_fault_arm(fault, after);
    struct blx_agent_writer *writer = NULL;
    struct blx_volume_state state;
    int rc = blx_agent_writer_open(blx_store_agent(&f->test.store, "web1"), NULL, &writer, NULL);
    if (rc == 0)
        rc = blx_agent_writer_add_volume(writer, &f->sda.info, &state, NULL);
    if (rc == 0)
        rc = blx_agent_writer_begin(writer, 0, BLX_PASS_RESCAN, NULL);
    if (rc == 0)
        rc = blx_agent_writer_append(writer, 0, f->sda.frame, f->sda.sent_bytes, NULL);
    if (rc == 0)
        rc = blx_agent_writer_sync(writer, NULL, NULL, NULL);
    *acked = rc == 0;
    blx_agent_writer_close(writer);
    bool happened = test_fault_disarm();
    test_volume_done(&f->sda);
    _exit(happened ? TEST_KILLED : 0);
}

/* Whatever broke off, nothing that was acknowledged is missing, and no full pass is needed. */
static void check_broken_off(struct fixture *f, bool acked)
{
    test_volume_generation(&f->sda, 2);
    open_session(f);
    assert_int_equal(f->state.image_bytes, SIZE_BYTES);
    bool begun = blx_generation_equal(&f->state.generation, &f->sda.info.generation);
    assert_true(begun || !acked);
    f->sda.seq = begun ? f->state.durable_seq : 0;
    assert_true(f->sda.seq >= (uint64_t)acked);
    begin(f, begun ? BLX_PASS_RESUME : BLX_PASS_RESCAN);
    if (f->sda.seq == 1)
        test_volume_write(&f->sda, 8, 102);
    check_image(f);
    test_volume_send(&f->sda, f->writer, 9, 103);
    test_restores_to(&f->test, commit(f), "sda", f->sda.image, SIZE_BYTES);
}

static bool walk_step(enum test_fault fault, unsigned after)
{
    void *state = NULL;
    int *acked =
        mmap(NULL, sizeof(*acked), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(acked != MAP_FAILED);
    assert_int_equal(setup(&state), 0);
    struct fixture *f = state;
    open_session(f);
    begin(f, BLX_PASS_FULL);
    test_volume_send_all(&f->sda, f->writer, 20);
    commit(f);
    test_volume_send(&f->sda, f->writer, 7, 100);
    sync_all(f);
    blx_agent_writer_close(f->writer);
    f->writer = NULL;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        run_rescan(f, fault, after, acked);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    check_broken_off(f, *acked != 0);
    munmap(acked, sizeof(*acked));
    teardown(&state);
    return WEXITSTATUS(status) == TEST_KILLED;
}

/* Each disk call of the beginning fails once, or for ever, or the process dies in it. */
static void a_rescan_that_breaks_off_loses_nothing(void **unused)
{
    (void)unused;
    for (int fault = TEST_FAULT_ONCE; fault <= TEST_FAULT_KILL_BEHIND; fault++) {
        unsigned after = 0;
        while (walk_step((enum test_fault)fault, after))
            after++;
        assert_in_range(after, 10, 200);
    }
}

/* A saved state of the volume. */
struct moment {
    blx_timestamp timestamp;
    uint64_t size_bytes;
    uint8_t *image;
};

static void random_step(struct fixture *f, struct moment *moments, size_t *count)
{
    uint64_t size_blocks = f->sda.blocks;
    switch (test_random(&f->random) % 12) {
    case 0:
        open_session(f);
        begin(f, BLX_PASS_RESUME);
        break;
    case 1:
        begin_again(f, BLX_PASS_RESCAN, size_blocks);
        break;
    case 2:
        begin_again(f, BLX_PASS_RESCAN, size_blocks < GROWN_BLOCKS ? size_blocks + 3 : size_blocks);
        break;
    case 3:
        begin_again(f, BLX_PASS_FULL, size_blocks);
        test_volume_send_all(&f->sda, f->writer, 17);
        break;
    case 4:
        if (*count == MOMENTS)
            break;
        moments[*count] = (struct moment){commit(f), f->sda.info.size_bytes, NULL};
        moments[*count].image = malloc(f->sda.info.size_bytes);
        assert_non_null(moments[*count].image);
        memcpy(moments[*count].image, f->sda.image, f->sda.info.size_bytes);
        (*count)++;
        break;
    default:
        test_volume_send(&f->sda, f->writer, test_random(&f->random) % f->sda.blocks,
                         test_random(&f->random) % 4);
        sync_all(f);
    }
}

static void any_mix_of_passes_gives_the_right_image_and_checkpoints(void **state)
{
    struct fixture *f = *state;
    struct moment moments[MOMENTS];
    size_t count = 0;
    open_session(f);
    begin(f, BLX_PASS_FULL);
    for (int step = 0; step < 400; step++) {
        random_step(f, moments, &count);
        if (step % 3 == 0)
            check_image(f);
    }
    assert_in_range(count, 10, MOMENTS);
    for (size_t i = 0; i < count; i++) {
        test_restores_to(&f->test, moments[i].timestamp, "sda", moments[i].image,
                         moments[i].size_bytes);
        free(moments[i].image);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_image_is_the_checkpoint_and_the_frames_after_it),
        TEST(a_rescan_goes_on_from_what_is_there),
        TEST(a_first_sync_that_a_reboot_cut_off_still_becomes_the_base),
        TEST(a_rescan_needs_an_image_and_a_new_generation),
        TEST(a_grown_disk_goes_on_from_its_smaller_image),
        TEST(a_missing_kept_segment_leads_to_another_rescan),
        TEST(a_damaged_frame_hurts_its_own_blocks_only),
        TEST(a_chain_that_cannot_be_read_is_distrusted_for_good),
        cmocka_unit_test(a_rescan_that_breaks_off_loses_nothing),
        TEST(any_mix_of_passes_gives_the_right_image_and_checkpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
