/* SPDX-License-Identifier: Apache-2.0 */
/* The locks of those that read an agent's checkpoints: a lock that failed keeps nothing locked, and
 * one that was taken keeps others out. */
#include <errno.h>
#include <string.h>

#include "loop.h"
#include "store/agent_lock.h"
#include "store_state.h"
#include "sys.h"

struct locking {
    struct blx_agent_lock lock, other;
    int held;
};

/* The kernel may have no room for a further lock. */
int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, void *arg);
int __wrap_fcntl64(int fd, int command, void *arg)
{
    return sys_fails() ? -1 : __real_fcntl64(fd, command, arg);
}

static void setup(void *arg)
{
    struct locking *locking = arg;
    locking->lock.fd = locking->other.fd = -1;
}

static void teardown(void *arg)
{
    struct locking *locking = arg;
    blx_agent_lock_close(&locking->lock);
    blx_agent_lock_close(&locking->other);
}

static int run_open(void *arg, struct blx_error *err)
{
    return blx_agent_lock_open(blx_store_agent(&store_state.test.store, "web1"),
                               &((struct locking *)arg)->lock, err);
}

static int run_open_shared(void *arg, struct blx_error *err)
{
    return blx_agent_lock_open_shared(blx_store_agent(&store_state.test.store, "web1"),
                                      &((struct locking *)arg)->lock, err);
}

static int run_begin(void *arg, struct blx_error *err)
{
    return blx_agent_lock_begin(blx_store_agent(&store_state.test.store, "web1"),
                                store_state.checkpoints[0], &((struct locking *)arg)->lock, err);
}

/* As somebody else sees it. */
static bool is_shared(struct locking *locking, enum blx_lock_part part)
{
    int rc = blx_agent_lock_alone(&locking->other, part, 0, NULL);
    assert_true(rc == 0 || rc == -EBUSY);
    blx_agent_lock_release(&locking->other, part);
    return rc == -EBUSY;
}

/* As a prune sees it, once the reader has let go of the chains. */
static bool is_held(struct locking *locking)
{
    blx_agent_lock_release(&locking->lock, BLX_LOCK_CHAINS);
    assert_int_equal(blx_agent_lock_alone(&locking->other, BLX_LOCK_CHAINS, 0, NULL), 0);
    int held = blx_agent_lock_is_held(&locking->other, store_state.checkpoints[0],
                                      store_state.checkpoints[0], NULL);
    blx_agent_lock_release(&locking->other, BLX_LOCK_CHAINS);
    assert_true(held >= 0);
    return held == 1;
}

static void open_other(struct locking *locking)
{
    assert_int_equal(blx_agent_lock_open(blx_store_agent(&store_state.test.store, "web1"),
                                         &locking->other, NULL),
                     0);
}

static void check_open(void *arg, int rc)
{
    struct locking *locking = arg;
    struct blx_error err = {0};
    assert_int_equal(locking->lock.fd >= 0, rc == 0);
    if (rc < 0)
        test_ok(run_open(arg, &err), &err);
    open_other(locking);
    test_ok(blx_agent_lock_share(&locking->lock, BLX_LOCK_CONTENTS, &err), &err);
    assert_true(is_shared(locking, BLX_LOCK_CONTENTS));
    test_ok(blx_agent_lock_share(&locking->lock, BLX_LOCK_CHAINS, &err), &err);
    test_ok(blx_agent_lock_hold(&locking->lock, store_state.checkpoints[0], &err), &err);
    assert_true(is_held(locking));
    blx_agent_lock_release(&locking->lock, BLX_LOCK_CONTENTS);
    assert_false(is_shared(locking, BLX_LOCK_CONTENTS));
}

static void check_open_shared(void *arg, int rc)
{
    struct locking *locking = arg;
    struct blx_error err = {0};
    assert_int_equal(locking->lock.fd >= 0, rc == 0);
    if (rc < 0)
        test_ok(run_open_shared(arg, &err), &err);
    open_other(locking);
    test_ok(blx_agent_lock_share(&locking->lock, BLX_LOCK_CHAINS, &err), &err);
    test_ok(blx_agent_lock_hold(&locking->lock, store_state.checkpoints[0], &err), &err);
    assert_true(is_shared(locking, BLX_LOCK_CHAINS));
    assert_true(is_held(locking));
}

