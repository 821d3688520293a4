/* SPDX-License-Identifier: Apache-2.0 */
/* What is written over a checkpoint: it reads as a plain file that was written would, outlives its
 * process, and is laid over nothing else. */
#include "store/view/overlay.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"

enum {
    VOLUME_BYTES = 40 * BLX_OVERLAY_UNIT_BYTES - 1536, /* not a whole number of units */
    VOLUME_PLACE = 40 * BLX_OVERLAY_UNIT_BYTES,        /* of the second one */
    TURNS = 2000,
};

struct fixture {
    char dir[64];
    char path[80];
    uint8_t below[2][VOLUME_BYTES];
    uint8_t expected[2][VOLUME_BYTES];
    struct blx_overlay_below belows[2];
    struct blx_overlay *overlay;
};

static int read_below(void *arg, void *buffer, size_t bytes, uint64_t offset_bytes)
{
    const uint8_t *content = arg;
    assert_true(offset_bytes <= VOLUME_BYTES && bytes <= VOLUME_BYTES - offset_bytes);
    memcpy(buffer, content + offset_bytes, bytes);
    return 0;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    const char *folder = getenv("TMPDIR");
    assert_non_null(f);
    snprintf(f->dir, sizeof(f->dir), "%.40s/overlay-XXXXXX", folder != NULL ? folder : "/tmp");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/changes", f->dir);
    for (size_t i = 0; i < 2; i++) {
        memset(f->below[i], 'a' + (int)i, VOLUME_BYTES);
        memcpy(f->expected[i], f->below[i], VOLUME_BYTES);
        f->belows[i] = (struct blx_overlay_below){.read = read_below,
                                                  .arg = f->below[i],
                                                  .offset_bytes = i * VOLUME_PLACE,
                                                  .size_bytes = VOLUME_BYTES};
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    blx_overlay_close(f->overlay);
    unlink(f->path);
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

static int begin(struct fixture *f, const char *agent, blx_timestamp checkpoint,
                 uint64_t second_bytes)
{
    struct blx_manifest_volume volumes[] = {{.size_bytes = VOLUME_BYTES},
                                            {.size_bytes = second_bytes}};
    struct blx_manifest manifest = {.timestamp = checkpoint, .volume_count = 2, .volumes = volumes};
    return blx_overlay_begin(f->overlay, agent, &manifest, NULL);
}

static int open_as(struct fixture *f, enum blx_overlay_mode mode, const char *agent,
                   blx_timestamp checkpoint, uint64_t second_bytes)
{
    blx_overlay_close(f->overlay);
    f->overlay = NULL;
    int rc = blx_overlay_open(f->path, mode, &f->overlay, NULL);
    return rc < 0 ? rc : begin(f, agent, checkpoint, second_bytes);
}

static int open_overlay(struct fixture *f, const char *agent, blx_timestamp checkpoint,
                        uint64_t second_bytes)
{
    return open_as(f, BLX_OVERLAY_WRITE, agent, checkpoint, second_bytes);
}

static void check(struct fixture *f)
{
    uint8_t buffer[VOLUME_BYTES];
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(blx_overlay_read(f->overlay, &f->belows[i], buffer, VOLUME_BYTES, 0), 0);
        assert_memory_equal(buffer, f->expected[i], VOLUME_BYTES);
    }
}

static void it_reads_as_a_file_that_was_written(void **state)
{
    struct fixture *f = *state;
    unsigned seed = 3;
    assert_int_equal(open_overlay(f, "web1", 20260101000000, VOLUME_BYTES), 0);
    check(f);
    for (int turn = 0; turn < TURNS; turn++) {
        uint8_t data[3 * BLX_OVERLAY_UNIT_BYTES];
        size_t volume = (size_t)rand_r(&seed) % 2;
        uint64_t at = (uint64_t)rand_r(&seed) % VOLUME_BYTES;
        size_t bytes = 1 + (size_t)rand_r(&seed) % sizeof(data);
        if (turn % 2 == 0)
            at = at / 512 * 512;
        bytes = bytes < VOLUME_BYTES - at ? bytes : (size_t)(VOLUME_BYTES - at);
        memset(data, turn, sizeof(data));
        assert_int_equal(blx_overlay_write(f->overlay, &f->belows[volume], data, bytes, at), 0);
        memcpy(f->expected[volume] + at, data, bytes);
        if (turn % 100 == 0)
            check(f);
    }
    check(f);
    assert_int_equal(blx_overlay_sync(f->overlay), 0);
    /* Another process goes on with it. */
    assert_int_equal(open_overlay(f, "web1", 20260101000000, VOLUME_BYTES), 0);
    check(f);
}

static void it_is_laid_over_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct blx_overlay *second = NULL;
    assert_int_equal(open_overlay(f, "web1", 20260101000000, VOLUME_BYTES), 0);
    assert_int_equal(blx_overlay_open(f->path, BLX_OVERLAY_WRITE, &second, NULL), -EBUSY);
    assert_int_equal(open_overlay(f, "web2", 20260101000000, VOLUME_BYTES), -EINVAL);
    assert_int_equal(open_overlay(f, "web1", 20260101000001, VOLUME_BYTES), -EINVAL);
    assert_int_equal(open_overlay(f, "web1", 20260101000000, VOLUME_PLACE + 1), -EINVAL);
    assert_int_equal(open_overlay(f, "web1", 20260101000000, VOLUME_BYTES), 0);
    assert_int_equal(truncate(f->path, 20), 0); /* as a torn first write leaves it */
    assert_int_equal(open_overlay(f, "web1", 20260101000000, VOLUME_BYTES), 0);
    assert_int_equal(truncate(f->path, 0), 0);
    assert_int_equal(blx_file_replace(f->path, "something else", 14, 0600, NULL), 0);
    assert_int_equal(open_overlay(f, "web1", 20260101000000, VOLUME_BYTES), -EINVAL);
}

