/* SPDX-License-Identifier: Apache-2.0 */
/* The one reader: it gives what a restore gives, to any number of threads, in bounded memory, and
 * fails for just the blocks that are damaged. */
#include "store/view/view_private.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "history.h"
#include "store/view/frame_cache_private.h"

enum {
    CACHE_BYTES = 100 * TEST_BLOCK_BYTES,
    READS = 200, /* random ones, of one checkpoint */
    THREADS = 8,
};

struct fixture {
    struct history history;
    struct blx_frame_cache *cache;
    struct blx_keyring ring, other_ring;
    struct blx_volume_key key;
};

/* A history of `count` checkpoints with all codecs. */
static void begin(struct fixture *f, uint64_t seed, const struct blx_volume_key *key, size_t count)
{
    struct history *history = &f->history;
    history->random = seed;
    test_fsync_off();
    test_store_init(&history->test);
    test_volume_init(&history->volume, "sda", HISTORY_BYTES, 1);
    history->volume.mixes_codecs = true;
    history->volume.key = key;
    history_begin(history, BLX_PASS_FULL);
    for (uint64_t block = 0; block < HISTORY_BLOCKS; block += 2)
        test_volume_write(&history->volume, block, test_random(&history->random) | 1);
    test_volume_send_all(&history->volume, history->writer, 16);
    history_grow(history, count);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct blx_keyring *rings[] = {&f->ring, &f->other_ring};
    assert_non_null(f);
    f->cache = blx_frame_cache_new(CACHE_BYTES);
    assert_non_null(f->cache);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(blx_key_create(&rings[i]->keys[rings[i]->count++], NULL), 0);
    assert_int_equal(blx_volume_key_derive(&f->ring.keys[0], "web1", "sda", &f->key, NULL), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    blx_frame_cache_free(f->cache);
    history_done(&f->history);
    free(f);
    return 0;
}

static struct blx_view_request request(struct fixture *f, size_t at)
{
    return (struct blx_view_request){.agent = blx_store_agent(&f->history.test.store, "web1"),
                                     .checkpoint = f->history.timestamps[at],
                                     .volume = "sda",
                                     .keys = f->history.volume.key != NULL ? &f->ring : NULL,
                                     .cache = f->cache};
}

static struct blx_view *open_view(struct fixture *f, size_t at)
{
    struct blx_error err = {0};
    struct blx_view *view = NULL;
    const struct blx_view_request wanted = request(f, at);
    test_ok(blx_view_open(&wanted, &view, &err), &err);
    assert_int_equal(blx_view_size_bytes(view), HISTORY_BYTES);
    return view;
}

/* Pieces of any size at any place, beyond the end too. False: one differs, or cannot be read. */
static bool reads_as(struct blx_view *view, const uint8_t *image, uint64_t random)
{
    static const uint8_t zeros[20000];
    uint8_t buffer[sizeof(zeros)];
    for (int i = 0; i < READS; i++) {
        uint64_t offset = test_random(&random) % HISTORY_BYTES;
        size_t bytes = 1 + test_random(&random) % sizeof(buffer);
        size_t inside = bytes < HISTORY_BYTES - offset ? bytes : (size_t)(HISTORY_BYTES - offset);
        memset(buffer, 0xee, sizeof(buffer));
        if (blx_view_read(view, buffer, bytes, offset, NULL) < 0 ||
            memcmp(buffer, image + offset, inside) != 0 ||
            memcmp(buffer + inside, zeros, bytes - inside) != 0)
            return false;
    }
    return true;
}

/* What is no data is zeros, and the extents cover the volume. */
static void check_extents(struct blx_view *view, const uint8_t *image)
{
    uint64_t data_bytes = 0;
    for (uint64_t offset = 0; offset < HISTORY_BYTES;) {
        struct blx_view_extent extent;
        assert_int_equal(blx_view_find_extent(view, offset, &extent, NULL), 0);
        assert_true(extent.bytes > 0 && extent.bytes <= HISTORY_BYTES - offset);
        for (uint64_t i = 0; extent.kind != BLX_VIEW_DATA && i < extent.bytes; i++)
            assert_int_equal(image[offset + i], 0);
        data_bytes += extent.kind == BLX_VIEW_DATA ? extent.bytes : 0;
        offset += extent.bytes;
    }
    assert_true(data_bytes > 0 && data_bytes < HISTORY_BYTES);
}

static void check_all(struct fixture *f)
{
    for (size_t i = 0; i < f->history.count; i++) {
        if (f->history.images[i] == NULL)
            continue;
        struct blx_view *view = open_view(f, i);
        assert_true(reads_as(view, f->history.images[i], i));
        check_extents(view, f->history.images[i]);
        blx_view_close(view);
    }
}

static void each_checkpoint_reads_as_it_was(void **state)
{
    struct fixture *f = *state;
    begin(f, 3, NULL, 200);
    check_all(f);
    history_prune(&f->history, 60);
    check_all(f);
    struct blx_rewrite_report report;
    struct blx_error err = {0};
    test_ok(test_rewrite(&f->history.test, &report, &err), &err);
    assert_true(report.replaced > 0);
    check_all(f);
    history_check(&f->history); /* what a restore says */
}

static void an_encrypted_checkpoint_needs_its_key(void **state)
{
    struct fixture *f = *state;
    begin(f, 4, &f->key, 40);
    check_all(f);
    struct blx_view *view = NULL;
    struct blx_view_request wanted = request(f, 7);
    wanted.keys = NULL;
    assert_int_equal(blx_view_open(&wanted, &view, NULL), -ENOKEY);
    wanted.keys = &f->other_ring;
    assert_int_equal(blx_view_open(&wanted, &view, NULL), -ENOKEY);
    assert_null(view);
}

static void what_does_not_exist_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct blx_view *view = NULL;
    struct blx_error err = {0};
    begin(f, 5, NULL, 3);
    struct blx_view_request wanted = request(f, 1);
    wanted.volume = "sdb";
    assert_int_equal(blx_view_open(&wanted, &view, &err), -ENOENT);
    assert_non_null(strstr(err.message, "it has 'sda'"));
    wanted = request(f, 1);
    wanted.checkpoint++;
    assert_int_equal(blx_view_open(&wanted, &view, NULL), -ENOENT);
    wanted = request(f, 1);
    wanted.keys = &f->ring;
    assert_int_equal(blx_view_open(&wanted, &view, NULL), -ENOKEY);
    wanted = request(f, 1);
    wanted.agent.id = "../web1";
    assert_int_equal(blx_view_open(&wanted, &view, NULL), -EINVAL);
    assert_null(view);
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

/* What a restore with --force leaves out. */
static void find_losses(struct fixture *f, size_t at, struct blx_losses *losses)
{
    char path[PATH_MAX];
    struct blx_error err = {0};
    test_path(&f->history.test, path, "lossy.img");
    const struct blx_restore_target target = {
        .path = path, .losses = losses, .keys = f->history.volume.key != NULL ? &f->ring : NULL};
    test_ok(blx_restore(blx_store_agent(&f->history.test.store, "web1"), f->history.timestamps[at],
                        "sda", &target, NULL, &err),
            &err);
    assert_int_equal(unlink(path), 0);
}

static bool is_lost(const struct blx_losses *losses, uint64_t offset)
{
    for (size_t i = 0; i < losses->count; i++)
        if (offset >= losses->list[i].offset_bytes &&
            offset - losses->list[i].offset_bytes < losses->list[i].bytes)
            return true;
    return false;
}

static void check_damage(struct fixture *f, size_t at)
{
    BLX_CLEANUP(blx_losses_done) struct blx_losses losses = {0};
    size_t lost = 0;
    find_losses(f, at, &losses);
    struct blx_view *view = open_view(f, at);
    for (uint64_t offset = 0; offset < HISTORY_BYTES; offset += TEST_BLOCK_BYTES) {
        uint8_t block[TEST_BLOCK_BYTES];
        struct blx_error err = {0};
        size_t bytes = HISTORY_BYTES - offset < sizeof(block) ? (size_t)(HISTORY_BYTES - offset)
                                                              : sizeof(block);
        int rc = blx_view_read(view, block, bytes, offset, &err);
        assert_int_equal(rc, is_lost(&losses, offset) ? -EBADMSG : 0);
        if (rc == 0)
            assert_memory_equal(block, f->history.images[at] + offset, bytes);
        else
            assert_non_null(strstr(err.message, "egment"));
        lost += rc < 0;
    }
    blx_view_close(view);
    assert_true(lost > 0 && lost < HISTORY_BLOCKS / 2);
}

static void damaged_frames_hurt_just_their_blocks(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];
    begin(f, 6, NULL, 20);
    test_path(&f->history.test, path, "agents/web1/volumes/sda/00000001.seg");
    flip(path, 32 + 70);
    check_damage(f, 0);
    check_damage(f, 19);
}

