/* SPDX-License-Identifier: Apache-2.0 */
/* A reader that goes through a view from front to back: it gets what the view has, from stretches
 * if the changes are scattered, and otherwise from the cache. */
#include "store/view/sweep_private.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "history.h"
#include "store/view/frame_cache_private.h"
#include "store/view/stretch_private.h"

enum {
    SCATTERED = 12, /* increments */
    STEP = 12,      /* every so many blocks one is changed by each */
    STRETCH_BLOCKS = 24,
    CACHE_BYTES = STRETCH_BLOCKS * TEST_BLOCK_BYTES / 3 * 4,
    READ_BYTES = 10000,
    THREADS = 6,
};

static const struct blx_sweep_limits limits = {.slack_bytes = 8 * TEST_BLOCK_BYTES,
                                               .min_run_bytes = 2 * TEST_BLOCK_BYTES,
                                               .min_stretch_bytes =
                                                   STRETCH_BLOCKS * TEST_BLOCK_BYTES};

struct fixture {
    struct history history;
    struct blx_frame_cache *cache;
    struct blx_keyring ring;
    struct blx_volume_key key;
    struct blx_view *view;
};

/* Nobody writes to the last one of 16 blocks. */
static bool is_used(uint64_t block)
{
    return block % 16 != 15;
}

static void fill(struct history *history, uint64_t block)
{
    uint8_t *at = history->volume.image + block * TEST_BLOCK_BYTES;
    for (size_t i = 0; i < TEST_BLOCK_BYTES; i++)
        at[i] = (uint8_t)test_random(&history->random);
}

/* One frame with a block in every part of the disk. */
static void scatter(struct history *history, uint64_t first)
{
    uint64_t blocks[HISTORY_BLOCKS / STEP];
    size_t count = 0;
    struct blx_error err = {0};
    for (uint64_t block = first; block < HISTORY_BLOCKS; block += STEP)
        if (is_used(block)) {
            fill(history, block);
            blocks[count++] = block;
        }
    test_volume_frame(&history->volume, blocks, count);
    test_ok(blx_agent_writer_append(history->writer, 0, history->volume.frame,
                                    history->volume.sent_bytes, &err),
            &err);
    history_commit(history);
}

static void open_view(struct fixture *f)
{
    struct history *history = &f->history;
    struct blx_error err = {0};
    const struct blx_view_request request = {.agent = blx_store_agent(&history->test.store, "web1"),
                                             .checkpoint = history->timestamps[history->count - 1],
                                             .volume = "sda",
                                             .keys = history->volume.key != NULL ? &f->ring : NULL,
                                             .cache = f->cache};
    test_ok(blx_view_open(&request, &f->view, &err), &err);
}

