/* SPDX-License-Identifier: Apache-2.0 */
/* A restore that is pulled: it gives what a restore from the store gives, goes on after cuts, kills
 * and changed plans, and believes nothing that the dispatcher says. */
#include "store/restore/pull.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "history.h"
#include "restore/supplier.h"
#include "store/restore/pull_view.h"

enum { CHECKPOINTS = 30, PATIENCE_MS = 20 * 1000 };

struct fixture {
    struct history history;
    struct supplier supplier;
    struct blx_keyring ring, other_ring;
    struct blx_volume_key key;
    char path[PATH_MAX], partial[PATH_MAX], journal[PATH_MAX];
    uint64_t patience_ms;
    uint64_t written_bytes;
};

static void begin(struct fixture *f, const struct blx_volume_key *key)
{
    struct history *history = &f->history;
    history->random = 4711;
    test_fsync_off();
    test_store_init(&history->test);
    test_volume_init(&history->volume, "sda", HISTORY_BYTES, 1);
    history->volume.mixes_codecs = true;
    history->volume.key = key;
    history_begin(history, BLX_PASS_FULL);
    for (uint64_t block = 0; block < HISTORY_BLOCKS; block += 2)
        test_volume_write(&history->volume, block, test_random(&history->random) | 1);
    test_volume_send_all(&history->volume, history->writer, 16);
    history_grow(history, CHECKPOINTS);
    f->supplier.agent = blx_store_agent(&history->test.store, "web1");
    f->supplier.checkpoint = history->timestamps[CHECKPOINTS - 1];
    test_path(&history->test, f->path, "out.img");
    test_path(&history->test, f->partial, "out.img.partial");
    test_path(&history->test, f->journal, "journal");
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct blx_keyring *rings[] = {&f->ring, &f->other_ring};
    assert_non_null(f);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(blx_key_create(&rings[i]->keys[rings[i]->count++], NULL), 0);
    assert_int_equal(blx_volume_key_derive(&f->ring.keys[0], "web1", "sda", &f->key, NULL), 0);
    f->patience_ms = PATIENCE_MS;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    history_done(&f->history);
    free(f);
    return 0;
}

/* One run of the program. */
static int pull(struct fixture *f, unsigned flags, const struct blx_keyring *keys,
                struct blx_error *err)
{
    const struct blx_pull_request request = {
        .dial = supplier_dial, .arg = &f->supplier, .patience_ms = f->patience_ms, .pause_ms = 1};
    const struct blx_pull_target target = {.target = {.path = f->path,
                                                      .flags = flags,
                                                      .keys = keys,
                                                      .written_bytes = &f->written_bytes},
                                           .journal = f->journal};
    struct blx_pull *opened = NULL;
    int rc = blx_pull_open(&request, &opened, err);
    if (rc == 0)
        rc = blx_pull_volume(opened, 0, &target, NULL, err);
    if (rc == 0)
        rc = blx_pull_finish(opened, f->written_bytes, err);
    blx_pull_close(opened);
    supplier_join(&f->supplier);
    return rc;
}

static void pull_well(struct fixture *f, unsigned flags, const struct blx_keyring *keys)
{
    struct blx_error err = {0};
    test_ok(pull(f, flags, keys, &err), &err);
}

static void refuse(int rc, int wanted, const struct blx_error *err, const char *part)
{
    if (rc != wanted || strstr(err->message, part) == NULL)
        fail_msg("%d '%s', not %d '%s'", rc, err->message, wanted, part);
}

static void check_image(const struct fixture *f)
{
    uint8_t *found = malloc(HISTORY_BYTES + 1);
    assert_non_null(found);
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, found, HISTORY_BYTES + 1), HISTORY_BYTES);
    close(fd);
    assert_memory_equal(found, f->history.images[CHECKPOINTS - 1], HISTORY_BYTES);
    free(found);
    assert_int_equal(access(f->partial, F_OK), -1);
}

static void pull_gives_what_the_store_has(void **state)
{
    struct fixture *f = *state;
    begin(f, NULL);
    pull_well(f, 0, NULL);
    check_image(f);
    assert_true(f->supplier.done);
    assert_int_equal(f->supplier.connections, 1);
    assert_int_equal(f->supplier.windows, 1);
    assert_int_equal(f->supplier.done_bytes, f->written_bytes);
    assert_true(f->written_bytes > 0);
}

