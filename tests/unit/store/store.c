/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"
#include "fixture.h"
#include "store/trouble.h"

static void expect(const char *dir, enum blx_store_mode mode, int code, const char *part)
{
    struct blx_error err = {0};
    struct blx_store store = {.lock_fd = -1};
    int rc = blx_store_open(dir, mode, &store, &err);
    blx_store_close(&store);
    assert_int_equal(rc, code);
    if (strstr(err.message, part) == NULL)
        fail_msg("'%s' is not in: %s", part, err.message);
}

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void open_keeps_a_second_dispatcher_out(void **state)
{
    (void)state;
    struct test_store test;
    char path[PATH_MAX], text[64] = "";
    test_store_init(&test);
    test_path(&test, path, "format");
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof(text), file));
    fclose(file);
    assert_string_equal(text, "blxrep store 1\n");
    expect(test.dir, BLX_STORE_WRITE, -EBUSY, "another dispatcher is running");
    expect(test.dir, BLX_STORE_READ, 0, "");
    expect(test.dir, BLX_STORE_INIT, 0, "");
    test_path(&test, path, "lock");
    assert_int_equal(unlink(path), 0);
    expect(test.dir, BLX_STORE_WRITE, -EBUSY, "another dispatcher is running");
    blx_store_close(&test.store);
    expect(test.dir, BLX_STORE_WRITE, 0, "");
    test_store_done(&test);
}

static void only_init_makes_missing_parents_or_takes_an_empty_folder(void **state)
{
    (void)state;
    struct test_store test;
    char path[PATH_MAX];
    test_store_init(&test);
    test_path(&test, path, "a/b/c/");
    expect(path, BLX_STORE_READ, -ENOENT, "a/b/c'");
    expect(path, BLX_STORE_WRITE, -ENOENT, "--init");
    expect(path, BLX_STORE_INIT, 0, "");
    expect(path, BLX_STORE_WRITE, 0, "");
    test_path(&test, path, "fresh");
    assert_int_equal(mkdir(path, 0700), 0);
    expect(path, BLX_STORE_READ, -ENOENT, "no store");
    expect(path, BLX_STORE_WRITE, -ENOENT, "mount its disk");
    test_path(&test, path, "fresh/lost+found");
    assert_int_equal(mkdir(path, 0700), 0);
    test_path(&test, path, "fresh");
    expect(path, BLX_STORE_INIT, 0, "");
    expect(path, BLX_STORE_WRITE, 0, "");
    test_store_done(&test);
}

static void open_refuses_what_is_no_store_by_name(void **state)
{
    (void)state;
    struct test_store test;
    char path[PATH_MAX];
    test_store_init(&test);
    expect("", BLX_STORE_WRITE, -EINVAL, "empty");
    test_path(&test, path, "file");
    put(path, "x");
    expect(path, BLX_STORE_WRITE, -ENOTDIR, "no directory");
    expect(path, BLX_STORE_READ, -ENOTDIR, "no directory");
    test_path(&test, path, "full");
    assert_int_equal(mkdir(path, 0700), 0);
    test_path(&test, path, "full/precious");
    put(path, "x");
    test_path(&test, path, "full");
    expect(path, BLX_STORE_INIT, -ENOTEMPTY, "precious");
    test_path(&test, path, "format");
    put(path, "blxrep store 2\n");
    expect(test.dir, BLX_STORE_READ, -ENOTSUP, "newer");
    put(path, "blxrep store one\n");
    expect(test.dir, BLX_STORE_INIT, -EBADMSG, "format");
    put(path, "something else");
    expect(test.dir, BLX_STORE_READ, -EBADMSG, "format");
    test_store_done(&test);
}

