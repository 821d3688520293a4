/* SPDX-License-Identifier: Apache-2.0 */
/* A key's file comes whole or not at all, and is read whole or not at all. OpenSSL's own memory
 * never runs short here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "crypt/keyring.h"
#include "folder.h"
#include "loop.h"
#include "sys.h"

struct fixture {
    char dir[FOLDER_BYTES], path[80];
    struct blx_key made, read;
    struct blx_keyring ring;
};

static void make_folder(void *state)
{
    struct fixture *f = state;
    memset(f, 0, sizeof(*f));
    folder_make(f->dir);
    snprintf(f->path, sizeof(f->path), "%s/key", f->dir);
    assert_int_equal(blx_key_create(&f->made, NULL), 0);
}

static void make_file(void *state)
{
    struct fixture *f = state;
    make_folder(f);
    assert_int_equal(blx_key_write(f->path, &f->made, NULL), 0);
}

static void remove_folder(void *state)
{
    /* If the disk fails for ever, a temporary file stays. */
    folder_remove(((struct fixture *)state)->dir);
}

static int run_write(void *state, struct blx_error *err)
{
    struct fixture *f = state;
    return blx_key_write(f->path, &f->made, err);
}

static void check_written(void *state, int rc)
{
    struct fixture *f = state;
    struct stat st;
    bool exists = stat(f->path, &st) == 0;
    assert_true(exists || rc < 0);
    if (!exists)
        return;
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(blx_key_read(f->path, &f->read, NULL), 0);
    assert_memory_equal(&f->read, &f->made, sizeof(f->made));
}

static void a_key_file_comes_whole_or_not_at_all(void **state)
{
    (void)state;
    struct fixture f;
    const struct fault_case fault_case = {
        .setup = make_folder, .run = run_write, .check = check_written, .teardown = remove_folder};
    fault_loop(&fault_case, &f);
}

static int run_add(void *state, struct blx_error *err)
{
    struct fixture *f = state;
    return blx_keyring_add(&f->ring, f->path, err);
}

static void check_added(void *state, int rc)
{
    struct fixture *f = state;
    assert_int_equal(f->ring.count, rc == 0);
    if (rc == 0)
        assert_memory_equal(&f->ring.keys[0], &f->made, sizeof(f->made));
}

static int run_read(void *state, struct blx_error *err)
{
    struct fixture *f = state;
    return blx_key_read(f->path, &f->read, err);
}

static void check_read(void *state, int rc)
{
    const struct fixture *f = state;
    const struct blx_key untouched = {0};
    assert_memory_equal(&f->read, rc == 0 ? &f->made : &untouched, sizeof(f->read));
}

static void a_key_file_is_read_whole_or_not_at_all(void **state)
{
    (void)state;
    struct fixture f;
    const struct fault_case fault_case = {
        .setup = make_file, .run = run_add, .check = check_added, .teardown = remove_folder};
    fault_loop(&fault_case, &f);
    const struct fault_case reading = {
        .setup = make_file, .run = run_read, .check = check_read, .teardown = remove_folder};
    fault_loop(&reading, &f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_file_comes_whole_or_not_at_all),
        cmocka_unit_test(a_key_file_is_read_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
