/* SPDX-License-Identifier: Apache-2.0 */
/* Removals by hand: one that failed is done by the next one, and leaves whole checkpoints. */
#include "store/remove/remove_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "loop.h"
#include "store/archive.h"
#include "store/directory_private.h"
#include "store/own_id.h"
#include "store/rename.h"
#include "store/checkpoint/pin.h"
#include "store/quota.h"
#include "store/standing_private.h"
#include "store_state.h"
#include "sys.h"

struct removing {
    struct store_state state;
    struct blx_remove_request request;
    struct blx_remove_report report;
    struct blx_removal removal;
    struct blx_agent_lock lock;
    char dir[PATH_MAX], hidden[PATH_MAX];
    size_t finished;
    blx_timestamp since;
};

static struct removing removing;

static struct blx_agent_store web1(void)
{
    return blx_store_agent(&removing.state.test.store, "web1");
}

static void setup(void *arg)
{
    (void)arg;
    memset(&removing, 0, sizeof(removing));
    store_state_init(&removing.state);
    test_path(&removing.state.test, removing.dir, "agents/web1/volumes/vda");
    assert_int_equal(blx_directory_hidden(removing.dir, removing.hidden, NULL), 0);
    removing.lock.fd = -1;
    removing.request.volume = "vda";
    removing.removal = (struct blx_removal){
        .request = &removing.request,
        .report = &removing.report,
        .agent = {.store = web1(), .lock = {.fd = -1}},
    };
}

static void setup_read(void *arg)
{
    setup(arg);
    assert_int_equal(blx_prune_agent_open(web1(), &removing.removal.agent, NULL), 0);
}

static void teardown(void *arg)
{
    (void)arg;
    blx_agent_lock_close(&removing.lock);
    blx_prune_agent_done(&removing.removal.agent);
    store_state_done(&removing.state);
}

static int run_all(void *arg, struct blx_error *err)
{
    (void)arg;
    removing.request = (struct blx_remove_request){.part = BLX_REMOVE_ALL};
    return blx_remove(web1(), &removing.request, &removing.report, err);
}

static int run_volume(void *arg, struct blx_error *err)
{
    (void)arg;
    removing.request = (struct blx_remove_request){.part = BLX_REMOVE_VOLUME, .volume = "vda"};
    return blx_remove(web1(), &removing.request, &removing.report, err);
}

/* What is left of a removal that failed is not listed. */
static void check_all(void *arg, int rc)
{
    char path[PATH_MAX];
    if (rc < 0) {
        if (blx_agent_store_exists(web1()))
            test_restores_to(&removing.state.test, removing.state.checkpoints[1], "vda",
                             removing.state.images[1], STATE_BYTES);
        rc = run_all(arg, NULL);
        assert_true(rc == 0 || rc == -ENOENT);
    }
    test_path(&removing.state.test, path, "agents");
    assert_int_equal(rmdir(path), 0);
}

static void check_volume(void *arg, int rc)
{
    if (rc < 0) {
        rc = run_volume(arg, NULL);
        assert_true(rc == 0 || rc == -ENOENT);
    }
    assert_int_equal(access(removing.dir, F_OK), -1);
    assert_int_equal(access(removing.hidden, F_OK), -1);
}

static int run_look(void *arg, struct blx_error *err)
{
    (void)arg;
    removing.request = (struct blx_remove_request){.part = BLX_REMOVE_UNCOMMITTED};
    return blx_remove_look(web1(), &removing.request, &removing.report, err);
}

static void check_look(void *arg, int rc)
{
    (void)arg;
    if (rc == 0)
        assert_int_equal(removing.report.volumes, 1);
    store_state_check(&removing.state);
}

static int run_finish(void *arg, struct blx_error *err)
{
    (void)arg;
    return blx_remove_finish(&removing.state.test.store, &removing.finished, err);
}

static void hide(void *arg)
{
    setup(arg);
    assert_int_equal(rename(removing.dir, removing.hidden), 0);
}

static void check_finish(void *arg, int rc)
{
    if (rc < 0)
        assert_int_equal(run_finish(arg, NULL), 0);
    assert_int_equal(access(removing.hidden, F_OK), -1);
}