/* Another run of the program, over a connection of its own. */
static int verify(struct fixture *f, const struct blx_keyring *keys, struct blx_error *err)
{
    const struct blx_pull_request request = {
        .dial = supplier_dial, .arg = &f->supplier, .patience_ms = f->patience_ms, .pause_ms = 1};
    const struct blx_restore_target target = {
        .path = f->path, .keys = keys, .written_bytes = &f->written_bytes};
    struct blx_pull *opened = NULL;
    f->written_bytes = 0;
    int rc = blx_pull_open(&request, &opened, err);
    if (rc == 0)
        rc = blx_pull_verify(opened, 0, &target, NULL, err);
    blx_pull_close(opened);
    supplier_join(&f->supplier);
    return rc;
}

static uint8_t change(const struct fixture *f, off_t offset, uint8_t to)
{
    uint8_t before;
    int fd = open(f->path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &before, 1, offset), 1);
    assert_int_equal(pwrite(fd, &to, 1, offset), 1);
    close(fd);
    return before;
}

static void verify_finds_each_difference_and_writes_nothing(void **state)
{
    struct fixture *f = *state;
    struct blx_error err[8] = {{0}};
    begin(f, &f->key);
    f->supplier.max_pieces = 8;
    pull_well(f, 0, &f->ring);
    uint64_t written_bytes = f->written_bytes;
    test_ok(verify(f, &f->ring, &err[0]), &err[0]);
    assert_true(f->written_bytes >= written_bytes);
    check_image(f);
    /* A cut does not make it more. */
    written_bytes = f->written_bytes;
    f->supplier.max_pieces = 0;
    f->supplier.cut_after_frames = f->supplier.cuts_left = 2;
    test_ok(verify(f, &f->ring, &err[0]), &err[0]);
    assert_int_equal(f->supplier.cuts_left, 0);
    assert_int_equal(f->written_bytes, written_bytes);
    f->supplier.cut_after_frames = 0;
    /* In data, and in what is zero; in the first block and in the last one. */
    const off_t places[] = {0, HISTORY_BYTES / 3, HISTORY_BYTES / 2 + 4096 + 7, HISTORY_BYTES - 1};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        char block[64];
        uint8_t wanted = f->history.images[CHECKPOINTS - 1][places[i]];
        uint8_t wrong = (uint8_t)(wanted + 1);
        assert_int_equal(change(f, places[i], wrong), wanted);
        snprintf(block, sizeof(block), "(block %lld of 4096 bytes)", (long long)places[i] / 4096);
        refuse(verify(f, &f->ring, &err[i + 1]), -EUCLEAN, &err[i + 1], block);
        assert_int_equal(change(f, places[i], wanted), wrong);
    }
    refuse(verify(f, &f->other_ring, &err[5]), -ENOKEY, &err[5], "key");
    assert_int_equal(truncate(f->path, HISTORY_BYTES - 1), 0);
    refuse(verify(f, &f->ring, &err[6]), -EUCLEAN, &err[6], "bytes, and the volume");
    unlink(f->path);
    assert_int_equal(verify(f, &f->ring, &err[7]), -ENOENT);
}

static void pull_goes_window_by_window(void **state)
{
    struct fixture *f = *state;
    begin(f, NULL);
    f->supplier.max_pieces = 8;
    pull_well(f, 0, NULL);
    check_image(f);
    assert_true(f->supplier.windows > 3);
}

/* The key is here alone. */
static void pull_of_encrypted_frames_needs_the_key_here(void **state)
{
    struct fixture *f = *state;
    struct blx_error err[3] = {{0}};
    begin(f, &f->key);
    refuse(pull(f, 0, NULL, &err[0]), -ENOKEY, &err[0], "key");
    refuse(pull(f, 0, &f->other_ring, &err[1]), -ENOKEY, &err[1], "key");
    assert_int_equal(access(f->partial, F_OK), -1);
    pull_well(f, 0, &f->ring);
    check_image(f);
}

static void pull_with_a_key_takes_nothing_unencrypted(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    begin(f, NULL);
    refuse(pull(f, 0, &f->ring, &err), -ENOKEY, &err, "key");
}