static void a_damaged_encrypted_frame_hurts_just_its_blocks(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];
    begin(f, 7, &f->key, 20);
    test_path(&f->history.test, path, "agents/web1/volumes/sda/00000001.seg");
    flip(path, 32 + 70);
    check_damage(f, 19);
}

/* A file that changes under a view, against all rules: other frames lie where the map says. */
static void a_frame_that_lacks_the_blocks_is_no_data(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];
    begin(f, 8, NULL, 2);
    history_noise(&f->history, 0, 32);
    history_commit(&f->history);
    history_noise(&f->history, 40, 32);
    history_commit(&f->history);
    struct blx_view *view = open_view(f, 3);
    uint8_t block[TEST_BLOCK_BYTES];
    struct blx_error err = {0};
    /* Segments 3 and 4 have one frame each, of equal size; its checksums are good. */
    test_path(&f->history.test, path, "agents/web1/volumes/sda/00000003.seg");
    int from = open(path, O_RDONLY | O_CLOEXEC);
    test_path(&f->history.test, path, "agents/web1/volumes/sda/00000004.seg");
    int to = open(path, O_WRONLY | O_CLOEXEC);
    static uint8_t content[40 * TEST_BLOCK_BYTES];
    ssize_t bytes = pread(from, content, sizeof(content), 0);
    assert_true(bytes > 32 * TEST_BLOCK_BYTES);
    assert_int_equal(pwrite(to, content, (size_t)bytes, 0), bytes);
    close(from);
    close(to);
    assert_int_equal(blx_view_read(view, block, sizeof(block), 45 * TEST_BLOCK_BYTES, &err),
                     -EBADMSG);
    assert_non_null(strstr(err.message, "names other blocks"));
    assert_int_equal(blx_view_read(view, block, sizeof(block), 5 * TEST_BLOCK_BYTES, NULL), 0);
    assert_memory_equal(block, f->history.images[3] + 5 * TEST_BLOCK_BYTES, sizeof(block));
    blx_view_close(view);
}

