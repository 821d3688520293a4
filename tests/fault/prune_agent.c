/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of a prune and of a rewrite, one by one: what is needed, the merged manifest, the
 * holes, the segments that go, the copy that takes their place. The checkpoint that stays restores.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop.h"
#include "store/checkpoint/needed_private.h"
#include "store/prune/prune_agent_private.h"
#include "store/prune/rewrite_group_private.h"
#include "store_state.h"
#include "sys.h"

struct pruning {
    struct store_state state;
    char dir[PATH_MAX], left[PATH_MAX]; /* the volume's folder, and what a rewrite left in it */
    struct blx_prune_agent agent;
    struct blx_prune_report report;
    struct blx_manifest merged;
    unsigned visited;
    uint64_t blocks;
    struct blx_rewrite_group group;
    struct blx_rewrite_piece piece;
    struct blx_segment_writer *made;
};

static struct pruning pruning;

static int run_open(void *arg, struct blx_error *err)
{
    struct pruning *prune = arg;
    return blx_prune_agent_open(blx_store_agent(&prune->state.test.store, "web1"), &prune->agent,
                                err);
}

static int run_merge(void *arg, struct blx_error *err)
{
    struct pruning *prune = arg;
    return blx_prune_merge(&prune->agent, 1, 1, &prune->merged, err);
}

static void setup(void *arg)
{
    struct pruning *prune = arg;
    memset(prune, 0, sizeof(*prune));
    prune->agent.lock.fd = -1;
    prune->agent.report = &prune->report;
    fault_poison(&prune->merged, sizeof(prune->merged));
    fault_poison(&prune->blocks, sizeof(prune->blocks));
    store_state_init(&prune->state);
    test_path(&prune->state.test, prune->dir, "agents/web1/volumes/vda");
    assert_int_equal(blx_rewrite_path(prune->dir, prune->left, NULL), 0);
}

static void setup_agent(void *arg)
{
    setup(arg);
    assert_int_equal(run_open(arg, NULL), 0);
}

/* The second checkpoint has taken over the first one's segments; of what it does not need holes can
 * be made, and a rewrite that was cut off has left a file. */
static void setup_merged(void *arg)
{
    struct pruning *prune = arg;
    const struct blx_store *store = &prune->state.test.store;
    char first[PATH_MAX];
    setup_agent(arg);
    assert_int_equal(run_merge(arg, NULL), 0);
    assert_int_equal(blx_manifest_replace(blx_store_agent(store, "web1"), &prune->merged, NULL), 0);
    blx_manifest_done(&prune->agent.checkpoints[1].manifest);
    prune->agent.checkpoints[1].manifest = prune->merged;
    prune->agent.checkpoints[0].gone = true;
    assert_int_equal(
        blx_manifest_path(blx_store_agent(store, "web1"), prune->state.checkpoints[0], first, NULL),
        0);
    assert_int_equal(unlink(first), 0);
    int fd = open(prune->left, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void teardown(void *arg)
{
    struct pruning *prune = arg;
    blx_prune_agent_done(&prune->agent);
    blx_rewrite_group_clear(&prune->group);
    free(prune->piece.frames);
    blx_segment_writer_close(prune->made);
    store_state_done(&prune->state);
}

static void check_restores(struct pruning *prune)
{
    test_restores_to(&prune->state.test, prune->state.checkpoints[1], "vda", prune->state.images[1],
                     STATE_BYTES);
}

static void check_open(void *arg, int rc)
{
    const struct pruning *prune = arg;
    assert_true(rc < 0 || prune->agent.count == 2);
    assert_true(rc < 0 || prune->agent.checkpoints[1].parent == 0);
}

static void check_merge(void *arg, int rc)
{
    struct pruning *prune = arg;
    if (rc < 0) {
        fault_assert_poisoned(&prune->merged, sizeof(prune->merged));
        return;
    }
    assert_int_equal(prune->merged.parent, 0);
    assert_int_equal(prune->merged.volumes[0].segment_count, 2);
    assert_true(prune->merged.volumes[0].base && prune->merged.volumes[0].clearing);
    blx_manifest_done(&prune->merged);
}

static int run_clear(void *arg, struct blx_error *err)
{
    return blx_prune_clear(&((struct pruning *)arg)->agent, 1, err);
}

/* A step is recorded last; until then it can be done again. */
static void check_clear(void *arg, int rc)
{
    struct pruning *prune = arg;
    struct blx_manifest found;
    struct blx_error err = {0};
    check_restores(prune);
    if (rc < 0) {
        blx_prune_agent_forget(&prune->agent);
        test_ok(run_open(arg, &err), &err);
        test_ok(blx_prune_clear(&prune->agent, 0, &err), &err);
    }
    test_ok(blx_manifest_read(blx_store_agent(&prune->state.test.store, "web1"),
                              prune->state.checkpoints[1], &found, &err),
            &err);
    assert_false(found.volumes[0].clearing);
    blx_manifest_done(&found);
    check_restores(prune);
}

static int run_unlink(void *arg, struct blx_error *err)
{
    return blx_prune_unlink(&((struct pruning *)arg)->agent, err);
}

static void check_unlink(void *arg, int rc)
{
    struct pruning *prune = arg;
    if (rc < 0)
        assert_int_equal(run_unlink(arg, NULL), 0);
    assert_int_equal(access(prune->left, F_OK), -1);
    check_restores(prune);
}

/* A volume that no checkpoint has, and nobody has touched for long. */
static void setup_orphan(void *arg)
{
    struct pruning *prune = arg;
    char path[PATH_MAX];
    const struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    setup_agent(arg);
    test_path(&prune->state.test, path, "agents/web1/volumes/vdx");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
}

static int run_orphans(void *arg, struct blx_error *err)
{
    return blx_prune_orphans(&((struct pruning *)arg)->agent, err);
}

static void check_orphans(void *arg, int rc)
{
    struct pruning *prune = arg;
    char path[PATH_MAX];
    if (rc < 0)
        assert_int_equal(run_orphans(arg, NULL), 0);
    test_path(&prune->state.test, path, "agents/web1/volumes/vdx");
    assert_int_equal(access(path, F_OK), -1);
    check_restores(prune);
}

static void each_step_of_a_prune_can_be_repeated(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup, run_open, check_open, teardown, 0}, &pruning);
    fault_loop(&(struct fault_case){setup_agent, run_merge, check_merge, teardown, 0}, &pruning);
    fault_loop(&(struct fault_case){setup_merged, run_clear, check_clear, teardown, 0}, &pruning);
    fault_loop(&(struct fault_case){setup_merged, run_unlink, check_unlink, teardown, 0}, &pruning);
    fault_loop(&(struct fault_case){setup_orphan, run_orphans, check_orphans, teardown, 0},
               &pruning);
}