/* Whatever was on its way, at whichever frame it happens. */
static void pull_goes_on_after_cuts(void **state)
{
    struct fixture *f = *state;
    begin(f, NULL);
    for (unsigned pieces = 0; pieces <= 8; pieces += 8) {
        f->supplier.max_pieces = pieces;
        f->supplier.cut_after_frames = 2;
        f->supplier.cuts_left = 5;
        f->supplier.frames = f->supplier.connections = 0;
        pull_well(f, BLX_RESTORE_FORCE, NULL);
        check_image(f);
        assert_int_equal(f->supplier.connections, 6);
        unlink(f->path);
    }
}

/* A cut costs what was on its way, and nothing that was written. */
static void pull_fetches_nothing_twice_that_is_written(void **state)
{
    struct fixture *f = *state;
    begin(f, NULL);
    pull_well(f, 0, NULL);
    unsigned frames = f->supplier.frames;
    unlink(f->path);
    f->supplier.frames = 0;
    f->supplier.cut_after_frames = 4;
    f->supplier.cuts_left = 1;
    pull_well(f, 0, NULL);
    check_image(f);
    assert_true(f->supplier.frames <= frames + 4);
    assert_int_equal(f->written_bytes, f->supplier.done_bytes);
}

static void pull_goes_on_after_a_cut_in_the_plan(void **state)
{
    struct fixture *f = *state;
    begin(f, NULL);
    f->supplier.replan_cut = true;
    f->supplier.cuts_left = 3;
    pull_well(f, 0, NULL);
    check_image(f);
    assert_int_equal(f->supplier.connections, 4);
}

static void pull_waits_for_a_dispatcher_that_is_away(void **state)
{
    struct fixture *f = *state;
    begin(f, NULL);
    f->supplier.cut_after_frames = 1;
    f->supplier.cuts_left = 1;
    pull_well(f, 0, NULL);
    unlink(f->path);
    f->supplier.cuts_left = 1;
    f->supplier.connections = 0;
    f->supplier.stays_away = true;
    f->patience_ms = 300;
    struct blx_error err = {0};
    refuse(pull(f, 0, NULL, &err), -ETIMEDOUT, &err, "nobody listens");
    assert_int_equal(access(f->partial, F_OK), 0);
}

/* Interrupts a run after some frames for good, as a kill does. */
static void interrupt(struct fixture *f, unsigned frames)
{
    struct blx_error err = {0};
    f->supplier.cut_after_frames = frames;
    f->supplier.cuts_left = 1;
    f->supplier.connections = 0;
    f->supplier.stays_away = true;
    f->patience_ms = 1;
    refuse(pull(f, 0, NULL, &err), -ETIMEDOUT, &err, "nobody listens");
    f->supplier.stays_away = false;
    f->supplier.frames = 0;
    f->patience_ms = PATIENCE_MS;
}

static void pull_is_resumed_by_its_journal(void **state)
{
    struct fixture *f = *state;
    begin(f, NULL);
    pull_well(f, 0, NULL);
    unsigned frames = f->supplier.frames;
    unlink(f->path);
    interrupt(f, 4);
    pull_well(f, BLX_RESTORE_CONTINUE, NULL);
    check_image(f);
    assert_true(f->supplier.frames < frames);
    /* And once more: all is done already. */
    f->supplier.frames = 0;
    pull_well(f, BLX_RESTORE_CONTINUE, NULL);
    check_image(f);
    assert_int_equal(f->supplier.frames, 0);
}

/* The chain was rewritten meanwhile: other frames hold the same blocks. */
static void pull_is_resumed_with_another_plan(void **state)
{
    struct fixture *f = *state;
    struct blx_rewrite_report report = {0};
    struct blx_error err = {0};
    begin(f, NULL);
    interrupt(f, 3);
    history_prune(&f->history, 90);
    test_ok(test_rewrite(&f->history.test, &report, &err), &err);
    f->supplier.max_pieces = 8;
    pull_well(f, BLX_RESTORE_CONTINUE, NULL);
    check_image(f);
}

static void pull_resumes_after_a_torn_journal(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    begin(f, NULL);
    interrupt(f, 4);
    assert_int_equal(stat(f->journal, &st), 0);
    assert_int_equal(truncate(f->journal, st.st_size - 5), 0);
    pull_well(f, BLX_RESTORE_CONTINUE, NULL);
    check_image(f);
}