static void agents_are_listed_sorted_and_only_by_good_names(void **state)
{
    (void)state;
    struct test_store test;
    struct blx_error err = {0};
    static const char *const names[] = {"web2", "web10", "web1", ".hidden", "bad name"};
    char path[PATH_MAX];
    char **ids = NULL;
    size_t count = 99;
    test_store_init(&test);
    test_ok(blx_store_list_agents(&test.store, &ids, &count, &err), &err);
    assert_int_equal(count, 0);
    test_path(&test, path, "agents");
    assert_int_equal(mkdir(path, 0700), 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        test_path(&test, path, "agents/%s", names[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    test_path(&test, path, "agents/file");
    put(path, "x");
    test_ok(blx_store_list_agents(&test.store, &ids, &count, &err), &err);
    assert_int_equal(count, 3);
    assert_string_equal(ids[0], "web1");
    assert_string_equal(ids[1], "web10");
    assert_string_equal(ids[2], "web2");
    blx_store_free_agents(ids, count);
    assert_true(blx_agent_store_exists(blx_store_agent(&test.store, "web1")));
    assert_false(blx_agent_store_exists(blx_store_agent(&test.store, "web")));
    assert_false(blx_agent_store_exists(blx_store_agent(&test.store, "../agents/web1")));
    assert_int_equal(
        blx_agent_store_volume_path(blx_store_agent(&test.store, "web1"), "..", path, NULL),
        -EINVAL);
    test_store_done(&test);
}

static void open_survives_any_failing_call_and_works_next_time(void **state)
{
    (void)state;
    bool fired = true;
    for (unsigned after = 0; fired; after++) {
        struct test_store test = {.store.lock_fd = -1};
        test_make_dir(test.dir, sizeof(test.dir));
        struct blx_store store = {.lock_fd = -1};
        struct blx_error err = {0};
        test_fault_arm(TEST_FAULT_ONCE, after);
        int rc = blx_store_open(test.dir, BLX_STORE_INIT, &store, &err);
        if (rc == 0)
            rc = blx_store_open(test.dir, BLX_STORE_WRITE, &store, &err);
        fired = test_fault_disarm();
        if (rc < 0) {
            assert_int_equal(store.lock_fd, -1);
            assert_int_equal(err.code, rc);
        }
        blx_store_close(&store);
        expect(test.dir, BLX_STORE_INIT, 0, "");
        expect(test.dir, BLX_STORE_WRITE, 0, "");
        test_store_done(&test);
    }
}

/* Root may do everything, so a child that is nobody looks. */
static void another_users_store_is_trouble_and_its_own_is_none(void **state)
{
    (void)state;
    struct test_store test;
    struct blx_trouble trouble;
    test_store_init(&test);
    blx_store_find_trouble(&test.store, &trouble);
    assert_int_equal(trouble.kind, BLX_TROUBLE_NONE);
    assert_int_equal(blx_agent_store_enroll(blx_store_agent(&test.store, "web1"), NULL), 0);
    if (geteuid() == 0) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            bool became = setegid(65534) == 0 && seteuid(65534) == 0;
            blx_store_find_trouble(&test.store, &trouble);
            bool told = trouble.kind == BLX_TROUBLE_DENIED &&
                        strstr(trouble.text, "may not use") == NULL &&
                        strstr(trouble.text, "belongs to the user 0") != NULL;
            _exit(became && told ? 0 : 1);
        }
        int status = -1;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    test_store_done(&test);
}

static ino_t data_dir_inode;
static bool data_dir_flushed;

static int note_flush(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    data_dir_flushed = data_dir_flushed || st.st_ino == data_dir_inode;
    return 0;
}

/* Without `format` what is made later would be no store after a power cut. */
static void open_flushes_the_name_that_another_process_made(void **state)
{
    (void)state;
    struct test_store test;
    struct stat st;
    struct blx_sys table = blx_sys_real;
    table.fsync = note_flush;
    test_store_init(&test);
    blx_store_close(&test.store);
    assert_int_equal(stat(test.dir, &st), 0);
    data_dir_inode = st.st_ino;
    blx_sys = &table;
    expect(test.dir, BLX_STORE_WRITE, 0, "");
    blx_sys = &blx_sys_real;
    assert_true(data_dir_flushed);
    test_store_done(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_keeps_a_second_dispatcher_out),
        cmocka_unit_test(only_init_makes_missing_parents_or_takes_an_empty_folder),
        cmocka_unit_test(open_refuses_what_is_no_store_by_name),
        cmocka_unit_test(agents_are_listed_sorted_and_only_by_good_names),
        cmocka_unit_test(another_users_store_is_trouble_and_its_own_is_none),
        cmocka_unit_test(open_flushes_the_name_that_another_process_made),
        cmocka_unit_test(open_survives_any_failing_call_and_works_next_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