static void without_a_name_it_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(blx_overlay_open("", BLX_OVERLAY_WRITE, &f->overlay, NULL), 0);
    assert_int_equal(begin(f, "web1", 20260101000000, VOLUME_BYTES), 0);
    assert_int_equal(blx_overlay_write(f->overlay, &f->belows[1], "x", 1, 77), 0);
    f->expected[1][77] = 'x';
    check(f);
}

/* All of them, and nothing but what was written or shares a unit with it. */
static void what_was_written_is_found(void **state)
{
    struct fixture *f = *state;
    struct blx_overlay_run run;
    uint8_t unit[BLX_OVERLAY_UNIT_BYTES] = {0};
    const struct blx_overlay_below *second = &f->belows[1];
    assert_int_equal(open_overlay(f, "web1", 20260101000000, VOLUME_BYTES), 0);
    assert_false(blx_overlay_find(f->overlay, second, 0, &run));
    assert_int_equal(blx_overlay_write(f->overlay, second, unit, sizeof(unit), 8192), 0);
    assert_int_equal(blx_overlay_write(f->overlay, second, unit, 1, 8192 + sizeof(unit)), 0);
    assert_int_equal(blx_overlay_write(f->overlay, second, unit, 1, VOLUME_BYTES - 1), 0);
    assert_int_equal(open_as(f, BLX_OVERLAY_READ, "web1", 20260101000000, VOLUME_BYTES), 0);
    assert_false(blx_overlay_find(f->overlay, &f->belows[0], 0, &run));
    assert_true(blx_overlay_find(f->overlay, second, 0, &run));
    assert_int_equal(run.offset_bytes, 8192);
    assert_int_equal(run.bytes, 2 * sizeof(unit));
    assert_true(blx_overlay_find(f->overlay, second, 8192 + 5, &run));
    assert_int_equal(run.offset_bytes, 8192 + 5);
    assert_true(blx_overlay_find(f->overlay, second, 4 * sizeof(unit), &run));
    assert_int_equal(run.offset_bytes, 39 * sizeof(unit));
    assert_int_equal(run.bytes, VOLUME_BYTES - 39 * sizeof(unit));
    assert_false(blx_overlay_find(f->overlay, second, VOLUME_BYTES, &run));
}

