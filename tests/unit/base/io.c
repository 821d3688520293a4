/* SPDX-License-Identifier: Apache-2.0 */
/* io.c with the fault seam, and queue.c. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/queue.h"
#include "base/sys.h"

static char folder[64];

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/blxrep-unit-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", folder);
    blx_sys = &blx_sys_real;
    return system(command);
}

/* Every call counts; the one numbered `fail_at` fails with EIO. */
static int calls, fail_at;

static int fails(void)
{
    if (calls++ != fail_at)
        return 0;
    errno = EIO;
    return 1;
}

static int fail_openat(int dir_fd, const char *path, int flags, mode_t mode)
{
    return fails() ? -1 : blx_sys_real.openat(dir_fd, path, flags, mode);
}
static ssize_t fail_pwrite(int fd, const void *buffer, size_t bytes, off_t offset)
{
    return fails() ? -1
                   : blx_sys_real.pwrite(fd, buffer, bytes > 3 ? 3 : bytes,
                                         offset); /* short writes too */
}
static int fail_fsync(int fd)
{
    return fails() ? -1 : blx_sys_real.fsync(fd);
}
static int fail_rename(const char *from, const char *to)
{
    return fails() ? -1 : blx_sys_real.rename(from, to);
}

static void replaced_file_is_the_old_or_the_new_one_whatever_fails(void **state)
{
    (void)state;
    char path[96];
    void *content;
    size_t bytes;
    struct blx_sys sys = blx_sys_real;
    sys.openat = fail_openat;
    sys.pwrite = fail_pwrite;
    sys.fsync = fail_fsync;
    sys.rename = fail_rename;
    snprintf(path, sizeof(path), "%s/file", folder);
    assert_int_equal(blx_file_replace(path, "old", 3, 0600, NULL), 0);
    int rc = -EIO;
    for (fail_at = 0; rc != 0; fail_at++) {
        struct blx_error error = {0};
        calls = 0;
        blx_sys = &sys;
        rc = blx_file_replace(path, "newer", 5, 0600, &error);
        blx_sys = &blx_sys_real;
        assert_true(rc == 0 || (rc == -EIO && strstr(error.message, folder) != NULL));
        assert_int_equal(blx_file_read(path, 100, &content, &bytes, NULL), 0);
        assert_true(strcmp(content, "newer") == 0 || (rc != 0 && strcmp(content, "old") == 0));
        free(content);
    }
    assert_true(fail_at > 5);
}

static void reading_checks_the_limit_and_the_kind_of_file(void **state)
{
    (void)state;
    char path[96];
    void *content = NULL;
    size_t bytes;
    snprintf(path, sizeof(path), "%s/file", folder);
    assert_int_equal(blx_file_replace(path, "0123456789", 10, 0600, NULL), 0);
    assert_int_equal(blx_file_read(path, 9, &content, &bytes, NULL), -EFBIG);
    assert_int_equal(blx_file_read(folder, 100, &content, &bytes, NULL), -EINVAL);
    assert_null(content);
    char small[11] = "";
    assert_int_equal(blx_file_read_small(AT_FDCWD, path, small, 11), 10);
    assert_string_equal(small, "0123456789");
    assert_int_equal(blx_file_read_small(AT_FDCWD, path, small, 10), -EFBIG);
    assert_int_equal(blx_file_read_small(AT_FDCWD, folder, small, 11), -EISDIR);
    assert_int_equal(blx_file_read_small(AT_FDCWD, "/nowhere/file", small, 11), -ENOENT);
    int fd = blx_open(path, O_RDONLY, 0, NULL);
    char buffer[16];
    assert_int_equal(blx_pread_full(fd, buffer, 11, 0), -ENODATA);
    close(fd);
}

static void parents_are_made_and_a_file_in_the_way_is_named(void **state)
{
    (void)state;
    char path[96];
    struct blx_error error = {0};
    snprintf(path, sizeof(path), "%s/a/b/c", folder);
    assert_int_equal(blx_mkdir_parents(path, 0700, NULL), 0);
    assert_int_equal(blx_mkdir_parents(path, 0700, NULL), 0);
    snprintf(path, sizeof(path), "%s/file", folder);
    assert_int_equal(blx_file_replace(path, "x", 1, 0600, NULL), 0);
    assert_int_equal(blx_mkdir_parents(path, 0700, &error), -ENOTDIR);
    assert_non_null(strstr(error.message, path));
}

static void *push_many(void *arg)
{
    for (uintptr_t i = 1; i <= 1000; i++)
        blx_queue_push(arg, (void *)i);
    blx_queue_close(arg);
    return NULL;
}

static void queue_hands_out_in_order_and_all_that_was_pushed_before_the_close(void **state)
{
    (void)state;
    struct blx_queue *queue = blx_queue_new(3);
    pthread_t thread;
    void *entry;
    assert_int_equal(blx_queue_pop(queue, 1, &entry), -ETIMEDOUT);
    assert_int_equal(pthread_create(&thread, NULL, push_many, queue), 0);
    for (uintptr_t i = 1; i <= 1000; i++) {
        assert_int_equal(blx_queue_pop(queue, UINT64_MAX, &entry), 0);
        assert_int_equal((uintptr_t)entry, i);
    }
    assert_int_equal(blx_queue_pop(queue, UINT64_MAX, &entry), -EPIPE);
    assert_int_equal(blx_queue_push(queue, queue), -EPIPE);
    pthread_join(thread, NULL);
    blx_queue_free(queue);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(replaced_file_is_the_old_or_the_new_one_whatever_fails),
        TEST(reading_checks_the_limit_and_the_kind_of_file),
        TEST(parents_are_made_and_a_file_in_the_way_is_named),
        TEST(queue_hands_out_in_order_and_all_that_was_pushed_before_the_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