static void a_damaged_chain_is_not_opened(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];
    struct blx_view *view = NULL;
    struct blx_error err = {0};
    begin(f, 9, NULL, 100);
    test_path(&f->history.test, path, "agents/web1/volumes/sda/00000030.seg");
    assert_int_equal(truncate(path, 50), 0);
    struct blx_view_request wanted = request(f, 99);
    assert_int_equal(blx_view_open(&wanted, &view, &err), -EBADMSG);
    assert_non_null(strstr(err.message, "00000030.seg"));
    wanted = request(f, 10);
    assert_int_equal(blx_view_open(&wanted, &view, NULL), 0);
    assert_true(reads_as(view, f->history.images[10], 1));
    blx_view_close(view);
}

/* So little room that a window has few entries, and few windows fit. */
static struct blx_view *open_narrow(struct fixture *f, size_t at)
{
    struct blx_view *view = NULL;
    struct blx_error err = {0};
    struct blx_view_request wanted = request(f, at);
    wanted.max_entries = 16;
    wanted.max_map_bytes = 400;
    test_ok(blx_view_open(&wanted, &view, &err), &err);
    return view;
}

static void memory_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct blx_view_usage usage;
    begin(f, 10, NULL, 150);
    struct blx_view *view = open_narrow(f, 149);
    for (uint64_t i = 0; i < 5; i++) {
        assert_true(reads_as(view, f->history.images[149], i));
        blx_view_measure(view, &usage);
        assert_true(usage.map_bytes <= 400 || usage.window_count == 1);
        assert_true(blx_frame_cache_memory_bytes(f->cache) <= CACHE_BYTES);
    }
    assert_true(usage.planned_count > 2 * usage.window_count);
    check_extents(view, f->history.images[149]);
    blx_view_close(view);
    assert_int_equal(blx_frame_cache_memory_bytes(f->cache), 0);
}

