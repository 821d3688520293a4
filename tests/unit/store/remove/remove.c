/* SPDX-License-Identifier: Apache-2.0 */
/* Removals by hand, with each disk call of theirs failing, or being the last one of the process. */
#include "store/remove/remove.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../fixture.h"
#include "base/cleanup.h"
#include "store/agent_lock.h"
#include "store/checkpoint/pin.h"
#include "store/checkpoint/tested.h"
#include "store/verify/verify.h"

enum { BLOCKS = 16, BYTES = BLOCKS * TEST_BLOCK_BYTES, CHECKPOINTS = 4, MOST_CALLS = 400 };

/* "sda" and "sdb". The checkpoint number 2 has sdb alone; sda then begins with a full pass. */
struct place {
    struct test_store test;
    struct test_volume volumes[2];
    blx_timestamp timestamps[CHECKPOINTS];
    uint8_t images[CHECKPOINTS][2][BYTES];
    uint8_t generation;
};

static struct place place;

static bool has(size_t checkpoint, size_t volume)
{
    return checkpoint != 2 || volume == 1;
}

static struct blx_agent_store web1(const struct test_store *test)
{
    return blx_store_agent(&test->store, "web1");
}

static void keep(size_t checkpoint)
{
    for (size_t v = 0; v < 2; v++)
        memcpy(place.images[checkpoint][v], place.volumes[v].image, BYTES);
}

/* The two volumes' session, or that of sdb. */
static struct blx_agent_writer *begin(size_t first, enum blx_pass sda, enum blx_pass sdb)
{
    struct test_volume *const volumes[] = {&place.volumes[first], &place.volumes[1]};
    struct blx_agent_writer *writer = test_writer_open(&place.test, volumes, 2 - first, NULL);
    if (first == 0)
        assert_int_equal(blx_agent_writer_begin(writer, 0, sda, NULL), 0);
    assert_int_equal(blx_agent_writer_begin(writer, (uint32_t)(1 - first), sdb, NULL), 0);
    return writer;
}

static void commit(struct blx_agent_writer *writer, size_t first, size_t checkpoint)
{
    struct test_volume *const volumes[] = {&place.volumes[first], &place.volumes[1]};
    place.timestamps[checkpoint] =
        test_writer_commit(writer, volumes, 2 - first, 1795000000 + checkpoint * 60);
    keep(checkpoint);
}

static int setup(void **state)
{
    (void)state;
    memset(&place, 0, sizeof(place));
    test_fsync_off();
    test_store_init(&place.test);
    for (size_t v = 0; v < 2; v++) {
        test_volume_init(&place.volumes[v], v == 0 ? "sda" : "sdb", BYTES, (uint8_t)(v + 1));
        for (uint64_t block = 0; block < BLOCKS; block++)
            test_volume_write(&place.volumes[v], block, 100 * v + block + 1);
    }
    struct blx_agent_writer *writer = begin(0, BLX_PASS_FULL, BLX_PASS_FULL);
    for (size_t v = 0; v < 2; v++)
        test_volume_send_all(&place.volumes[v], writer, 4);
    commit(writer, 0, 0);
    test_volume_send(&place.volumes[0], writer, 3, 300);
    test_volume_send(&place.volumes[1], writer, 4, 301);
    commit(writer, 0, 1);
    blx_agent_writer_close(writer);
    writer = begin(1, 0, BLX_PASS_RESUME);
    place.volumes[1].info.volume = 0;
    test_volume_send(&place.volumes[1], writer, 5, 302);
    commit(writer, 1, 2);
    blx_agent_writer_close(writer);
    test_volume_generation(&place.volumes[0], 9);
    place.volumes[0].seq = 0;
    writer = begin(0, BLX_PASS_FULL, BLX_PASS_RESUME);
    test_volume_send_all(&place.volumes[0], writer, 4);
    commit(writer, 0, 3);
    test_volume_send(&place.volumes[0], writer, 1, 400);
    assert_int_equal(blx_agent_writer_sync(writer, NULL, NULL, NULL), 0);
    blx_agent_writer_close(writer);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t v = 0; v < 2; v++)
        test_volume_done(&place.volumes[v]);
    test_store_done(&place.test);
    return 0;
}