static void pull_resumes_nothing_that_is_not_its_own(void **state)
{
    struct fixture *f = *state;
    struct blx_error err[4] = {{0}};
    begin(f, NULL);
    refuse(pull(f, BLX_RESTORE_CONTINUE, NULL, &err[0]), -ENOENT, &err[0], "journal");
    interrupt(f, 4);
    /* Another checkpoint. */
    blx_timestamp last = f->supplier.checkpoint;
    f->supplier.checkpoint = f->history.timestamps[3];
    refuse(pull(f, BLX_RESTORE_CONTINUE, NULL, &err[1]), -ESTALE, &err[1], "another checkpoint");
    f->supplier.checkpoint = last;
    /* Another disk under the same name. */
    assert_int_equal(truncate(f->partial, 0), 0);
    assert_int_equal(truncate(f->partial, HISTORY_BYTES), 0);
    refuse(pull(f, BLX_RESTORE_CONTINUE, NULL, &err[2]), -ESTALE, &err[2], "another disk");
    /* It is gone. */
    unlink(f->partial);
    refuse(pull(f, BLX_RESTORE_CONTINUE, NULL, &err[3]), -ENOENT, &err[3], "out.img.partial");
    pull_well(f, 0, NULL);
    check_image(f);
}

static void pull_replaces_no_file(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    begin(f, NULL);
    pull_well(f, 0, NULL);
    refuse(pull(f, 0, NULL, &err), -EEXIST, &err, "exists already");
    check_image(f);
}

static void pull_finds_every_lie(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum supplier_lie lie;
        int code;
        const char *part;
    } cases[] = {
        {SUPPLIER_FLIPS_A_BIT, -EBADMSG, "damaged"},
        {SUPPLIER_SWAPS_FRAMES, 0, ""},
        {SUPPLIER_SENDS_TOO_MUCH, -EPROTO, "another frame than it was asked for"},
        {SUPPLIER_SENDS_ANOTHER_VOLUME, -EPROTO, "another frame than it was asked for"},
        {SUPPLIER_OVERLAPS, -EPROTO, "two of its pieces hold one block"},
        {SUPPLIER_LEAVES_THE_WINDOW, -EPROTO, "beyond the window"},
        {SUPPLIER_LEAVES_THE_VOLUME, -EPROTO, "beyond the volume"},
        {SUPPLIER_NAMES_OTHER_BLOCKS, 0, ""},
        {SUPPLIER_MOVES_DATA, -EBADMSG, "does not hold block"},
        {SUPPLIER_SENDS_ENDLESS_PIECES, -EPROTO, ""},
        {SUPPLIER_COUNTS_WRONG, -EPROTO, "another number of frames"},
        {SUPPLIER_SAYS_ERROR, -EREMOTEIO, "the disk is broken"},
        {SUPPLIER_SENDS_WELCOME, -EPROTO, "sent WELCOME in place of PLAN"},
    };
    begin(f, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct blx_error err = {0};
        f->supplier.lie = cases[i].lie;
        int rc = pull(f, 0, NULL, &err);
        if (rc >= 0 || (cases[i].code != 0 && rc != cases[i].code) ||
            strstr(err.message, cases[i].part) == NULL)
            fail_msg("lie %d: %d '%s'", (int)cases[i].lie, rc, err.message);
        /* What is not complete never gets its name. */
        assert_int_equal(access(f->path, F_OK), -1);
    }
}

/* The target holds an older checkpoint, and rubbish. */
static void leave_another_state(struct fixture *f)
{
    unlink(f->path);
    int fd = open(f->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, f->history.images[CHECKPOINTS / 2], HISTORY_BYTES), HISTORY_BYTES);
    for (uint64_t block = 5; block < HISTORY_BLOCKS; block += 40)
        assert_int_equal(pwrite(fd, "rubbish", 7, (off_t)(block * TEST_BLOCK_BYTES)), 7);
    close(fd);
}

