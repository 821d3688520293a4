/* SPDX-License-Identifier: Apache-2.0 */
/* A secret's file: whole or not there, its owner's alone, and never in another one's place unasked.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret_file.h"
#include "folder.h"
#include "loop.h"

struct secret {
    const char *way_out; /* as it is made; NULL: the old file is there, and replaced */
    char dir[FOLDER_BYTES], path[96];
};

static int write_text(const struct secret *secret, const char *text, struct blx_error *err)
{
    return blx_secret_file_write(secret->path, text, strlen(text), secret->way_out, err);
}

static void setup(void *arg)
{
    struct secret *secret = arg;
    const char *way_out = secret->way_out;
    *secret = (struct secret){.way_out = way_out};
    folder_make(secret->dir);
    snprintf(secret->path, sizeof(secret->path), "%s/secret", secret->dir);
    if (way_out == NULL)
        assert_int_equal(write_text(secret, "old", NULL), 0);
}

static void teardown(void *arg)
{
    folder_remove(((struct secret *)arg)->dir);
}

static int run_write(void *arg, struct blx_error *err)
{
    return write_text(arg, "newer", err);
}

static void check_write(void *arg, int rc)
{
    const struct secret *secret = arg;
    struct stat st;
    if (stat(secret->path, &st) != 0) {
        assert_true(rc < 0 && secret->way_out != NULL);
    } else if (secret->way_out == NULL) {
        folder_file_is_either(secret->path, rc < 0 ? "old" : "newer", "newer");
        assert_int_equal(run_write(arg, NULL), 0);
    } else {
        folder_file_is(secret->path, "newer");
        assert_int_equal(run_write(arg, NULL), -EEXIST);
        return;
    }
    if (secret->way_out != NULL)
        assert_int_equal(run_write(arg, NULL), 0);
    assert_int_equal(stat(secret->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    folder_file_is(secret->path, "newer");
}

/* The check only looks, so it fails only if it should. */
static int run_check_and_write(void *arg, struct blx_error *err)
{
    const struct secret *secret = arg;
    int rc = blx_secret_file_check(secret->path, secret->way_out, err);
    return rc < 0 ? rc : run_write(arg, err);
}

static void a_secret_comes_whole_or_not_at_all(void **state)
{
    (void)state;
    struct secret secret = {.way_out = "remove it"};
    fault_loop(&(struct fault_case){setup, run_check_and_write, check_write, teardown, 0}, &secret);
    secret.way_out = NULL;
    fault_loop(&(struct fault_case){setup, run_check_and_write, check_write, teardown, 0}, &secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_comes_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