/* The store as it is, under another name. */
static void copy_store(struct test_store *copy)
{
    char command[256];
    struct blx_error err = {0};
    *copy = (struct test_store){.store.lock_fd = -1};
    test_make_dir(copy->dir, sizeof(copy->dir));
    snprintf(command, sizeof(command), "cp -a '%s/.' '%s'", place.test.dir, copy->dir);
    assert_int_equal(system(command), 0);
    test_ok(blx_store_open(copy->dir, BLX_STORE_READ, &copy->store, &err), &err);
}

struct attempt {
    const struct test_store *test;
    struct blx_remove_request request;
};

static int run(void *arg)
{
    const struct attempt *attempt = arg;
    struct blx_remove_report report;
    return blx_remove(web1(attempt->test), &attempt->request, &report, NULL);
}

static void check_no_damage(const struct test_store *test)
{
    struct blx_error err = {0};
    struct blx_verify_report report;
    test_ok(blx_verify(&test->store, NULL, NULL, &report, &err), &err);
    if (report.damage_count > 0)
        fail_msg("%s: %s", report.damages[0].file, report.damages[0].cause);
    blx_verify_report_done(&report);
}

/* Whatever is listed restores to what it was. How many volumes of checkpoints that are. */
static size_t check_listed(const struct test_store *test)
{
    size_t found = 0;
    for (size_t c = 0; c < CHECKPOINTS; c++) {
        BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
        struct blx_error err = {0};
        int rc = blx_manifest_read(web1(test), place.timestamps[c], &manifest, &err);
        if (rc == -ENOENT)
            continue;
        test_ok(rc, &err);
        for (uint32_t i = 0; i < manifest.volume_count; i++) {
            size_t v = strcmp(manifest.volumes[i].name, "sdb") == 0;
            assert_true(has(c, v));
            test_restores_to(test, place.timestamps[c], manifest.volumes[i].name,
                             place.images[c][v], BYTES);
            found++;
        }
    }
    check_no_damage(test);
    return found;
}

/* Each fault at each call; then the removal is done again, and check() looks. */
static void walk(const struct blx_remove_request *request, size_t least_calls,
                 void (*check_half)(const struct test_store *test),
                 void (*check)(const struct test_store *test))
{
    static const enum test_fault faults[] = {TEST_FAULT_ONCE, TEST_FAULT_KILL_BEHIND};
    for (size_t f = 0; f < sizeof(faults) / sizeof(faults[0]); f++) {
        bool fired = true;
        unsigned after;
        for (after = 0; fired; after++) {
            struct test_store test;
            struct attempt attempt = {&test, *request};
            copy_store(&test);
            fired = test_fault_run(run, &attempt, faults[f], after);
            check_half(&test);
            int rc = run(&attempt);
            assert_true(rc == 0 || (rc == -ENOENT && request->part != BLX_REMOVE_UNCOMMITTED));
            check(&test);
            test_store_done(&test);
            assert_true(after < MOST_CALLS);
        }
        assert_true(after > least_calls);
    }
}

static void agent_is_whole_or_not_listed(const struct test_store *test)
{
    char **ids;
    size_t count;
    assert_int_equal(blx_store_list_agents(&test->store, &ids, &count, NULL), 0);
    assert_true(count <= 1);
    if (count == 1)
        assert_int_equal(check_listed(test), 7);
    check_no_damage(test);
    blx_store_free_agents(ids, count);
}

static void nothing_is_left(const struct test_store *test)
{
    char path[PATH_MAX];
    test_path(test, path, "agents");
    assert_int_equal(rmdir(path), 0);
}

static void removal_of_an_agent_is_whole_at_every_step(void **state)
{
    (void)state;
    const struct blx_remove_request request = {.part = BLX_REMOVE_ALL};
    walk(&request, 15, agent_is_whole_or_not_listed, nothing_is_left);
}

