/* SPDX-License-Identifier: Apache-2.0 */
/* Agents that get another name, with each disk call of it failing, or being the process's last. */
#include "store/rename.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "store/agent_lock.h"
#include "store/own_id.h"

enum { BLOCKS = 8, BYTES = BLOCKS * TEST_BLOCK_BYTES, MOST_CALLS = 100 };

struct place {
    struct test_store test;
    struct test_volume volume;
    blx_timestamp checkpoint;
};

static struct place place;

static struct blx_agent_store named(const char *name)
{
    return blx_store_agent(&place.test.store, name);
}

/* "web1" has a checkpoint, "web2" was enrolled. */
static int setup(void **state)
{
    (void)state;
    memset(&place, 0, sizeof(place));
    test_fsync_off();
    test_store_init(&place.test);
    test_volume_init(&place.volume, "sda", BYTES, 1);
    for (uint64_t block = 0; block < BLOCKS; block++)
        test_volume_write(&place.volume, block, block + 1);
    struct test_volume *const volumes[] = {&place.volume};
    struct blx_agent_writer *writer = test_writer_open(&place.test, volumes, 1, NULL);
    assert_int_equal(blx_agent_writer_begin(writer, 0, BLX_PASS_FULL, NULL), 0);
    test_volume_send_all(&place.volume, writer, 4);
    place.checkpoint = test_writer_commit(writer, volumes, 1, 1795000000);
    blx_agent_writer_close(writer);
    assert_int_equal(blx_agent_store_enroll(named("web2"), NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_volume_done(&place.volume);
    test_store_done(&place.test);
    return 0;
}

static void expect(int rc, int wanted, const struct blx_error *err, const char *words)
{
    assert_int_equal(rc, wanted);
    if (strstr(err->message, words) == NULL)
        fail_msg("'%s' does not say '%s'", err->message, words);
}

/* The agent with the ID web1 has this name, and nobody else has it. */
static void check_called(const char *name)
{
    char found[BLX_NAME_BYTES];
    blx_timestamp latest = 0;
    assert_int_equal(blx_own_id_find(&place.test.store, "web1", found, NULL), 1);
    assert_string_equal(found, name);
    assert_int_equal(blx_own_id_read(named(name), found, NULL), 0);
    assert_string_equal(found, "web1");
    assert_int_equal(blx_manifest_latest(named(name), &latest, NULL), 0);
    assert_true(latest == place.checkpoint);
    char **names = NULL;
    size_t count = 0;
    assert_int_equal(blx_store_list_agents(&place.test.store, &names, &count, NULL), 0);
    assert_int_equal(count, 2);
    blx_store_free_agents(names, count);
}

static int run_rename(void *arg)
{
    (void)arg;
    return blx_rename(named("web1"), "db1", 0, NULL);
}

static void renamed_agent_keeps_its_history_and_id(void **state)
{
    (void)state;
    struct blx_error err = {0};
    test_ok(blx_rename(named("web1"), "db1", 0, &err), &err);
    check_called("db1");
    test_ok(blx_rename(named("db1"), "db2", 0, &err), &err);
    check_called("db2");
    test_ok(blx_rename(named("db2"), "web1", 0, &err), &err);
    check_called("web1");
    test_restores_to(&place.test, place.checkpoint, "sda", place.volume.image, BYTES);
}

static void name_that_is_taken_is_refused(void **state)
{
    (void)state;
    struct blx_error err = {0};
    expect(blx_rename(named("web1"), "web2", 0, &err), -EEXIST, &err, "an agent 'web2' already");
    err = (struct blx_error){0};
    expect(blx_rename(named("web1"), "../x", 0, &err), -EINVAL, &err, "new name");
    err = (struct blx_error){0};
    expect(blx_rename(named("web3"), "db1", 0, &err), -ENOENT, &err, "unknown agent 'web3'");
    err = (struct blx_error){0};
    test_ok(blx_rename(named("web1"), "db1", 0, &err), &err);
    expect(blx_rename(named("web2"), "web1", 0, &err), -EEXIST, &err, "the ID of the agent 'db1'");
    check_called("db1");
}

static void server_with_an_id_that_is_a_name_here_is_refused(void **state)
{
    (void)state;
    char name[BLX_NAME_BYTES] = "untouched";
    struct blx_error err = {0};
    test_ok(blx_rename(named("web1"), "db1", 0, &err), &err);
    expect(blx_own_id_find(&place.test.store, "db1", name, &err), -EEXIST, &err,
           "the name of another agent");
    assert_string_equal(name, "untouched");
    assert_int_equal(blx_own_id_find(&place.test.store, "new", name, NULL), 0);
    assert_string_equal(name, "new");
}

/* Whoever types an ID that a server's log has means the agent that has it. */
static void agent_is_meant_by_its_name_or_its_id(void **state)
{
    (void)state;
    const char *const meant[][2] = {
        {"db1", "db1"}, {"web1", "db1"}, {"web2", "web2"}, {"new", "new"}};
    struct blx_error err = {0};
    char name[BLX_NAME_BYTES];
    test_ok(blx_rename(named("web1"), "db1", 0, &err), &err);
    for (size_t i = 0; i < sizeof(meant) / sizeof(meant[0]); i++) {
        test_ok(blx_own_id_resolve(&place.test.store, meant[i][0], name, &err), &err);
        assert_string_equal(name, meant[i][1]);
    }
    expect(blx_own_id_resolve(&place.test.store, "../x", name, &err), -EINVAL, &err, "agent ID");
}

static void agent_in_use_is_not_renamed(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_agent_writer *writer = NULL;
    test_ok(blx_agent_writer_open(named("web1"), NULL, &writer, &err), &err);
    expect(blx_rename(named("web1"), "db1", 20, &err), -EBUSY, &err, "is connected");
    blx_agent_writer_close(writer);
    struct blx_agent_lock reader = {.fd = -1};
    assert_int_equal(blx_agent_lock_begin(named("web1"), place.checkpoint, &reader, NULL), 0);
    blx_agent_lock_release(&reader, BLX_LOCK_CHAINS);
    err = (struct blx_error){0};
    expect(blx_rename(named("web1"), "db1", 0, &err), -EBUSY, &err, "is reading a checkpoint");
    blx_agent_lock_close(&reader);
    check_called("web1");
}

/* A session that was let in as 'web1' a moment before must not begin an empty 'web1'. */
static void writer_of_a_known_agent_makes_no_folder(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct blx_agent_writer *writer = NULL;
    assert_int_equal(run_rename(NULL), 0);
    assert_int_equal(
        blx_agent_writer_open_in(named("web1"), BLX_AGENT_FOLDER_THERE, NULL, &writer, &err),
        -ENOENT);
    assert_null(writer);
    check_called("db1");
}

static void damaged_id_refuses_and_names_the_file(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "web1", "web 1\n", "web1\nx\n", "../web1\n", "\n"};
    char path[PATH_MAX], name[BLX_NAME_BYTES];
    assert_int_equal(run_rename(NULL), 0);
    test_path(&place.test, path, "agents/db1/id");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct blx_error err = {0};
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_true(fputs(bad[i], file) >= 0 && fclose(file) == 0);
        expect(blx_own_id_find(&place.test.store, "web1", name, &err), -EBADMSG, &err,
               "agents/db1/id' is damaged");
    }
}

