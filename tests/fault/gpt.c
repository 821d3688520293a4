/* SPDX-License-Identifier: Apache-2.0 */
/* Moving a GPT's second copy, with failing calls: at each step the first copy is whole, a whole
 * second copy lies where it says, and the partitions are what they were. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "folder.h"
#include "../unit/store/gpt_image.h"
#include "loop.h"
#include "store/restore/gpt.h"

enum { SECTOR = 512, SECTORS = 512, GROWN = 2048 };

struct moving {
    char dir[FOLDER_BYTES], path[96];
    struct gpt_image before;
    struct blx_gpt_move move;
};

static void setup(void *arg)
{
    struct moving *moving = arg;
    memset(moving, 0, sizeof(*moving));
    folder_make(moving->dir);
    snprintf(moving->path, sizeof(moving->path), "%s/disk", moving->dir);
    gpt_image_make(&moving->before, SECTOR, SECTORS);
    gpt_image_save(&moving->before, moving->path, GROWN);
    fault_poison(&moving->move, sizeof(moving->move));
}

static int run(void *arg, struct blx_error *err)
{
    struct moving *moving = arg;
    return blx_gpt_move(moving->path, &moving->move, err);
}

static void check(void *arg, int rc)
{
    struct moving *moving = arg;
    struct gpt_image after;
    gpt_image_load(&after, moving->path, SECTOR);
    uint64_t first = gpt_image_get64(&moving->before, 1, 40);
    uint64_t last = gpt_image_get64(&moving->before, 1, 48);
    assert_memory_equal(after.bytes + first * SECTOR, moving->before.bytes + first * SECTOR,
                        (last - first + 1) * SECTOR);
    uint64_t other = gpt_image_get64(&after, 1, 32);
    /* A sector is written whole or not at all by a disk; the test's writes stop halfway, too. */
    bool is_torn = !gpt_image_copy_is_whole(&after, 1);
    if (is_torn) {
        assert_true(rc < 0);
        assert_true(gpt_image_copy_is_whole(&after, GROWN - 1));
    } else
        assert_true(gpt_image_copy_is_whole(&after, other));
    gpt_image_done(&after);
    if (rc < 0)
        fault_assert_poisoned(&moving->move, sizeof(moving->move));
    else
        assert_int_equal(moving->move.outcome, BLX_GPT_MOVED);
    if (is_torn)
        return;
    assert_int_equal(run(moving, NULL), 0);
    gpt_image_load(&after, moving->path, SECTOR);
    assert_true(gpt_image_copy_is_whole(&after, 1));
    assert_true(gpt_image_copy_is_whole(&after, GROWN - 1));
    gpt_image_done(&after);
}

static void teardown(void *arg)
{
    struct moving *moving = arg;
    gpt_image_done(&moving->before);
    folder_remove(moving->dir);
}

static void a_table_whose_move_fails_is_a_table(void **state)
{
    static struct moving moving;
    (void)state;
    fault_loop(&(struct fault_case){setup, run, check, teardown, 0}, &moving);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_whose_move_fails_is_a_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