/* A base with holes, and increments whose frames have blocks all over it. */
static void begin(struct fixture *f, const struct blx_volume_key *key, size_t increments)
{
    struct history *history = &f->history;
    history->random = 17;
    test_fsync_off();
    test_store_init(&history->test);
    test_volume_init(&history->volume, "sda", HISTORY_BYTES, 1);
    history->volume.mixes_codecs = true;
    history->volume.key = key;
    history_begin(history, BLX_PASS_FULL);
    for (uint64_t block = 0; block < HISTORY_BLOCKS; block++)
        if (is_used(block))
            fill(history, block);
    test_volume_send_all(&history->volume, history->writer, 8);
    history_commit(history);
    for (size_t i = 0; i < increments; i++)
        scatter(history, i % STEP);
    open_view(f);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->cache = blx_frame_cache_new(CACHE_BYTES);
    assert_non_null(f->cache);
    assert_int_equal(blx_key_create(&f->ring.keys[f->ring.count++], NULL), 0);
    assert_int_equal(blx_volume_key_derive(&f->ring.keys[0], "web1", "sda", &f->key, NULL), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    blx_view_close(f->view);
    blx_frame_cache_free(f->cache);
    history_done(&f->history);
    free(f);
    return 0;
}

static struct blx_sweep *new_sweep(struct fixture *f)
{
    struct blx_sweep *sweep = blx_sweep_new_limited(f->view, &limits);
    assert_non_null(sweep);
    return sweep;
}

static const uint8_t *image_of(const struct fixture *f)
{
    return f->history.images[f->history.count - 1];
}

/* Returns how often a stretch was there after a read. */
static unsigned read_all(struct fixture *f, struct blx_sweep *sweep)
{
    unsigned swept = 0;
    for (uint64_t at = 0; at < HISTORY_BYTES; at += READ_BYTES) {
        uint8_t buffer[READ_BYTES];
        struct blx_error err = {0};
        size_t bytes = HISTORY_BYTES - at < READ_BYTES ? HISTORY_BYTES - at : READ_BYTES;
        test_ok(blx_sweep_read(sweep, buffer, bytes, at, &err), &err);
        assert_memory_equal(buffer, image_of(f) + at, bytes);
        swept += blx_sweep_has_stretch(sweep);
    }
    return swept;
}

static void scattered_changes_are_read_by_stretches(void **state)
{
    struct fixture *f = *state;
    begin(f, NULL, SCATTERED);
    struct blx_sweep *sweep = new_sweep(f);
    assert_int_equal(read_all(f, sweep), (HISTORY_BYTES - 1) / READ_BYTES + 1);
    assert_true(blx_frame_cache_memory_bytes(f->cache) <= CACHE_BYTES / 4);
    blx_sweep_free(sweep);
    assert_true(blx_frame_cache_lend(f->cache)); /* it was returned */
    blx_frame_cache_return(f->cache);
}

static void encrypted_ones_too(void **state)
{
    struct fixture *f = *state;
    begin(f, &f->key, SCATTERED);
    struct blx_sweep *sweep = new_sweep(f);
    assert_true(read_all(f, sweep) > 0);
    blx_sweep_free(sweep);
}

/* Frames of a full pass are needed once or twice however they are read. */
static void a_disk_that_was_sent_in_order_needs_none(void **state)
{
    struct fixture *f = *state;
    begin(f, NULL, 0);
    struct blx_sweep *sweep = new_sweep(f);
    assert_int_equal(read_all(f, sweep), 0);
    assert_true(blx_sweep_is_plain(sweep, HISTORY_BYTES - 1));
    blx_sweep_free(sweep);
}

static void whoever_goes_elsewhere_gives_it_up(void **state)
{
    struct fixture *f = *state;
    uint8_t block[TEST_BLOCK_BYTES];
    begin(f, NULL, SCATTERED);
    struct blx_sweep *sweep = new_sweep(f);
    for (uint64_t at = 0; at < 20; at++)
        assert_int_equal(blx_sweep_read(sweep, block, sizeof(block), at * sizeof(block), NULL), 0);
    assert_true(blx_sweep_has_stretch(sweep));
    assert_false(blx_sweep_is_plain(sweep, 20 * sizeof(block)));
    assert_int_equal(blx_sweep_read(sweep, block, sizeof(block), 90 * sizeof(block), NULL), 0);
    assert_memory_equal(block, image_of(f) + 90 * sizeof(block), sizeof(block));
    assert_false(blx_sweep_has_stretch(sweep));
    assert_true(read_all(f, sweep) > 0); /* and gets another one */
    blx_sweep_free(sweep);
}

/* Before its stretch, after it, and in the middle of it while it is there. */
static void any_order_reads_the_same(void **state)
{
    struct fixture *f = *state;
    uint64_t random = 5;
    unsigned swept = 0;
    begin(f, NULL, SCATTERED);
    struct blx_sweep *sweep = new_sweep(f);
    for (uint64_t at = 0; at < 20 * HISTORY_BYTES; at += READ_BYTES / 4) {
        uint8_t buffer[READ_BYTES];
        uint64_t offset = (at + test_random(&random) % (6 * TEST_BLOCK_BYTES)) % HISTORY_BYTES;
        size_t bytes = 1 + test_random(&random) % READ_BYTES;
        bytes = bytes < HISTORY_BYTES - offset ? bytes : HISTORY_BYTES - offset;
        assert_int_equal(blx_sweep_read(sweep, buffer, bytes, offset, NULL), 0);
        assert_memory_equal(buffer, image_of(f) + offset, bytes);
        swept += blx_sweep_has_stretch(sweep);
    }
    assert_true(swept > 100);
    blx_sweep_free(sweep);
}

/* The cache has room for one. */
static void the_second_one_reads_without(void **state)
{
    struct fixture *f = *state;
    begin(f, NULL, SCATTERED);
    struct blx_sweep *first = new_sweep(f), *second = new_sweep(f);
    assert_true(read_all(f, first) > 0);
    assert_true(blx_sweep_has_stretch(first));
    assert_int_equal(read_all(f, second), 0);
    blx_sweep_free(first);
    assert_true(read_all(f, second) > 0);
    blx_sweep_free(second);
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

/* Just what the view cannot read; it ends no stretch. */
static void a_damaged_frame_costs_its_blocks(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];
    unsigned lost = 0;
    begin(f, NULL, SCATTERED);
    test_path(&f->history.test, path, "agents/web1/volumes/sda/00000004.seg");
    flip(path, 32 + 70);
    struct blx_sweep *sweep = new_sweep(f);
    for (uint64_t at = 0; at < HISTORY_BYTES; at += TEST_BLOCK_BYTES) {
        uint8_t block[TEST_BLOCK_BYTES], same[TEST_BLOCK_BYTES];
        struct blx_error err = {0};
        size_t bytes = HISTORY_BYTES - at < sizeof(block) ? HISTORY_BYTES - at : sizeof(block);
        int rc = blx_sweep_read(sweep, block, bytes, at, &err);
        assert_int_equal(blx_view_read(f->view, same, bytes, at, NULL), rc);
        if (rc == 0)
            assert_memory_equal(block, image_of(f) + at, bytes);
        else
            assert_non_null(strstr(err.message, "00000004.seg"));
        lost += rc == -EBADMSG;
    }
    assert_int_equal(lost, HISTORY_BLOCKS / STEP);
    assert_true(blx_sweep_has_stretch(sweep));
    blx_sweep_free(sweep);
}

/* As the threads of a mount, which share out what the kernel asks for. */
struct reader {
    pthread_t thread;
    struct blx_sweep *sweep;
    const uint8_t *image;
    _Atomic uint64_t *next;
    bool right;
};

static void *read_shares(void *arg)
{
    struct reader *reader = arg;
    uint8_t buffer[TEST_BLOCK_BYTES];
    uint64_t at;
    reader->right = true;
    while ((at = atomic_fetch_add(reader->next, sizeof(buffer))) < 20 * HISTORY_BYTES) {
        uint64_t offset = at % (HISTORY_BYTES - sizeof(buffer));
        if (blx_sweep_read(reader->sweep, buffer, sizeof(buffer), offset, NULL) < 0 ||
            memcmp(buffer, reader->image + offset, sizeof(buffer)) != 0)
            reader->right = false;
    }
    return NULL;
}

static void many_threads_read_on_together(void **state)
{
    struct fixture *f = *state;
    struct reader readers[THREADS];
    _Atomic uint64_t next = 0;
    begin(f, NULL, SCATTERED);
    struct blx_sweep *sweep = new_sweep(f);
    for (size_t i = 0; i < THREADS; i++) {
        readers[i] = (struct reader){.sweep = sweep, .image = image_of(f), .next = &next};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_shares, &readers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
        assert_true(readers[i].right);
    }
    blx_sweep_free(sweep);
}

/* What it is for: the frames of a stretch are few, and each is unpacked once. */
static void a_stretch_has_each_frame_once(void **state)
{
    struct fixture *f = *state;
    struct blx_stretch stretch = {0};
    uint64_t data_bytes = 0;
    static uint8_t buffer[STRETCH_BLOCKS * TEST_BLOCK_BYTES];
    begin(f, NULL, SCATTERED);
    assert_int_equal(
        blx_stretch_plan(&stretch, f->view, 3 * TEST_BLOCK_BYTES + 100, sizeof(buffer), NULL), 0);
    assert_int_equal(stretch.start_bytes, 3 * TEST_BLOCK_BYTES);
    assert_int_equal(stretch.data_blocks, STRETCH_BLOCKS);
    assert_true(blx_stretch_is_scattered(&stretch));
    assert_true(stretch.plan.frame_count <= SCATTERED + STRETCH_BLOCKS / 8 + 1);
    assert_int_equal(blx_stretch_fill(&stretch, f->view, NULL), 0);
    size_t copied =
        blx_stretch_copy(&stretch, buffer, sizeof(buffer), stretch.start_bytes, &data_bytes);
    assert_int_equal(copied, sizeof(buffer));
    assert_memory_equal(buffer, image_of(f) + stretch.start_bytes, sizeof(buffer));
    assert_true(data_bytes < copied); /* there is a hole in it */
    assert_int_equal(blx_stretch_copy(&stretch, buffer, 1, stretch.start_bytes - 1, &data_bytes),
                     0);
    assert_int_equal(blx_stretch_copy(&stretch, buffer, 1, stretch.end_bytes, &data_bytes), 0);
    blx_stretch_done(&stretch);
}

int main(void)
{
#define SWEEP_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        SWEEP_TEST(scattered_changes_are_read_by_stretches),
        SWEEP_TEST(encrypted_ones_too),
        SWEEP_TEST(a_disk_that_was_sent_in_order_needs_none),
        SWEEP_TEST(whoever_goes_elsewhere_gives_it_up),
        SWEEP_TEST(any_order_reads_the_same),
        SWEEP_TEST(the_second_one_reads_without),
        SWEEP_TEST(a_damaged_frame_costs_its_blocks),
        SWEEP_TEST(many_threads_read_on_together),
        SWEEP_TEST(a_stretch_has_each_frame_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