static void check_either(int rc)
{
    bool moved = blx_agent_store_exists(named("db1"));
    assert_int_equal(moved, !blx_agent_store_exists(named("web1")));
    if (rc == 0)
        assert_true(moved);
    check_called(moved ? "db1" : "web1");
    if (!moved)
        assert_int_equal(run_rename(NULL), 0);
    check_called("db1");
}

static void each_step_that_fails_or_is_the_last_leaves_one_agent(void **state)
{
    static const enum test_fault faults[] = {TEST_FAULT_ONCE, TEST_FAULT_FOR_EVER,
                                             TEST_FAULT_KILL_BEFORE, TEST_FAULT_KILL_BEHIND};
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        bool happens = true;
        for (unsigned after = 0; happens; after++) {
            assert_true(after < MOST_CALLS);
            happens = test_fault_run(run_rename, NULL, faults[i], after);
            check_either(happens ? -EIO : 0);
            teardown(state);
            setup(state);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(renamed_agent_keeps_its_history_and_id, setup, teardown),
        cmocka_unit_test_setup_teardown(name_that_is_taken_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(server_with_an_id_that_is_a_name_here_is_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(agent_is_meant_by_its_name_or_its_id, setup, teardown),
        cmocka_unit_test_setup_teardown(agent_in_use_is_not_renamed, setup, teardown),
        cmocka_unit_test_setup_teardown(writer_of_a_known_agent_makes_no_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_id_refuses_and_names_the_file, setup, teardown),
        cmocka_unit_test_setup_teardown(each_step_that_fails_or_is_the_last_leaves_one_agent, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