static void start_ends_a_removal_that_was_cut_off(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct attempt attempt = {&place.test, {.part = BLX_REMOVE_ALL}};
    size_t finished = 9;
    test_ok(blx_remove_finish(&place.test.store, &finished, &err), &err);
    assert_int_equal(finished, 0);
    assert_int_equal(check_listed(&place.test), 7);
    /* Far enough for the rename. */
    unsigned after = 0;
    do
        test_fault_run(run, &attempt, TEST_FAULT_KILL_BEHIND, after++);
    while (blx_agent_store_exists(web1(&place.test)));
    test_ok(blx_remove_finish(&place.test.store, &finished, &err), &err);
    assert_int_equal(finished, 1);
    nothing_is_left(&place.test);
}

static void listed_checkpoints_restore(const struct test_store *test)
{
    check_listed(test);
}

static void sdb_is_gone(const struct test_store *test)
{
    char path[PATH_MAX];
    test_path(test, path, "agents/web1/volumes/sdb");
    assert_int_equal(access(path, F_OK), -1);
    test_path(test, path, "agents/web1/volumes/.sdb.removed");
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(check_listed(test), 3); /* and the checkpoint that had nothing else is gone */
}

static void volume_goes_from_every_checkpoint_and_the_others_stay(void **state)
{
    (void)state;
    const struct blx_remove_request request = {.part = BLX_REMOVE_VOLUME, .volume = "sdb"};
    struct blx_remove_report report;
    struct blx_error err = {0};
    test_ok(blx_remove_look(web1(&place.test), &request, &report, &err), &err);
    assert_int_equal(report.checkpoints, 1);
    assert_int_equal(report.narrowed, 3);
    assert_int_equal(report.oldest, place.timestamps[0]);
    assert_int_equal(report.newest, place.timestamps[3]);
    assert_true(report.bytes >= BYTES / 4);
    assert_int_equal(check_listed(&place.test), 7); /* looking changes nothing */
    walk(&request, 20, listed_checkpoints_restore, sdb_is_gone);
}

static void announce(const struct test_store *test, struct blx_volume_state states[2])
{
    struct test_volume *const volumes[] = {&place.volumes[0], &place.volumes[1]};
    blx_agent_writer_close(test_writer_open(test, volumes, 2, states));
}

static void committed_ones_restore(const struct test_store *test)
{
    assert_int_equal(check_listed(test), 7);
}

/* sda had a frame, so it compares; sdb had none, and goes on. */
static void frames_are_lost_and_known_to_be(const struct test_store *test)
{
    assert_int_equal(check_listed(test), 7);
    struct blx_volume_state states[2];
    announce(test, states);
    assert_true(blx_generation_is_none(&states[0].generation));
    assert_int_equal(states[0].image_bytes, BYTES);
    assert_false(blx_generation_is_none(&states[1].generation));
}

static void frames_without_a_checkpoint_go_and_the_next_session_compares(void **state)
{
    (void)state;
    const struct blx_remove_request request = {.part = BLX_REMOVE_UNCOMMITTED};
    struct blx_remove_report report;
    struct blx_error err = {0};
    struct blx_volume_state states[2];
    announce(&place.test, states);
    assert_false(blx_generation_is_none(&states[0].generation));
    test_ok(blx_remove_look(web1(&place.test), &request, &report, &err), &err);
    assert_int_equal(report.volumes, 1);
    assert_true(report.bytes >= TEST_BLOCK_BYTES);
    assert_int_equal(report.oldest, 0);
    walk(&request, 6, committed_ones_restore, frames_are_lost_and_known_to_be);
}

static void assert_refused(enum blx_remove_part part, int rc, const char *text)
{
    const struct blx_remove_request request = {.part = part,
                                               .volume = part == BLX_REMOVE_VOLUME ? "sdb" : NULL};
    struct blx_remove_report report;
    struct blx_error err = {0};
    assert_int_equal(blx_remove(web1(&place.test), &request, &report, &err), rc);
    if (strstr(err.message, text) == NULL)
        fail_msg("'%s' lacks '%s'", err.message, text);
    assert_int_equal(check_listed(&place.test), 7);
}