static void check_begin(void *arg, int rc)
{
    struct locking *locking = arg;
    if (rc < 0)
        blx_agent_lock_close(&locking->lock);
    open_other(locking);
    assert_int_equal(is_shared(locking, BLX_LOCK_CHAINS), rc == 0);
    assert_int_equal(is_held(locking), rc == 0);
}

static void a_lock_is_had_whole_or_not_at_all(void **state)
{
    (void)state;
    struct locking locking;
    fault_loop(&(struct fault_case){setup, run_open, check_open, teardown, 0}, &locking);
    fault_loop(&(struct fault_case){setup, run_open_shared, check_open_shared, teardown, 0},
               &locking);
    fault_loop(&(struct fault_case){setup, run_begin, check_begin, teardown, 0}, &locking);
}

/* The locks of an open one. */

static void setup_open(void *arg)
{
    struct locking *locking = arg;
    setup(arg);
    assert_int_equal(run_open(arg, NULL), 0);
    open_other(locking);
}

static int run_share(void *arg, struct blx_error *err)
{
    return blx_agent_lock_share(&((struct locking *)arg)->lock, BLX_LOCK_CONTENTS, err);
}

static int run_alone(void *arg, struct blx_error *err)
{
    return blx_agent_lock_alone(&((struct locking *)arg)->lock, BLX_LOCK_CONTENTS, 0, err);
}

static int run_hold(void *arg, struct blx_error *err)
{
    return blx_agent_lock_hold(&((struct locking *)arg)->lock, store_state.checkpoints[0], err);
}

static int run_is_held(void *arg, struct blx_error *err)
{
    struct locking *locking = arg;
    locking->held = blx_agent_lock_is_held(&locking->other, store_state.checkpoints[0],
                                           store_state.checkpoints[0], err);
    return locking->held < 0 ? locking->held : 0;
}

static void check_shared(void *arg, int rc)
{
    assert_int_equal(is_shared(arg, BLX_LOCK_CONTENTS), rc == 0);
}

static void check_hold(void *arg, int rc)
{
    assert_int_equal(is_held(arg), rc == 0);
}

static void setup_chains(void *arg)
{
    setup_open(arg);
    assert_int_equal(blx_agent_lock_share(&((struct locking *)arg)->lock, BLX_LOCK_CHAINS, NULL),
                     0);
}

static void setup_held(void *arg)
{
    struct locking *locking = arg;
    setup_chains(arg);
    assert_int_equal(run_hold(arg, NULL), 0);
    blx_agent_lock_release(&locking->lock, BLX_LOCK_CHAINS);
    assert_int_equal(blx_agent_lock_alone(&locking->other, BLX_LOCK_CHAINS, 0, NULL), 0);
}

/* A checkpoint that could not be asked about does not count as one that nobody holds. */
static void check_is_held(void *arg, int rc)
{
    assert_int_equal(((struct locking *)arg)->held, rc == 0 ? 1 : rc);
}

static void a_lock_that_failed_is_not_had(void **state)
{
    (void)state;
    struct locking locking;
    fault_loop(&(struct fault_case){setup_open, run_share, check_shared, teardown, 0}, &locking);
    fault_loop(&(struct fault_case){setup_open, run_alone, check_shared, teardown, 0}, &locking);
    fault_loop(&(struct fault_case){setup_chains, run_hold, check_hold, teardown, 0}, &locking);
    fault_loop(&(struct fault_case){setup_held, run_is_held, check_is_held, teardown, 0}, &locking);
}

static int remove_store(void **state)
{
    (void)state;
    store_state_done(&store_state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lock_is_had_whole_or_not_at_all),
        cmocka_unit_test(a_lock_that_failed_is_not_had),
    };
    return cmocka_run_group_tests(tests, store_state_setup, remove_store);
}
