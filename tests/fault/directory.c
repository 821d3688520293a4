/* SPDX-License-Identifier: Apache-2.0 */
/* lib/store's directories, and its crew of workers. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "folder.h"
#include "loop.h"
#include "memory.h"
#include "store/crew_private.h"
#include "store/directory_private.h"

struct folder {
    char dir[FOLDER_BYTES], below[96];
    unsigned names;
};

static void setup(void *arg)
{
    struct folder *folder = arg;
    memset(folder, 0, sizeof(*folder));
    folder_make(folder->dir);
    snprintf(folder->below, sizeof(folder->below), "%s/below", folder->dir);
}

static void teardown(void *arg)
{
    folder_remove(((struct folder *)arg)->dir);
}

static int run_make(void *arg, struct blx_error *err)
{
    return blx_directory_make(((struct folder *)arg)->below, err);
}

static void check_make(void *arg, int rc)
{
    const struct folder *folder = arg;
    struct stat st;
    if (rc < 0)
        assert_int_equal(run_make(arg, NULL), 0);
    assert_int_equal(stat(folder->below, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
}

static int note_name(void *arg, const char *name, struct blx_error *err)
{
    struct folder *folder = arg;
    (void)err;
    assert_string_equal(name, "below");
    folder->names++;
    return 0;
}

static void setup_each(void *arg)
{
    setup(arg);
    assert_int_equal(run_make(arg, NULL), 0);
}

static int run_each(void *arg, struct blx_error *err)
{
    struct folder *folder = arg;
    return blx_directory_each(folder->dir, note_name, folder, err);
}

/* A folder that cannot be read is not an empty one. */
static void check_each(void *arg, int rc)
{
    assert_int_equal(((struct folder *)arg)->names, rc == 0 ? 1 : 0);
}

static void a_folder_is_made_and_read_or_an_error(void **state)
{
    (void)state;
    struct folder folder;
    fault_loop(&(struct fault_case){setup, run_make, check_make, teardown, 0}, &folder);
    fault_loop(&(struct fault_case){setup_each, run_each, check_each, teardown, 0}, &folder);
}

/* A thread that cannot be made counts like memory that is short. */
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*function)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*function)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*function)(void *), void *arg)
{
    return memory_is_short() ? ENOMEM : __real_pthread_create(thread, attributes, function, arg);
}

enum { JOBS = 5, WORKERS = 3 };

struct work {
    atomic_uint left, done;
    unsigned reports;
};

static void setup_work(void *arg)
{
    struct work *work = arg;
    atomic_store(&work->left, JOBS);
    atomic_store(&work->done, 0);
    work->reports = 0;
}

static void do_work(void *arg)
{
    struct work *work = arg;
    unsigned left = atomic_load(&work->left);
    while (left > 0) {
        if (atomic_compare_exchange_weak(&work->left, &left, left - 1))
            atomic_fetch_add(&work->done, 1);
    }
}

static void report_work(void *arg)
{
    ((struct work *)arg)->reports++;
}

static int run_crew(void *arg, struct blx_error *err)
{
    const struct blx_crew crew = {
        .workers = WORKERS, .work = do_work, .report = report_work, .arg = arg};
    (void)err;
    return blx_crew_run(&crew);
}

/* The workers that could be started do all of it. */
static void check_crew(void *arg, int rc)
{
    struct work *work = arg;
    assert_true(rc == 0 || rc == -ENOMEM);
    assert_int_equal(atomic_load(&work->done), rc == 0 ? JOBS : 0);
    assert_true(rc < 0 || work->reports > 0);
}

static void a_crew_does_all_or_nothing(void **state)
{
    (void)state;
    struct work work;
    fault_loop(&(struct fault_case){setup_work, run_crew, check_crew, NULL, 1}, &work);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_is_made_and_read_or_an_error),
        cmocka_unit_test(a_crew_does_all_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