static uint64_t different_blocks(const struct fixture *f)
{
    uint8_t *found = calloc(1, HISTORY_BYTES);
    assert_non_null(found);
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, found, HISTORY_BYTES), HISTORY_BYTES);
    close(fd);
    uint64_t count = 0;
    for (uint64_t at = 0; at < HISTORY_BYTES; at += TEST_BLOCK_BYTES) {
        uint64_t bytes =
            HISTORY_BYTES - at < TEST_BLOCK_BYTES ? HISTORY_BYTES - at : TEST_BLOCK_BYTES;
        count += memcmp(found + at, f->history.images[CHECKPOINTS - 1] + at, bytes) != 0;
    }
    free(found);
    return count;
}

/* With digests in the segments, without any, and of encrypted frames. */
static void a_delta_writes_what_differs(struct fixture *f, const struct blx_keyring *keys)
{
    for (unsigned pieces = 0; pieces <= 8; pieces += 8) {
        f->supplier.max_pieces = pieces;
        leave_another_state(f);
        uint64_t count = different_blocks(f);
        f->supplier.frame_bytes = 0;
        assert_true(count > 3 && count < HISTORY_BLOCKS);
        pull_well(f, BLX_RESTORE_DELTA, keys);
        check_image(f);
        assert_true(f->written_bytes <= count * TEST_BLOCK_BYTES);
        assert_true(f->written_bytes > (count - 3) * TEST_BLOCK_BYTES / 2);
        if (keys == NULL) /* no more than these blocks came, though frames are larger */
            assert_in_range(f->supplier.frame_bytes, 1, count * (TEST_BLOCK_BYTES + 80));
        unsigned frames = f->supplier.frames, windows = f->supplier.windows;
        assert_true(pieces == 0 || windows > 1);
        /* Equal: nothing is asked for but digests. */
        pull_well(f, BLX_RESTORE_DELTA, keys);
        check_image(f);
        assert_int_equal(f->written_bytes, 0);
        assert_int_equal(f->supplier.frames, frames);
        assert_int_equal(f->supplier.windows, windows);
    }
}

static void delta_of_plain_frames(void **state)
{
    struct fixture *f = *state;
    begin(f, NULL);
    a_delta_writes_what_differs(f, NULL);
}

static void delta_of_encrypted_frames(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    begin(f, &f->key);
    leave_another_state(f);
    refuse(pull(f, BLX_RESTORE_DELTA, NULL, &err), -ENOKEY, &err, "key");
    a_delta_writes_what_differs(f, &f->ring);
}

static void delta_makes_an_image_that_is_not_there(void **state)
{
    struct fixture *f = *state;
    begin(f, NULL);
    pull_well(f, BLX_RESTORE_DELTA, NULL);
    check_image(f);
}

static void delta_goes_on_after_cuts(void **state)
{
    struct fixture *f = *state;
    begin(f, NULL);
    for (unsigned after = 1; after <= 3; after++) {
        f->supplier.cut_after_answers = after < 3 ? after : 0;
        f->supplier.cut_after_frames = after < 3 ? 0 : 2;
        f->supplier.cuts_left = 3;
        leave_another_state(f);
        pull_well(f, BLX_RESTORE_DELTA, NULL);
        check_image(f);
        assert_int_equal(f->supplier.cuts_left, 0);
    }
}

static void delta_finds_every_lie(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum supplier_lie lie;
        int code;
        const char *part;
    } cases[] = {
        {SUPPLIER_KNOWS_NO_DELTA, -EREMOTEIO, "does not know --delta"},
        {SUPPLIER_NAMES_ANOTHER_KEY, -EPROTO, "another key than it offered"},
        {SUPPLIER_ANSWERS_ANOTHER_QUESTION, -EPROTO, "another question"},
        {SUPPLIER_PLANS_WHAT_NOBODY_WANTS, -EPROTO, "wanted"},
        {SUPPLIER_LEAVES_THE_VOLUME, -EPROTO, "ends beyond what is wanted"},
        {SUPPLIER_FLIPS_A_BIT, -EBADMSG, "damaged"},
        {SUPPLIER_SENDS_TOO_MUCH, -EPROTO, "another frame than it was asked for"},
        {SUPPLIER_LEAVES_THE_WINDOW, -EPROTO, "beyond the window"},
        {SUPPLIER_MOVES_DATA, -EBADMSG, "does not hold block"},
    };
    begin(f, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct blx_error err = {0};
        unlink(f->partial);
        leave_another_state(f);
        f->supplier.lie = cases[i].lie;
        refuse(pull(f, BLX_RESTORE_DELTA, NULL, &err), cases[i].code, &err, cases[i].part);
    }
}