static int run_sweep(void *arg, struct blx_error *err)
{
    char path[PATH_MAX];
    (void)arg;
    test_path(&removing.state.test, path, "agents/web1/volumes");
    return blx_directory_remove_hidden(path, &removing.finished, err);
}

static int run_directory(void *arg, struct blx_error *err)
{
    (void)arg;
    return blx_directory_remove(removing.dir, err);
}

static void check_directory(void *arg, int rc)
{
    if (rc < 0)
        assert_int_equal(run_directory(arg, NULL), 0);
    assert_int_equal(access(removing.dir, F_OK), -1);
    assert_int_equal(access(removing.hidden, F_OK), -1);
}

static int run_enter(void *arg, struct blx_error *err)
{
    (void)arg;
    return blx_agent_lock_enter(web1(), &removing.lock, err);
}

static void check_good(void *arg, int rc)
{
    (void)arg;
    (void)rc;
    store_state_check(&removing.state);
}

static int run_measure(void *arg, struct blx_error *err)
{
    (void)arg;
    return blx_removal_measure(&removing.removal, removing.dir, err);
}

static int run_look_at_volume(void *arg, struct blx_error *err)
{
    (void)arg;
    return blx_removal_look_at_volume(&removing.removal, err);
}

static int run_look_at_rest(void *arg, struct blx_error *err)
{
    (void)arg;
    return blx_removal_look_at_rest(&removing.removal, "vda", err);
}

static int run_take_volume(void *arg, struct blx_error *err)
{
    (void)arg;
    return blx_removal_take_volume(&removing.removal, err);
}

static int run_take_rest(void *arg, struct blx_error *err)
{
    (void)arg;
    return blx_removal_take_rest(&removing.removal, "vda", err);
}

static void check_rest(void *arg, int rc)
{
    (void)arg;
    char path[PATH_MAX];
    for (size_t i = 0; i < 2; i++)
        test_restores_to(&removing.state.test, removing.state.checkpoints[i], "vda",
                         removing.state.images[i], STATE_BYTES);
    test_path(&removing.state.test, path, "agents/web1/volumes/vda/open.seg");
    if (rc == 0)
        assert_int_equal(access(path, F_OK), -1);
}

static int run_pin(void *arg, struct blx_error *err)
{
    (void)arg;
    return blx_pin_write_locked(web1(), removing.state.checkpoints[0], BLX_PIN_ON, err);
}

static int run_archive(void *arg, struct blx_error *err)
{
    (void)arg;
    return blx_archive_begin(web1(), removing.state.checkpoints[0], err);
}

static int run_archive_look(void *arg, struct blx_error *err)
{
    (void)arg;
    int rc = blx_archive_look(web1(), &removing.since, err);
    return rc < 0 ? rc : 0;
}

static int run_archive_end(void *arg, struct blx_error *err)
{
    (void)arg;
    return blx_archive_end(web1(), err);
}

static int run_quota(void *arg, struct blx_error *err)
{
    struct blx_quota used = {0};
    (void)arg;
    int rc = blx_quota_measure(web1(), &used, err);
    assert_int_equal(used.of[BLX_QUOTA_CHECKPOINTS], rc == 0 ? 2 : 0);
    return rc;
}

static int run_standing(void *arg, struct blx_error *err)
{
    (void)arg;
    int rc = blx_standing_begin(web1(), "archived", removing.state.checkpoints[0], err);
    if (rc == 0)
        rc = blx_standing_look(web1(), "archived", &removing.since, err);
    return rc < 0 ? rc : blx_standing_end(web1(), "archived", err);
}

static int run_rename(void *arg, struct blx_error *err)
{
    (void)arg;
    return blx_rename(web1(), "db1", 0, err);
}

/* Failed or not, one of the two names is the agent's. */
static void check_rename(void *arg, int rc)
{
    char name[BLX_NAME_BYTES];
    struct blx_error none = {0};
    assert_int_equal(blx_own_id_find(web1().store, "web1", name, &none), 1);
    if (rc == 0)
        assert_string_equal(name, "db1");
    if (strcmp(name, "web1") == 0)
        assert_int_equal(run_rename(arg, NULL), 0);
    assert_int_equal(blx_rename(blx_store_agent(web1().store, "db1"), "web1", 0, NULL), 0);
    store_state_check(&removing.state);
}

