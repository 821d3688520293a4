/* SPDX-License-Identifier: Apache-2.0 */
/* lib/base/io. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/queue.h"
#include "loop.h"
#include "sys.h"

struct folder {
    char dir[64], file[80], deep[96];
    void *content;
    size_t bytes;
    struct blx_queue *queue;
    int fd;
    char buffer[8];
};

static void make_folder(void *state)
{
    struct folder *folder = state;
    *folder = (struct folder){.dir = "/tmp/blx-fault-XXXXXX", .bytes = 77};
    assert_non_null(mkdtemp(folder->dir));
    snprintf(folder->file, sizeof(folder->file), "%s/file", folder->dir);
    snprintf(folder->deep, sizeof(folder->deep), "%s/a/b", folder->dir);
    assert_int_equal(blx_file_replace(folder->file, "old", 3, 0600, NULL), 0);
}

static void remove_folder(void *state)
{
    struct folder *folder = state;
    char parent[80];
    snprintf(parent, sizeof(parent), "%s/a", folder->dir);
    rmdir(folder->deep);
    rmdir(parent);
    unlink(folder->file);
    /* Nothing else may have been left in it. */
    assert_int_equal(rmdir(folder->dir), 0);
}

static void assert_file_is(const struct folder *folder, const char *text)
{
    void *content = NULL;
    size_t bytes = 0;
    assert_int_equal(blx_file_read(folder->file, 100, &content, &bytes, NULL), 0);
    assert_string_equal(content, text);
    free(content);
}

static int run_replace(void *state, struct blx_error *err)
{
    return blx_file_replace(((struct folder *)state)->file, "newer", 5, 0600, err);
}

static void check_replace(void *state, int rc)
{
    struct folder *folder = state;
    char temporary[96];
    void *content = NULL;
    size_t bytes = 0;
    if (rc == 0) {
        assert_file_is(folder, "newer");
        return;
    }
    assert_int_equal(blx_file_read(folder->file, 100, &content, &bytes, NULL), 0);
    assert_true(strcmp(content, "old") == 0 || strcmp(content, "newer") == 0);
    free(content);
    /* The next call removes what could not be removed then. */
    assert_int_equal(run_replace(state, NULL), 0);
    assert_file_is(folder, "newer");
    snprintf(temporary, sizeof(temporary), "%s.tmp", folder->file);
    assert_int_equal(access(temporary, F_OK), -1);
}

static int run_read(void *state, struct blx_error *err)
{
    struct folder *folder = state;
    return blx_file_read(folder->file, 100, &folder->content, &folder->bytes, err);
}

static void check_read(void *state, int rc)
{
    struct folder *folder = state;
    if (rc == 0)
        assert_string_equal(folder->content, "old");
    else
        assert_null(folder->content);
    assert_int_equal(folder->bytes, rc == 0 ? 3 : 77);
    free(folder->content);
}

static int run_mkdir(void *state, struct blx_error *err)
{
    return blx_mkdir_parents(((struct folder *)state)->deep, 0700, err);
}

static void check_mkdir(void *state, int rc)
{
    struct stat st;
    if (rc < 0)
        assert_int_equal(run_mkdir(state, NULL), 0);
    assert_int_equal(stat(((struct folder *)state)->deep, &st), 0);
}

static int run_fsync(void *state, struct blx_error *err)
{
    int rc = blx_fsync_dir(((struct folder *)state)->dir, err);
    return rc < 0 ? rc : blx_fsync_parent(((struct folder *)state)->file, err);
}

static void check_fsync(void *state, int rc)
{
    (void)rc;
    assert_file_is(state, "old");
}

static int run_open(void *state, struct blx_error *err)
{
    struct folder *folder = state;
    folder->fd = blx_open(folder->file, O_RDWR, 0, err);
    return folder->fd < 0 ? folder->fd : 0;
}

static void check_open(void *state, int rc)
{
    const struct folder *folder = state;
    assert_int_equal(folder->fd >= 0, rc == 0);
    if (rc == 0)
        close(folder->fd);
    assert_file_is(folder, "old");
}

static void open_file(void *state)
{
    make_folder(state);
    assert_int_equal(run_open(state, NULL), 0);
}

static int run_pread(void *state, struct blx_error *err)
{
    struct folder *folder = state;
    (void)err;
    return blx_pread_full(folder->fd, folder->buffer, 2, 1);
}

static void check_pread(void *state, int rc)
{
    const struct folder *folder = state;
    assert_string_equal(folder->buffer, rc == 0 ? "ld" : "");
    close(folder->fd);
}

static int run_pwrite(void *state, struct blx_error *err)
{
    (void)err;
    return blx_pwrite_full(((struct folder *)state)->fd, "newer", 5, 3);
}

static void check_pwrite(void *state, int rc)
{
    struct folder *folder = state;
    if (rc < 0)
        assert_int_equal(run_pwrite(state, NULL), 0);
    close(folder->fd);
    assert_file_is(folder, "oldnewer");
}

static int run_queue(void *state, struct blx_error *err)
{
    (void)err;
    struct folder *folder = state;
    folder->queue = blx_queue_new(3);
    return folder->queue == NULL ? -ENOMEM : 0;
}

static void check_queue(void *state, int rc)
{
    (void)rc;
    blx_queue_free(((struct folder *)state)->queue);
}

static void a_replaced_file_is_old_or_new_and_can_be_replaced_again(void **state)
{
    (void)state;
    struct folder folder;
    fault_loop(&(struct fault_case){make_folder, run_replace, check_replace, remove_folder, 0},
               &folder);
}

static void a_file_is_read_whole_or_not_at_all(void **state)
{
    (void)state;
    struct folder folder;
    fault_loop(&(struct fault_case){make_folder, run_read, check_read, remove_folder, 0}, &folder);
}

static void an_open_file_is_read_and_written_or_an_error(void **state)
{
    (void)state;
    struct folder folder;
    fault_loop(&(struct fault_case){make_folder, run_open, check_open, remove_folder, 0}, &folder);
    fault_loop(&(struct fault_case){open_file, run_pread, check_pread, remove_folder, 1}, &folder);
    fault_loop(&(struct fault_case){open_file, run_pwrite, check_pwrite, remove_folder, 1},
               &folder);
}

static void folders_that_were_begun_are_completed(void **state)
{
    (void)state;
    struct folder folder;
    fault_loop(&(struct fault_case){make_folder, run_mkdir, check_mkdir, remove_folder, 0},
               &folder);
    fault_loop(&(struct fault_case){make_folder, run_fsync, check_fsync, remove_folder, 0},
               &folder);
}

static void a_queue_comes_whole_or_not_at_all(void **state)
{
    (void)state;
    struct folder folder;
    fault_loop(&(struct fault_case){NULL, run_queue, check_queue, NULL, 1}, &folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replaced_file_is_old_or_new_and_can_be_replaced_again),
        cmocka_unit_test(a_file_is_read_whole_or_not_at_all),
        cmocka_unit_test(an_open_file_is_read_and_written_or_an_error),
        cmocka_unit_test(folders_that_were_begun_are_completed),
        cmocka_unit_test(a_queue_comes_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
