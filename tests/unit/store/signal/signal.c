/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of a store are measured, judged, marked, and the last calm one is pinned. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../history.h"
#include "base/bitmap.h"
#include "store/checkpoint/pin.h"
#include "store/signal/measure_private.h"
#include "store/signal/signal.h"

enum { BLOCKS = 4096, FRAME_BLOCKS = 64, PER_MIB = 256 };

#define MIB UINT64_C(1048576)

/* A server with 16 MiB, of which 12 are text at first. */
struct place {
    struct test_store test;
    struct test_volume volume;
    struct blx_agent_writer *writer;
    uint64_t random;
    blx_timestamp newest;
    struct blx_signal_outcome outcome; /* of the last commit */
};

static struct blx_agent_store web1(const struct place *place)
{
    return blx_store_agent(&place->test.store, "web1");
}

enum content { TEXT, NOISE, ZERO };

static void fill(struct place *place, uint64_t block, enum content content)
{
    uint8_t *at = place->volume.image + block * TEST_BLOCK_BYTES;
    memset(at, 0, TEST_BLOCK_BYTES);
    if (content == ZERO)
        return;
    for (size_t i = 0; i < TEST_BLOCK_BYTES; i += 8) {
        uint64_t word = test_random(&place->random) << 32 ^ test_random(&place->random);
        memcpy(at + i, &word, content == TEXT && i % 64 != 0 ? 0 : 8);
    }
}

static void send(struct place *place, uint64_t start, size_t count, enum content content)
{
    struct blx_error err = {0};
    for (uint64_t first = start; first < start + count; first += FRAME_BLOCKS) {
        uint64_t blocks[FRAME_BLOCKS];
        for (size_t i = 0; i < FRAME_BLOCKS; i++) {
            blocks[i] = first + i;
            fill(place, first + i, content);
        }
        test_volume_frame(&place->volume, blocks, FRAME_BLOCKS);
        test_ok(blx_agent_writer_append(place->writer, 0, place->volume.frame,
                                        place->volume.frame_bytes, &err),
                &err);
    }
}

static void commit(struct place *place, enum blx_sensitivity sensitivity)
{
    static uint64_t second = 1800000000;
    struct test_volume *volumes[] = {&place->volume};
    struct blx_error err = {0};
    place->newest = test_writer_commit(place->writer, volumes, 1, second += 60);
    test_ok(blx_signal_take(web1(place), blx_agent_writer_get_last(place->writer), sensitivity,
                            &place->outcome, &err),
            &err);
    assert_int_equal(place->outcome.suspicion.checkpoint, place->newest);
}

static void open_place(struct place *place, const struct blx_volume_key *key)
{
    *place = (struct place){.random = 7};
    test_store_init(&place->test);
    test_volume_init(&place->volume, "vda", (uint64_t)BLOCKS * TEST_BLOCK_BYTES, 1);
    place->volume.has_digests = false;
    place->volume.key = key;
    struct test_volume *volumes[] = {&place->volume};
    place->writer = test_writer_open(&place->test, volumes, 1, NULL);
    struct blx_error err = {0};
    test_ok(blx_agent_writer_begin(place->writer, 0, BLX_PASS_FULL, &err), &err);
    send(place, 0, 12 * PER_MIB, TEXT);
    send(place, 12 * PER_MIB, 4 * PER_MIB, ZERO);
    commit(place, BLX_SENSITIVITY_DEFAULT);
    assert_int_equal(place->outcome.suspicion.kind, BLX_SIGNAL_NONE);
}

static void close_place(struct place *place)
{
    blx_agent_writer_close(place->writer);
    test_volume_done(&place->volume);
    test_store_done(&place->test);
}

static const struct blx_change *change_of(const struct place *place)
{
    return &place->outcome.suspicion.change;
}

static blx_timestamp find_pin(const struct place *place)
{
    struct blx_error err = {0};
    blx_timestamp pinned = 1;
    test_ok(blx_pin_find_automatic(web1(place), &pinned, NULL, &err), &err);
    return pinned;
}