static void connected_agent_is_not_removed_and_none_connects_meanwhile(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_agent_writer *writer = begin(0, BLX_PASS_RESUME, BLX_PASS_RESUME);
    for (int part = BLX_REMOVE_ALL; part <= BLX_REMOVE_UNCOMMITTED; part++)
        assert_refused((enum blx_remove_part)part, -EBUSY, "dispatcher revoke --agent=web1");
    blx_agent_writer_close(writer);
    struct blx_agent_lock lock = {.fd = -1};
    test_ok(blx_agent_lock_open(web1(&place.test), &lock, &err), &err);
    test_ok(blx_agent_lock_alone(&lock, BLX_LOCK_SESSION, 0, &err), &err);
    assert_int_equal(blx_agent_writer_open(web1(&place.test), NULL, &writer, &err), -EBUSY);
    assert_non_null(strstr(err.message, "'web1' is being removed"));
    blx_agent_lock_close(&lock);
}

static void pinned_checkpoint_goes_only_if_it_is_named(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_remove_report report;
    test_ok(blx_pin_write(web1(&place.test), place.timestamps[2], BLX_PIN_ON, &err), &err);
    assert_refused(BLX_REMOVE_ALL, -EPERM, "is pinned");
    assert_refused(BLX_REMOVE_VOLUME, -EPERM, "is pinned");
    const struct blx_remove_request request = {.part = BLX_REMOVE_VOLUME,
                                               .volume = "sdb",
                                               .named = &place.timestamps[2],
                                               .named_count = 1};
    test_ok(blx_remove(web1(&place.test), &request, &report, &err), &err);
    sdb_is_gone(&place.test);
}

static void record_of_a_test_goes_with_a_disk_that_it_was_about(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_remove_report report;
    struct blx_tested tested;
    const struct blx_remove_request request = {.part = BLX_REMOVE_VOLUME, .volume = "sda"};
    for (size_t i = 0; i < CHECKPOINTS; i++) {
        tested = (struct blx_tested){.checkpoint = place.timestamps[i],
                                     .level = BLX_TEST_LEVEL_FILESYSTEM};
        test_ok(blx_tested_write(web1(&place.test), &tested, &err), &err);
    }
    test_ok(blx_remove(web1(&place.test), &request, &report, &err), &err);
    for (size_t i = 0; i < CHECKPOINTS; i++)
        assert_int_equal(blx_tested_read(web1(&place.test), place.timestamps[i], &tested, NULL),
                         has(i, 0) ? -ENOENT : 0);
}

static void checkpoint_that_is_read_is_not_removed(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_agent_lock lock = {.fd = -1};
    test_ok(blx_agent_lock_begin(web1(&place.test), place.timestamps[1], &lock, &err), &err);
    blx_agent_lock_release(&lock, BLX_LOCK_CHAINS);
    assert_refused(BLX_REMOVE_ALL, -EBUSY, "is reading");
    assert_refused(BLX_REMOVE_VOLUME, -EBUSY, "is reading");
    blx_agent_lock_close(&lock);
}

static void unknown_names_are_told_with_the_known_ones(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_remove_report report;
    const struct blx_remove_request all = {.part = BLX_REMOVE_ALL};
    const struct blx_remove_request volume = {.part = BLX_REMOVE_VOLUME, .volume = "sdx"};
    assert_int_equal(
        blx_remove_look(blx_store_agent(&place.test.store, "web2"), &all, &report, &err), -ENOENT);
    blx_error_clear(&err);
    assert_int_equal(blx_remove_look(web1(&place.test), &volume, &report, &err), -ENOENT);
    assert_non_null(strstr(err.message, "no volume 'sdx'; it has "));
    assert_non_null(strstr(err.message, "sdb"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(removal_of_an_agent_is_whole_at_every_step),
        TEST(start_ends_a_removal_that_was_cut_off),
        TEST(volume_goes_from_every_checkpoint_and_the_others_stay),
        TEST(frames_without_a_checkpoint_go_and_the_next_session_compares),
        TEST(connected_agent_is_not_removed_and_none_connects_meanwhile),
        TEST(pinned_checkpoint_goes_only_if_it_is_named),
        TEST(record_of_a_test_goes_with_a_disk_that_it_was_about),
        TEST(checkpoint_that_is_read_is_not_removed),
        TEST(unknown_names_are_told_with_the_known_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