static int open_view(struct fixture *f, const struct blx_keyring *keys, struct blx_pull **opened,
                     struct blx_frame_cache *cache, struct blx_view **view, struct blx_error *err)
{
    const struct blx_pull_request request = {
        .dial = supplier_dial, .arg = &f->supplier, .patience_ms = f->patience_ms, .pause_ms = 1};
    int rc = blx_pull_open(&request, opened, err);
    return rc < 0 ? rc : blx_pull_view_open(*opened, 0, keys, cache, view, err);
}

/* Pieces of all sizes, in order and at random, as a reader of a filesystem asks. */
static void read_all(struct fixture *f, struct blx_view *view)
{
    const uint8_t *wanted = f->history.images[CHECKPOINTS - 1];
    static uint8_t found[64 * TEST_BLOCK_BYTES];
    struct blx_error err = {0};
    uint64_t random = 5, place = 0;
    for (unsigned i = 0; i < 300; i++) {
        size_t bytes = (size_t)(test_random(&random) % sizeof(found)) + 1;
        place = i % 3 == 0 ? test_random(&random) % HISTORY_BYTES : place % HISTORY_BYTES;
        bytes = bytes < HISTORY_BYTES - place ? bytes : (size_t)(HISTORY_BYTES - place);
        test_ok(blx_view_read(view, found, bytes, place, &err), &err);
        assert_memory_equal(found, wanted + place, bytes);
        place += bytes;
    }
}

static void check_view(struct fixture *f, const struct blx_keyring *keys, size_t cache_bytes)
{
    struct blx_frame_cache *cache = blx_frame_cache_new(cache_bytes);
    struct blx_pull *opened = NULL;
    struct blx_view *view = NULL;
    struct blx_error err = {0};
    test_ok(open_view(f, keys, &opened, cache, &view, &err), &err);
    assert_int_equal(blx_view_size_bytes(view), HISTORY_BYTES);
    read_all(f, view);
    blx_view_close(view);
    blx_pull_close(opened);
    supplier_join(&f->supplier);
    blx_frame_cache_free(cache);
}

/* With one window and with several, with a cache and almost without. */
static void view_gives_what_the_store_has(void **state)
{
    struct fixture *f = *state;
    begin(f, NULL);
    check_view(f, NULL, 1 << 20);
    assert_int_equal(f->supplier.windows, 1);
    f->supplier.max_pieces = 8;
    check_view(f, NULL, 1);
    assert_true(f->supplier.windows > 4);
}

static void view_of_encrypted_frames(void **state)
{
    struct fixture *f = *state;
    struct blx_frame_cache *cache = blx_frame_cache_new(1);
    struct blx_pull *opened = NULL;
    struct blx_view *view = NULL;
    struct blx_error err = {0};
    begin(f, &f->key);
    refuse(open_view(f, &f->other_ring, &opened, cache, &view, &err), -ENOKEY, &err, "key");
    blx_pull_close(opened);
    supplier_join(&f->supplier);
    blx_frame_cache_free(cache);
    check_view(f, &f->ring, 1 << 20);
}

static void view_goes_on_after_cuts(void **state)
{
    struct fixture *f = *state;
    begin(f, NULL);
    for (unsigned pieces = 0; pieces <= 8; pieces += 8) {
        f->supplier.max_pieces = pieces;
        f->supplier.cut_after_frames = 3;
        f->supplier.cuts_left = 6;
        check_view(f, NULL, 1);
        assert_int_equal(f->supplier.cuts_left, 0);
    }
}

