/* SPDX-License-Identifier: Apache-2.0 */
/* Walks the steps of "Removing checkpoints" and "Rewriting segments" in STORE.md: every disk call
 * of a prune and of the rewrite after it fails once, fails for ever, or ends the process, one after
 * another. */
#include "history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "store/verify/verify.h"

enum { CHECKPOINTS = 7, DOOMED = 4, MAX_CALLS = 2000 };

/* Of CHECKPOINTS; the prune removes these. */
static const size_t doomed_places[DOOMED] = {0, 1, 3, 4};

static void build(struct history *history)
{
    history_init(history, 21);
    for (size_t i = 0; i < CHECKPOINTS; i++) {
        history_noise(history, 5 * i, 12);
        history_noise(history, 40, 3);
        history_change(history);
        history_commit(history);
    }
    history_noise(history, 2, 2); /* and frames that no checkpoint has */
}

/* The store as it was before the prune, under another name. */
static void copy_store(const struct history *history, struct test_store *copy)
{
    char command[256];
    struct blx_error err = {0};
    *copy = (struct test_store){.store.lock_fd = -1};
    test_make_dir(copy->dir, sizeof(copy->dir));
    snprintf(command, sizeof(command), "cp -a '%s/.' '%s'", history->test.dir, copy->dir);
    assert_int_equal(system(command), 0);
    test_ok(blx_store_open(copy->dir, BLX_STORE_READ, &copy->store, &err), &err);
}

/* A prune of the store `test`, and a rewrite. */
struct attempt {
    const struct history *history;
    const struct test_store *test;
};

static int run(void *arg)
{
    const struct attempt *attempt = arg;
    struct blx_prune_report report;
    struct blx_rewrite_report rewritten;
    blx_timestamp doomed[DOOMED];
    for (size_t i = 0; i < DOOMED; i++)
        doomed[i] = attempt->history->timestamps[doomed_places[i]];
    int rc = test_prune(attempt->test, doomed, DOOMED, &report, NULL);
    return rc == 0 ? test_rewrite(attempt->test, &rewritten, NULL) : rc;
}

static bool is_doomed(size_t at)
{
    for (size_t i = 0; i < DOOMED; i++)
        if (doomed_places[i] == at)
            return true;
    return false;
}

/* Whatever is listed restores; what had to stay is there; nothing counts as damaged. */
static size_t check(const struct history *history, const struct test_store *test)
{
    struct blx_error err = {0};
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    size_t count, at = 0;
    test_ok(
        blx_manifest_list(blx_store_agent(&test->store, "web1"), 0, UINT64_MAX, &all, &count, &err),
        &err);
    for (size_t i = 0; i < CHECKPOINTS; i++) {
        bool there = at < count && all[at] == history->timestamps[i];
        assert_true(there || is_doomed(i));
        if (!there)
            continue;
        test_restores_to(test, all[at++], "sda", history->images[i], HISTORY_BYTES);
    }
    assert_int_equal(at, count);
    test_no_damage(test);
    return count;
}

/* The frames after the last checkpoint are there, too. */
static void check_session(const struct history *history, const struct test_store *test)
{
    struct blx_error err = {0};
    struct blx_agent_writer *writer;
    struct blx_volume_state state;
    test_ok(blx_agent_writer_open(blx_store_agent(&test->store, "web1"), NULL, &writer, &err),
            &err);
    test_ok(blx_agent_writer_add_volume(writer, &history->volume.info, &state, &err), &err);
    assert_int_equal(state.durable_seq, history->volume.seq);
    blx_agent_writer_close(writer);
}

/* Bytes on the disk, and names, of the volume's folder. */
static void measure(const struct test_store *test, char *text, size_t bytes)
{
    char command[256];
    snprintf(command, sizeof(command),
             "cd '%s/agents/web1' && find volumes checkpoints -type f ! -name '*.tmp' -printf '%%p "
             "%%b %%s\\n' | "
             "sort | cksum",
             test->dir);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_non_null(fgets(text, (int)bytes, pipe));
    assert_int_equal(pclose(pipe), 0);
}

/*
 * In a walk each third call alone has its turn, from `first` on, unless BLXREP_EXHAUSTIVE is set:
 * the four walks begin at different ones.
 */
static void walk(enum test_fault fault, unsigned first)
{
    const unsigned step = getenv("BLXREP_EXHAUSTIVE") != NULL ? 1 : 3;
    struct history history;
    struct test_store test;
    struct attempt attempt = {&history, &test};
    char wanted[64] = "", found[64];
    bool fired = true;
    unsigned steps = 0;
    build(&history);
    copy_store(&history, &test);
    assert_int_equal(run(&attempt), 0);
    measure(&test, wanted, sizeof(wanted));
    assert_int_equal(check(&history, &test), CHECKPOINTS - DOOMED);
    test_store_done(&test);
    for (unsigned after = step == 1 ? 0 : first; fired; after += step) {
        copy_store(&history, &test);
        fired = test_fault_run(run, &attempt, fault, after);
        check(&history, &test);
        /* The next one ends what this one began, and nothing is left over. */
        assert_int_equal(run(&attempt), 0);
        assert_int_equal(check(&history, &test), CHECKPOINTS - DOOMED);
        measure(&test, found, sizeof(found));
        assert_string_equal(found, wanted);
        check_session(&history, &test);
        test_store_done(&test);
        steps++;
        assert_true(after < MAX_CALLS);
    }
    assert_true(steps * step > 60);
    history_done(&history);
}

static void store_stays_good_when_any_disk_call_fails_once(void **state)
{
    (void)state;
    walk(TEST_FAULT_ONCE, 0);
}

static void store_stays_good_when_the_disk_fails_for_ever(void **state)
{
    (void)state;
    walk(TEST_FAULT_FOR_EVER, 1);
}

static void store_stays_good_when_the_process_dies_before_any_call(void **state)
{
    (void)state;
    walk(TEST_FAULT_KILL_BEFORE, 2);
}

static void store_stays_good_when_the_process_dies_after_any_call(void **state)
{
    (void)state;
    walk(TEST_FAULT_KILL_BEHIND, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(store_stays_good_when_any_disk_call_fails_once),
        cmocka_unit_test(store_stays_good_when_the_disk_fails_for_ever),
        cmocka_unit_test(store_stays_good_when_the_process_dies_before_any_call),
        cmocka_unit_test(store_stays_good_when_the_process_dies_after_any_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