static int run_rename_check(void *arg, struct blx_error *err)
{
    (void)arg;
    return blx_rename_check(web1(), "db1", err);
}

static int run_own_id(void *arg, struct blx_error *err)
{
    char name[BLX_NAME_BYTES];
    (void)arg;
    int rc = blx_own_id_write(web1(), "web1", err);
    if (rc == 0)
        rc = blx_own_id_read(web1(), name, err);
    if (rc == 0)
        rc = blx_own_id_find(web1().store, "web2", name, err);
    if (rc == 0)
        rc = blx_own_id_resolve(web1().store, "web3", name, err);
    return rc;
}

/* As a renaming takes them. */
static int run_lock(void *arg, struct blx_error *err)
{
    (void)arg;
    int rc = blx_agent_lock_open(web1(), &removing.lock, err);
    if (rc == 0)
        rc = blx_agent_lock_alone(&removing.lock, BLX_LOCK_SESSION, 0, err);
    if (rc == 0)
        rc = blx_agent_lock_others(&removing.lock, err);
    if (rc == 0)
        rc = blx_agent_lock_check_readers(&removing.lock, web1(), err);
    blx_agent_lock_close(&removing.lock);
    return rc;
}

static void renaming_that_failed_is_done_by_the_next_one(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup, run_rename, check_rename, teardown, 0}, NULL);
    fault_loop(&(struct fault_case){setup, run_rename_check, check_good, teardown, 0}, NULL);
    fault_loop(&(struct fault_case){setup, run_own_id, check_good, teardown, 0}, NULL);
    fault_loop(&(struct fault_case){setup, run_lock, check_good, teardown, 0}, NULL);
}

static void removal_that_failed_is_done_by_the_next_one(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup, run_all, check_all, teardown, 0}, NULL);
    fault_loop(&(struct fault_case){setup, run_volume, check_volume, teardown, 0}, NULL);
    fault_loop(&(struct fault_case){hide, run_finish, check_finish, teardown, 0}, NULL);
    fault_loop(&(struct fault_case){setup, run_directory, check_directory, teardown, 0}, NULL);
    fault_loop(&(struct fault_case){hide, run_sweep, check_finish, teardown, 0}, NULL);
}

static void look_changes_nothing(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup, run_look, check_look, teardown, 0}, NULL);
    fault_loop(&(struct fault_case){setup, run_measure, check_good, teardown, 0}, NULL);
    fault_loop(&(struct fault_case){setup_read, run_look_at_volume, check_good, teardown, 0}, NULL);
    fault_loop(&(struct fault_case){setup_read, run_look_at_rest, check_good, teardown, 0}, NULL);
}

static void each_step_leaves_whole_checkpoints(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup_read, run_take_volume, check_volume, teardown, 0}, NULL);
    fault_loop(&(struct fault_case){setup_read, run_take_rest, check_rest, teardown, 0}, NULL);
}

static void marks_and_locks_leave_the_store_good(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup, run_enter, check_good, teardown, 0}, NULL);
    fault_loop(&(struct fault_case){setup, run_pin, check_good, teardown, 0}, NULL);
    fault_loop(&(struct fault_case){setup, run_archive, check_good, teardown, 0}, NULL);
    fault_loop(&(struct fault_case){setup, run_archive_look, check_good, teardown, 0}, NULL);
    fault_loop(&(struct fault_case){setup, run_archive_end, check_good, teardown, 0}, NULL);
    fault_loop(&(struct fault_case){setup, run_quota, check_good, teardown, 0}, NULL);
    fault_loop(&(struct fault_case){setup, run_standing, check_good, teardown, 0}, NULL);
}

int main(void)
{
    sys_use_fast();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(removal_that_failed_is_done_by_the_next_one),
        cmocka_unit_test(renaming_that_failed_is_done_by_the_next_one),
        cmocka_unit_test(look_changes_nothing),
        cmocka_unit_test(each_step_leaves_whole_checkpoints),
        cmocka_unit_test(marks_and_locks_leave_the_store_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