/* A block that is read wrong is an error, and never other data. */
static void view_finds_lies(void **state)
{
    struct fixture *f = *state;
    static const enum supplier_lie lies[] = {
        SUPPLIER_FLIPS_A_BIT,          SUPPLIER_SWAPS_FRAMES, SUPPLIER_SENDS_TOO_MUCH,
        SUPPLIER_SENDS_ANOTHER_VOLUME, SUPPLIER_OVERLAPS,     SUPPLIER_LEAVES_THE_WINDOW,
        SUPPLIER_SENDS_ENDLESS_PIECES, SUPPLIER_MOVES_DATA,   SUPPLIER_SAYS_ERROR,
        SUPPLIER_SENDS_WELCOME};
    static uint8_t found[TEST_BLOCK_BYTES];
    begin(f, NULL);
    f->patience_ms = 1;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct blx_frame_cache *cache = blx_frame_cache_new(1);
        struct blx_pull *opened = NULL;
        struct blx_view *view = NULL;
        unsigned errors = 0;
        f->supplier.lie = lies[i];
        int rc = open_view(f, NULL, &opened, cache, &view, NULL);
        errors += rc < 0;
        for (uint64_t at = 0; rc == 0 && at + sizeof(found) <= HISTORY_BYTES; at += sizeof(found)) {
            if (blx_view_read(view, found, sizeof(found), at, NULL) < 0)
                errors++;
            else
                assert_memory_equal(found, f->history.images[CHECKPOINTS - 1] + at, sizeof(found));
        }
        if (errors == 0)
            fail_msg("lie %d was not found", (int)lies[i]);
        blx_view_close(view);
        blx_pull_close(opened);
        supplier_join(&f->supplier);
        blx_frame_cache_free(cache);
    }
}

static void pull_keeps_to_its_first_offer(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    begin(f, NULL);
    f->supplier.lie = SUPPLIER_CHANGES_THE_OFFER;
    f->supplier.cut_after_frames = 2;
    f->supplier.cuts_left = 1;
    refuse(pull(f, 0, NULL, &err), -EPROTO, &err, "another checkpoint than before");
}

/* No bit can be changed in an encrypted frame, and no other frame put in its place. */
static void pull_of_encrypted_frames_finds_lies_too(void **state)
{
    struct fixture *f = *state;
    struct blx_error err[2] = {{0}};
    begin(f, &f->key);
    f->supplier.lie = SUPPLIER_FLIPS_A_BIT;
    refuse(pull(f, 0, &f->ring, &err[0]), -EBADMSG, &err[0], "damaged");
    f->supplier.lie = SUPPLIER_MOVES_DATA;
    refuse(pull(f, 0, &f->ring, &err[1]), -EBADMSG, &err[1], "does not hold block");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pull_gives_what_the_store_has, setup, teardown),
        cmocka_unit_test_setup_teardown(verify_finds_each_difference_and_writes_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(pull_goes_window_by_window, setup, teardown),
        cmocka_unit_test_setup_teardown(pull_of_encrypted_frames_needs_the_key_here, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(pull_with_a_key_takes_nothing_unencrypted, setup, teardown),
        cmocka_unit_test_setup_teardown(pull_goes_on_after_cuts, setup, teardown),
        cmocka_unit_test_setup_teardown(pull_fetches_nothing_twice_that_is_written, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(pull_goes_on_after_a_cut_in_the_plan, setup, teardown),
        cmocka_unit_test_setup_teardown(pull_waits_for_a_dispatcher_that_is_away, setup, teardown),
        cmocka_unit_test_setup_teardown(pull_is_resumed_by_its_journal, setup, teardown),
        cmocka_unit_test_setup_teardown(pull_is_resumed_with_another_plan, setup, teardown),
        cmocka_unit_test_setup_teardown(pull_resumes_after_a_torn_journal, setup, teardown),
        cmocka_unit_test_setup_teardown(pull_resumes_nothing_that_is_not_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(pull_replaces_no_file, setup, teardown),
        cmocka_unit_test_setup_teardown(pull_finds_every_lie, setup, teardown),
        cmocka_unit_test_setup_teardown(delta_of_plain_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(delta_of_encrypted_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(delta_makes_an_image_that_is_not_there, setup, teardown),
        cmocka_unit_test_setup_teardown(delta_goes_on_after_cuts, setup, teardown),
        cmocka_unit_test_setup_teardown(delta_finds_every_lie, setup, teardown),
        cmocka_unit_test_setup_teardown(view_gives_what_the_store_has, setup, teardown),
        cmocka_unit_test_setup_teardown(view_of_encrypted_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(view_goes_on_after_cuts, setup, teardown),
        cmocka_unit_test_setup_teardown(view_finds_lies, setup, teardown),
        cmocka_unit_test_setup_teardown(pull_keeps_to_its_first_offer, setup, teardown),
        cmocka_unit_test_setup_teardown(pull_of_encrypted_frames_finds_lies_too, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
