/* SPDX-License-Identifier: Apache-2.0 */
/* What is written over a checkpoint: a call that fails leaves a file that can be gone on with. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "folder.h"
#include "loop.h"
#include "store/view/overlay.h"
#include "sys.h"

enum { VOLUME_BYTES = 5 * BLX_OVERLAY_UNIT_BYTES };

struct writing {
    char dir[FOLDER_BYTES];
    char path[PATH_MAX];
    struct blx_overlay *overlay;
    int fd;
};

static void setup(void *arg)
{
    struct writing *writing = arg;
    folder_make(writing->dir);
    snprintf(writing->path, sizeof(writing->path), "%s/changes", writing->dir);
    writing->overlay = NULL;
}

static void teardown(void *arg)
{
    struct writing *writing = arg;
    blx_overlay_close(writing->overlay);
    folder_remove(writing->dir);
}

static int run_open(void *arg, struct blx_error *err)
{
    struct writing *writing = arg;
    return blx_overlay_open(writing->path, BLX_OVERLAY_WRITE, &writing->overlay, err);
}

static void check_open(void *arg, int rc)
{
    assert_int_equal(((struct writing *)arg)->overlay != NULL, rc == 0);
}

static void setup_open(void *arg)
{
    setup(arg);
    assert_int_equal(run_open(arg, NULL), 0);
}

static int run_begin(void *arg, struct blx_error *err)
{
    struct writing *writing = arg;
    struct blx_manifest_volume volume = {.size_bytes = VOLUME_BYTES};
    const struct blx_manifest manifest = {
        .timestamp = 20260101000000, .volume_count = 1, .volumes = &volume};
    return blx_overlay_begin(writing->overlay, "web1", &manifest, err);
}

static int read_zeros(void *arg, void *buffer, size_t bytes, uint64_t offset_bytes)
{
    (void)arg;
    (void)offset_bytes;
    memset(buffer, 0, bytes);
    return 0;
}

static const struct blx_overlay_below below = {.read = read_zeros, .size_bytes = VOLUME_BYTES};

/* Another process can go on with the file. */
static void check_begin(void *arg, int rc)
{
    struct writing *writing = arg;
    char byte = 0;
    if (rc < 0) {
        blx_overlay_close(writing->overlay);
        writing->overlay = NULL;
        assert_int_equal(run_open(arg, NULL), 0);
        assert_int_equal(run_begin(arg, NULL), 0);
    }
    assert_int_equal(blx_overlay_write(writing->overlay, &below, "x", 1, 5000), 0);
    assert_int_equal(blx_overlay_read(writing->overlay, &below, &byte, 1, 5000), 0);
    assert_int_equal(byte, 'x');
}

static int run_nameless(void *arg, struct blx_error *err)
{
    struct writing *writing = arg;
    writing->fd = blx_overlay_open_nameless(err);
    return writing->fd < 0 ? writing->fd : 0;
}

static void check_nameless(void *arg, int rc)
{
    const struct writing *writing = arg;
    assert_int_equal(writing->fd >= 0, rc == 0);
    if (rc == 0)
        close(writing->fd);
}

/* The descriptor is closed in any case, or the loop would see it left. */
static int run_adopt(void *arg, struct blx_error *err)
{
    struct writing *writing = arg;
    int fd = open(writing->dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    return blx_overlay_adopt(fd, &writing->overlay, err);
}

static void a_file_is_laid_over_a_checkpoint_or_an_error(void **state)
{
    (void)state;
    static struct writing writing;
    fault_loop(&(struct fault_case){setup, run_open, check_open, teardown, 0}, &writing);
    fault_loop(&(struct fault_case){setup_open, run_begin, check_begin, teardown, 0}, &writing);
    fault_loop(&(struct fault_case){setup, run_nameless, check_nameless, teardown, 0}, &writing);
    fault_loop(&(struct fault_case){setup, run_adopt, check_open, teardown, 0}, &writing);
}

static void setup_begun(void *arg)
{
    setup_open(arg);
    assert_int_equal(run_begin(arg, NULL), 0);
}

static int run_write(void *arg, struct blx_error *err)
{
    struct writing *writing = arg;
    (void)err;
    int rc = blx_overlay_write(writing->overlay, &below, "y", 1, 77);
    return rc == 0 ? blx_overlay_sync(writing->overlay) : rc;
}

/* What was not written is what it was. */
static void check_write(void *arg, int rc)
{
    struct writing *writing = arg;
    char bytes[2] = {0};
    assert_int_equal(blx_overlay_read(writing->overlay, &below, bytes, 2, 77), 0);
    assert_true(bytes[0] == 'y' || (rc < 0 && bytes[0] == 0));
    assert_int_equal(bytes[1], 0);
}

static void a_write_is_there_or_an_error(void **state)
{
    (void)state;
    static struct writing writing;
    fault_loop(&(struct fault_case){setup_begun, run_write, check_write, teardown, 1}, &writing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_laid_over_a_checkpoint_or_an_error),
        cmocka_unit_test(a_write_is_there_or_an_error),
    };
    sys_use_fast();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
