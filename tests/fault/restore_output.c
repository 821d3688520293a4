/* SPDX-License-Identifier: Apache-2.0 */
/* The output of a restore. Only a whole image bears the final name, and the image that was there
 * before a --delta is not lost. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "folder.h"
#include "loop.h"
#include "store/restore/restore_output_private.h"

enum { UNITS = 4, UNIT = BLX_RESTORE_ALIGNMENT, SIZE = UNITS * UNIT, OLD = 1, NEW = 2 };

struct writing {
    const char *kind; /* "fresh", "stale", "force", "delta", "resume" */
    char dir[FOLDER_BYTES], path[96], partial[112];
    struct blx_restore_target target;
    struct blx_restore_output output;
    uint8_t content[SIZE] __attribute__((aligned(UNIT))); /* the image that is to come */
};

static bool is(const struct writing *writing, const char *kind)
{
    return strcmp(writing->kind, kind) == 0;
}

static void put_old(const char *path)
{
    uint8_t old[SIZE];
    memset(old, OLD, sizeof(old));
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, old, sizeof(old)), sizeof(old));
    close(fd);
}

static void setup(void *arg)
{
    struct writing *writing = arg;
    const char *kind = writing->kind;
    memset(writing, 0, sizeof(*writing));
    writing->kind = kind;
    folder_make(writing->dir);
    snprintf(writing->path, sizeof(writing->path), "%s/image", writing->dir);
    snprintf(writing->partial, sizeof(writing->partial), "%s.partial", writing->path);
    writing->target =
        (struct blx_restore_target){.path = writing->path,
                                    .flags = is(writing, "force")    ? BLX_RESTORE_FORCE
                                             : is(writing, "delta")  ? BLX_RESTORE_DELTA
                                             : is(writing, "resume") ? BLX_RESTORE_RESUME
                                                                     : 0};
    if (is(writing, "force") || is(writing, "delta"))
        put_old(writing->path);
    if (is(writing, "stale") || is(writing, "resume"))
        put_old(writing->partial);
    /* Its first unit is the old one's, its last one is zero. */
    memset(writing->content, OLD, UNIT);
    memset(writing->content + UNIT, NEW, SIZE - 2 * UNIT);
}

static int run_open(void *arg, struct blx_error *err)
{
    struct writing *writing = arg;
    return blx_restore_output_open(&writing->target, SIZE, &writing->output, err);
}

static int run_write(void *arg, struct blx_error *err)
{
    struct writing *writing = arg;
    return blx_restore_output_write(&writing->output, writing->content, SIZE - UNIT, 0, err);
}

static int run_zero(void *arg, struct blx_error *err)
{
    return blx_restore_output_zero(&((struct writing *)arg)->output, SIZE - UNIT, UNIT, err);
}

static int run_finish(void *arg, struct blx_error *err)
{
    return blx_restore_output_finish(&((struct writing *)arg)->output, err);
}

static void setup_open(void *arg)
{
    setup(arg);
    assert_int_equal(run_open(arg, NULL), 0);
}

static void setup_written(void *arg)
{
    setup_open(arg);
    assert_int_equal(run_write(arg, NULL), 0);
}

static void setup_zeroed(void *arg)
{
    setup_written(arg);
    assert_int_equal(run_zero(arg, NULL), 0);
}

/* The file under that name is all old, or the image; false if there is none. */
static bool is_whole(const struct writing *writing, const char *path)
{
    uint8_t found[SIZE + 1], old[SIZE];
    memset(old, OLD, sizeof(old));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    assert_int_equal(read(fd, found, sizeof(found)), SIZE);
    close(fd);
    if (memcmp(found, old, SIZE) != 0)
        assert_memory_equal(found, writing->content, SIZE);
    return true;
}

/* After an error: checks what stays, and that the next restore makes the image of it. */
static void check(void *arg, int rc)
{
    struct writing *writing = arg;
    struct blx_error err = {0};
    (void)rc;
    blx_restore_output_done(&writing->output);
    bool image = is_whole(writing, writing->path);
    bool partial = access(writing->partial, F_OK) == 0;
    if (is(writing, "force"))
        assert_true(image);
    if (is(writing, "delta") || is(writing, "resume"))
        assert_true(image || partial);
    if (image && !is(writing, "delta"))
        writing->target.flags |= BLX_RESTORE_FORCE;
    if (run_open(arg, &err) < 0 || run_write(arg, &err) < 0 || run_zero(arg, &err) < 0 ||
        run_finish(arg, &err) < 0)
        fail_msg("%s, the next one: %s", writing->kind, err.message);
    blx_restore_output_done(&writing->output);
    assert_true(is_whole(writing, writing->path));
    assert_int_equal(folder_count(writing->dir), 1);
}

/* The image is there if finish() says so. */
static void check_finish(void *arg, int rc)
{
    struct writing *writing = arg;
    assert_true(rc < 0 || is_whole(writing, writing->path));
    check(arg, rc);
}

static void teardown(void *arg)
{
    struct writing *writing = arg;
    blx_restore_output_done(&writing->output);
    folder_remove(writing->dir);
}

static void run_all(const struct fault_case *loop, const char *const *kinds)
{
    static struct writing writing;
    for (; *kinds != NULL; kinds++) {
        writing.kind = *kinds;
        fault_loop(loop, &writing);
    }
}

static const char *const all_kinds[] = {"fresh", "stale", "force", "delta", "resume", NULL};
static const char *const comparing_kinds[] = {"delta", "resume", NULL};

static void an_output_that_cannot_be_opened_leaves_what_was_there(void **state)
{
    (void)state;
    run_all(&(struct fault_case){setup, run_open, check, teardown, 0}, all_kinds);
}

static void an_output_that_cannot_be_written_has_no_final_name(void **state)
{
    (void)state;
    run_all(&(struct fault_case){setup_open, run_write, check, teardown, 0}, all_kinds);
    run_all(&(struct fault_case){setup_written, run_zero, check, teardown, 0}, comparing_kinds);
}

static void an_output_is_finished_or_made_again(void **state)
{
    (void)state;
    run_all(&(struct fault_case){setup_zeroed, run_finish, check_finish, teardown, 0}, all_kinds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_output_that_cannot_be_opened_leaves_what_was_there),
        cmocka_unit_test(an_output_that_cannot_be_written_has_no_final_name),
        cmocka_unit_test(an_output_is_finished_or_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