struct reader {
    pthread_t thread;
    struct blx_view *view;
    const uint8_t *image;
    uint64_t random;
    bool right;
};

static void *read_much(void *arg)
{
    struct reader *reader = arg;
    blx_view_read_ahead(reader->view, HISTORY_BYTES, 0);
    reader->right = reads_as(reader->view, reader->image, reader->random);
    return NULL;
}

/* In two views at once, one of which always plans. */
static void many_threads_read_at_once(void **state)
{
    struct fixture *f = *state;
    struct reader readers[THREADS];
    begin(f, 11, &f->key, 60);
    struct blx_view *views[] = {open_view(f, 59), open_narrow(f, 40)};
    for (size_t i = 0; i < THREADS; i++) {
        readers[i] = (struct reader){
            .view = views[i % 2], .image = f->history.images[i % 2 == 0 ? 59 : 40], .random = i};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_much, &readers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
        assert_true(readers[i].right);
    }
    blx_view_close(views[0]);
    blx_view_close(views[1]);
}

static void a_prune_spares_what_is_open(void **state)
{
    struct fixture *f = *state;
    struct blx_prune_report report = {0};
    struct blx_rewrite_report rewritten;
    struct blx_error err = {0};
    begin(f, 12, NULL, 30);
    struct blx_view *view = open_narrow(f, 20);
    test_ok(test_prune(&f->history.test, f->history.timestamps, 25, &report, &err), &err);
    test_ok(test_rewrite(&f->history.test, &rewritten, &err), &err);
    history_grow(&f->history, 5);
    assert_true(reads_as(view, f->history.images[20], 1));
    blx_view_close(view);
    struct blx_view *again = open_view(f, 20);
    blx_view_close(again);
    test_ok(test_prune(&f->history.test, &f->history.timestamps[20], 1, &report, &err), &err);
    struct blx_view_request wanted = request(f, 20);
    assert_int_equal(blx_view_open(&wanted, &view, NULL), -ENOENT);
}

int main(void)
{
#define VIEW_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        VIEW_TEST(each_checkpoint_reads_as_it_was),
        VIEW_TEST(an_encrypted_checkpoint_needs_its_key),
        VIEW_TEST(what_does_not_exist_is_an_error),
        VIEW_TEST(damaged_frames_hurt_just_their_blocks),
        VIEW_TEST(a_damaged_encrypted_frame_hurts_just_its_blocks),
        VIEW_TEST(a_frame_that_lacks_the_blocks_is_no_data),
        VIEW_TEST(a_damaged_chain_is_not_opened),
        VIEW_TEST(memory_is_bounded),
        VIEW_TEST(many_threads_read_at_once),
        VIEW_TEST(a_prune_spares_what_is_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