static void check_figures(const struct blx_volume_key *key)
{
    struct place place;
    open_place(&place, key);
    send(&place, 0, PER_MIB, TEXT);                 /* replaces text */
    send(&place, PER_MIB, PER_MIB, NOISE);          /* hardens */
    send(&place, 2 * PER_MIB, PER_MIB, ZERO);       /* zeros */
    send(&place, 12 * PER_MIB, 2 * PER_MIB, NOISE); /* over zeros */
    send(&place, 14 * PER_MIB, PER_MIB, TEXT);
    commit(&place, BLX_SENSITIVITY_LOW);
    const struct blx_change *change = change_of(&place);
    assert_int_equal(change->data_bytes, 12 * MIB);
    assert_int_equal(change->hard_bytes, 0);
    assert_int_equal(change->changed_bytes, 6 * MIB);
    assert_int_equal(change->zeroed_bytes, MIB);
    assert_int_equal(change->fresh_bytes, 3 * MIB);
    assert_int_equal(change->fresh_hard_bytes, 2 * MIB);
    assert_int_equal(change->replaced_bytes, 2 * MIB);
    assert_int_equal(change->hardened_bytes, MIB);
    assert_in_range(change->packed_before_bytes, MIB / 8, MIB);
    assert_in_range(change->packed_after_bytes, MIB, 3 * MIB / 2);
    send(&place, PER_MIB, PER_MIB, NOISE); /* noise over noise */
    commit(&place, BLX_SENSITIVITY_LOW);
    assert_int_equal(change->data_bytes, 14 * MIB);
    assert_int_equal(change->hard_bytes, 3 * MIB);
    assert_int_equal(change->hardened_bytes, 0);
    close_place(&place);
}

static void blocks_are_compared_with_those_they_replace(void **state)
{
    (void)state;
    check_figures(NULL);
}

static void encrypted_frames_tell_the_same(void **state)
{
    (void)state;
    struct blx_volume_key key = test_digest_keys("vda");
    check_figures(&key);
}

/* The map is lost, or is another checkpoint's: it is made again from the chain. */
static void a_lost_map_is_made_again_from_the_chain(void **state)
{
    (void)state;
    struct place place;
    struct blx_error err = {0};
    struct blx_change again;
    char path[PATH_MAX];
    open_place(&place, NULL);
    send(&place, 0, PER_MIB, NOISE);
    commit(&place, BLX_SENSITIVITY_DEFAULT);
    send(&place, 0, 2 * PER_MIB, NOISE);
    send(&place, 11 * PER_MIB, PER_MIB, ZERO);
    commit(&place, BLX_SENSITIVITY_DEFAULT);
    const struct blx_change first = *change_of(&place);
    assert_int_equal(first.hardened_bytes, MIB);
    assert_int_equal(first.hard_bytes, MIB);
    const struct blx_manifest *last = blx_agent_writer_get_last(place.writer);
    test_path(&place.test, path, "agents/web1/volumes/vda/ratios");
    for (int damage = 0; damage < 3; damage++) {
        if (damage == 0)
            assert_int_equal(unlink(path), 0);
        if (damage == 1)
            assert_int_equal(truncate(path, 40), 0);
        /* 2: it shows this checkpoint, not the one before */
        test_ok(blx_change_measure(web1(&place), last, &again, &err), &err);
        assert_memory_equal(&again, &first, sizeof(first));
    }
    close_place(&place);
}

static void encryption_is_marked_and_the_last_calm_checkpoint_pinned_once(void **state)
{
    (void)state;
    struct place place;
    struct blx_error err = {0};
    struct blx_suspicion mark;
    open_place(&place, NULL);
    send(&place, 0, PER_MIB, TEXT);
    commit(&place, BLX_SENSITIVITY_DEFAULT);
    blx_timestamp calm = place.newest;
    assert_int_equal(find_pin(&place), 0);
    send(&place, 2 * PER_MIB, 5 * PER_MIB, NOISE);
    commit(&place, BLX_SENSITIVITY_DEFAULT);
    blx_timestamp first = place.newest;
    assert_int_equal(place.outcome.suspicion.kind, BLX_SIGNAL_HARDENED);
    assert_int_equal(place.outcome.pin, BLX_SIGNAL_PINNED);
    assert_int_equal(place.outcome.suspicion.calm, calm);
    assert_int_equal(find_pin(&place), calm);
    test_ok(blx_suspicion_find_newest(web1(&place), &mark, &err), &err);
    assert_int_equal(mark.checkpoint, first);
    assert_string_equal(mark.reason, place.outcome.suspicion.reason);

    /* It goes on: a mark more, and no pin more. */
    send(&place, 7 * PER_MIB, 5 * PER_MIB, NOISE);
    commit(&place, BLX_SENSITIVITY_DEFAULT);
    assert_int_equal(place.outcome.suspicion.kind, BLX_SIGNAL_HARDENED);
    assert_int_equal(place.outcome.suspicion.since, first);
    assert_int_equal(place.outcome.suspicion.calm, calm);
    assert_int_equal(place.outcome.pin, BLX_SIGNAL_HELD_BEFORE);
    blx_timestamp *pins = NULL;
    size_t count = 0;
    test_ok(blx_pin_list(web1(&place), &pins, &count, &err), &err);
    free(pins);
    assert_int_equal(count, 1);

    /* A person says that all is well: that much is usual from now on. */
    test_ok(blx_pin_write(web1(&place), calm, BLX_PIN_OFF, &err), &err);
    send(&place, 7 * PER_MIB, 5 * PER_MIB, TEXT);
    commit(&place, BLX_SENSITIVITY_DEFAULT);
    send(&place, 7 * PER_MIB, 5 * PER_MIB, NOISE);
    commit(&place, BLX_SENSITIVITY_DEFAULT);
    assert_int_equal(place.outcome.suspicion.kind, BLX_SIGNAL_NONE);
    assert_int_equal(find_pin(&place), 0);
    close_place(&place);
}