static void a_reader_takes_only_a_whole_one(void **state)
{
    struct fixture *f = *state;
    struct blx_overlay *writer = NULL;
    assert_int_equal(open_as(f, BLX_OVERLAY_READ, "web1", 20260101000000, VOLUME_BYTES), -ENOENT);
    assert_int_equal(open_overlay(f, "web1", 20260101000000, VOLUME_BYTES), 0);
    assert_int_equal(open_as(f, BLX_OVERLAY_READ, "web1", 20260101000000, VOLUME_BYTES), 0);
    assert_int_equal(blx_overlay_open(f->path, BLX_OVERLAY_WRITE, &writer, NULL), -EBUSY);
    assert_int_equal(open_as(f, BLX_OVERLAY_READ, "web1", 20260101000001, VOLUME_BYTES), -EINVAL);
    assert_int_equal(truncate(f->path, VOLUME_PLACE), 0);
    assert_int_equal(open_as(f, BLX_OVERLAY_READ, "web1", 20260101000000, VOLUME_BYTES), -EINVAL);
    assert_int_equal(truncate(f->path, 0), 0);
    assert_int_equal(open_as(f, BLX_OVERLAY_READ, "web1", 20260101000000, VOLUME_BYTES), -EINVAL);
}

/* In a mount namespace of this process's own, which needs root: a filesystem of 64 units for
 * temporary files. */
static void mount_small(const char *dir)
{
    assert_int_equal(unshare(CLONE_NEWNS), 0);
    assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    assert_int_equal(mount("overlay-test", dir, "tmpfs", 0, "size=256k"), 0);
    assert_int_equal(setenv("TMPDIR", dir, 1), 0);
}

/* The last one, because of the folder for temporary files. */
static void without_a_name_it_takes_half_of_the_room(void **state)
{
    struct fixture *f = *state;
    uint8_t unit[BLX_OVERLAY_UNIT_BYTES] = {1};
    struct statvfs before, after;
    size_t written = 0;
    int rc = 0;
    mount_small(f->dir);
    assert_int_equal(statvfs(f->dir, &before), 0);
    assert_int_equal(blx_overlay_open("", BLX_OVERLAY_WRITE, &f->overlay, NULL), 0);
    assert_int_equal(begin(f, "web1", 1, VOLUME_BYTES), 0);
    for (size_t i = 0; rc == 0 && i < 2 * 39; i++) {
        rc = blx_overlay_write(f->overlay, &f->belows[i / 39], unit, sizeof(unit),
                               i % 39 * sizeof(unit));
        written += rc == 0;
    }
    assert_int_equal(rc, -ENOSPC);
    assert_in_range(written, 24, 32);
    assert_int_equal(statvfs(f->dir, &after), 0);
    assert_in_range(after.f_bavail, before.f_bavail / 2 - 2, before.f_bavail);
    /* What was written may be written again, and the rest is as it was. */
    assert_int_equal(blx_overlay_write(f->overlay, &f->belows[0], unit, sizeof(unit), 0), 0);
    assert_int_equal(blx_overlay_read(f->overlay, &f->belows[1], unit, 1, VOLUME_BYTES - 1), 0);
    assert_int_equal(unit[0], 'b');
    blx_overlay_close(f->overlay);
    f->overlay = NULL;
    assert_int_equal(umount(f->dir), 0);
}

int main(void)
{
#define OVERLAY_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        OVERLAY_TEST(it_reads_as_a_file_that_was_written),
        OVERLAY_TEST(it_is_laid_over_nothing_else),
        OVERLAY_TEST(what_was_written_is_found),
        OVERLAY_TEST(a_reader_takes_only_a_whole_one),
        OVERLAY_TEST(without_a_name_it_leaves_nothing),
        OVERLAY_TEST(without_a_name_it_takes_half_of_the_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