static int count_segment(void *arg, const struct blx_needed_segment *segment, struct blx_error *err)
{
    struct pruning *prune = arg;
    (void)err;
    assert_true(segment->frame_count > 0);
    prune->visited++;
    return 0;
}

static int run_needed(void *arg, struct blx_error *err)
{
    struct pruning *prune = arg;
    return blx_needed_find(prune->dir, &prune->agent.checkpoints[1].manifest.volumes[0],
                           count_segment, prune, &prune->blocks, err);
}

static void check_needed(void *arg, int rc)
{
    const struct pruning *prune = arg;
    if (rc < 0) {
        fault_assert_poisoned(&prune->blocks, sizeof(prune->blocks));
        return;
    }
    assert_int_equal(prune->visited, 2);
    assert_int_equal(prune->blocks, STATE_BLOCKS);
}

static void what_is_needed_is_told_whole_or_not_at_all(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup_merged, run_needed, check_needed, teardown, 0}, &pruning);
}

/* A rewrite's group: both segments become one. */

static int take_piece(void *arg, const struct blx_needed_segment *segment, struct blx_error *err)
{
    struct pruning *prune = arg;
    struct blx_rewrite_piece piece = {
        .number = segment->number,
        .needed_bytes = segment->bytes,
        .entries = segment->entries,
        .frames = calloc(segment->frame_count, sizeof(segment->frames[0])),
        .frame_count = segment->frame_count,
    };
    (void)err;
    assert_non_null(piece.frames);
    memcpy(piece.frames, segment->frames, segment->frame_count * sizeof(segment->frames[0]));
    if (prune->piece.frames != NULL)
        assert_int_equal(blx_rewrite_group_add(&prune->group, &prune->piece), 0);
    prune->piece = piece;
    return 0;
}

/* The group has the newer segment; the older one is the piece. */
static void setup_group(void *arg)
{
    struct pruning *prune = arg;
    setup_merged(arg);
    assert_int_equal(blx_needed_find(prune->dir, &prune->agent.checkpoints[1].manifest.volumes[0],
                                     take_piece, prune, NULL, NULL),
                     0);
}

static int run_add(void *arg, struct blx_error *err)
{
    struct pruning *prune = arg;
    (void)err;
    return blx_rewrite_group_add(&prune->group, &prune->piece);
}

static void check_add(void *arg, int rc)
{
    const struct pruning *prune = arg;
    assert_true(rc == 0 || rc == -ENOMEM);
    assert_int_equal(prune->group.count, rc == 0 ? 2 : 1);
    assert_int_equal(prune->piece.frames == NULL, rc == 0);
}

static void setup_copy(void *arg)
{
    setup_group(arg);
    assert_int_equal(run_add(arg, NULL), 0);
}

static int count_copied(void *arg, uint64_t bytes, struct blx_error *err)
{
    (void)arg, (void)err;
    assert_true(bytes > 0);
    return 0;
}

static int run_copy(void *arg, struct blx_error *err)
{
    struct pruning *prune = arg;
    const struct blx_volume_key keys = test_digest_keys("vda");
    return blx_rewrite_group_copy(&prune->group, prune->dir, BLX_REWRITE_NAME, TEST_BLOCK_SHIFT,
                                  &keys, count_copied, NULL, &prune->made, err);
}

/* Whole, it can take the newer segment's place, and the checkpoint still restores. */
static void check_copy(void *arg, int rc)
{
    struct pruning *prune = arg;
    struct blx_error err = {0};
    struct blx_manifest *manifest = &prune->agent.checkpoints[1].manifest;
    char path[PATH_MAX];
    assert_int_equal(prune->made != NULL, rc == 0);
    check_restores(prune);
    if (rc < 0)
        test_ok(run_copy(arg, &err), &err);
    assert_int_equal(blx_segment_path(prune->dir, prune->group.pieces[0].number, path, NULL), 0);
    assert_int_equal(rename(prune->left, path), 0);
    manifest->volumes[0].segments[0] = prune->group.pieces[0].number;
    manifest->volumes[0].segment_count = 1;
    test_ok(blx_manifest_replace(blx_store_agent(&prune->state.test.store, "web1"), manifest, &err),
            &err);
    check_restores(prune);
}

static void a_copy_takes_the_place_of_segments_or_leaves_them(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup_group, run_add, check_add, teardown, 1}, &pruning);
    fault_loop(&(struct fault_case){setup_copy, run_copy, check_copy, teardown, 0}, &pruning);
}

int main(void)
{
    sys_use_fast();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_step_of_a_prune_can_be_repeated),
        cmocka_unit_test(what_is_needed_is_told_whole_or_not_at_all),
        cmocka_unit_test(a_copy_takes_the_place_of_segments_or_leaves_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