static void a_mark_goes_with_its_checkpoint_and_a_person_takes_the_pin_over(void **state)
{
    (void)state;
    struct place place;
    struct blx_error err = {0};
    struct blx_suspicion mark;
    open_place(&place, NULL);
    send(&place, 0, PER_MIB, TEXT);
    commit(&place, BLX_SENSITIVITY_DEFAULT);
    blx_timestamp calm = place.newest;
    send(&place, 2 * PER_MIB, 5 * PER_MIB, NOISE);
    commit(&place, BLX_SENSITIVITY_DEFAULT);
    blx_timestamp marked = place.newest;
    send(&place, 0, PER_MIB, TEXT);
    commit(&place, BLX_SENSITIVITY_DEFAULT);
    assert_int_equal(place.outcome.suspicion.kind, BLX_SIGNAL_NONE);
    assert_int_equal(find_pin(&place), calm);
    test_ok(blx_pin_write(web1(&place), calm, BLX_PIN_ON, &err), &err);
    assert_int_equal(find_pin(&place), 0);
    struct blx_prune_report report;
    const blx_timestamp doomed[] = {calm, marked};
    test_ok(test_prune(&place.test, doomed, 2, &report, &err), &err);
    assert_int_equal(report.removed, 1);
    assert_int_equal(blx_suspicion_read(web1(&place), marked, &mark, NULL), -ENOENT);
    test_restores_to(&place.test, place.newest, "vda", place.volume.image,
                     (uint64_t)BLOCKS * TEST_BLOCK_BYTES);
    close_place(&place);
}

static void off_measures_nothing_and_later_it_begins_from_the_chain(void **state)
{
    (void)state;
    struct place place;
    open_place(&place, NULL);
    send(&place, 2 * PER_MIB, 5 * PER_MIB, NOISE);
    commit(&place, BLX_SENSITIVITY_OFF);
    assert_int_equal(place.outcome.suspicion.kind, BLX_SIGNAL_NONE);
    assert_int_equal(change_of(&place)->changed_bytes, 0);
    send(&place, 7 * PER_MIB, 5 * PER_MIB, NOISE);
    commit(&place, BLX_SENSITIVITY_DEFAULT);
    assert_int_equal(place.outcome.suspicion.kind, BLX_SIGNAL_HARDENED);
    assert_int_equal(change_of(&place)->hard_bytes, 5 * MIB);
    close_place(&place);
}

static void the_history_keeps_the_newest_rows_and_passes_over_a_torn_one(void **state)
{
    (void)state;
    struct place place;
    struct blx_error err = {0};
    struct blx_history history;
    char path[PATH_MAX];
    open_place(&place, NULL);
    for (uint64_t at = 1; at <= BLX_HISTORY_ROWS + 5; at++) {
        const struct blx_history_row row = {.checkpoint = place.newest + at,
                                            .suspicious = at % 2 == 0,
                                            .change = {.hardened_bytes = at}};
        test_ok(blx_history_add(web1(&place), &row, &err), &err);
    }
    test_ok(blx_history_read(web1(&place), &history, &err), &err);
    assert_int_equal(history.count, BLX_HISTORY_ROWS);
    for (size_t i = 0; i < history.count; i++) {
        assert_int_equal(history.rows[i].change.hardened_bytes, i + 6);
        assert_int_equal(history.rows[i].suspicious, i % 2 == 0);
    }
    test_path(&place.test, path, "agents/web1/changes");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 128 * BLX_HISTORY_ROWS);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "torn", 4, 128 * 10 + 60), 4);
    close(fd);
    test_ok(blx_history_read(web1(&place), &history, &err), &err);
    assert_int_equal(history.count, BLX_HISTORY_ROWS - 1);
    close_place(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_compared_with_those_they_replace),
        cmocka_unit_test(encrypted_frames_tell_the_same),
        cmocka_unit_test(a_lost_map_is_made_again_from_the_chain),
        cmocka_unit_test(encryption_is_marked_and_the_last_calm_checkpoint_pinned_once),
        cmocka_unit_test(a_mark_goes_with_its_checkpoint_and_a_person_takes_the_pin_over),
        cmocka_unit_test(off_measures_nothing_and_later_it_begins_from_the_chain),
        cmocka_unit_test(the_history_keeps_the_newest_rows_and_passes_over_a_torn_one),
    };
    test_fsync_off();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
