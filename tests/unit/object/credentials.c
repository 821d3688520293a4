/* SPDX-License-Identifier: Apache-2.0 */
#include "object/credentials.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/blxrep-credentials-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

/* What the file says, with this mode. */
static int load(const char *text, mode_t mode, struct object_credentials *credentials,
                struct blx_error *err)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
    blx_error_clear(err);
    return object_credentials_load(path, credentials, err);
}

static void test_a_file_of_other_tools(void **state)
{
    OBJECT_CLEANUP_CREDENTIALS struct object_credentials got;
    struct blx_error err = {0};
    (void)state;
    assert_int_equal(load("# ours\n[default]\r\n aws_access_key_id=NAME\r\n"
                          "aws_secret_access_key = a/b+c= \nregion = x\naws_session_token=T\n",
                          0600, &got, &err),
                     0);
    assert_string_equal(got.name, "NAME");
    assert_string_equal(got.secret, "a/b+c=");
    assert_string_equal(got.token, "T");
}

static void test_refusals(void **state)
{
    static const char whole[] = "aws_access_key_id=A\naws_secret_access_key=SECRET-ITSELF\n";
    struct object_credentials got;
    struct blx_error err = {0};
    char large[300];
    (void)state;
    for (unsigned bit = 1; bit <= 040; bit <<= 1) {
        assert_int_equal(load(whole, 0600 | bit, &got, &err), -EACCES);
        assert_non_null(strstr(err.message, "chmod 0600"));
    }
    assert_int_equal(load("aws_access_key_id=A\n", 0600, &got, &err), -EINVAL);
    assert_int_equal(load("SECRET-ITSELF\n", 0600, &got, &err), -EINVAL);
    assert_null(strstr(err.message, "ITSELF"));
    assert_int_equal(load("aws_access_key_id=A\taws_secret_access_key=ITSELF\n", 0600, &got, &err),
                     -EINVAL);
    assert_null(strstr(err.message, "ITSELF"));
    memset(large, 'a', sizeof(large) - 1);
    memcpy(large, "aws_access_key_id=", 18);
    large[sizeof(large) - 1] = '\0';
    assert_int_equal(load(large, 0600, &got, &err), -EINVAL);
    assert_string_equal(got.name, "");
    assert_int_equal(object_credentials_load("/nonexistent", &got, &err), -ENOENT);
}

static void test_the_environment(void **state)
{
    struct object_credentials got;
    struct blx_error err = {0};
    (void)state;
    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("AWS_SESSION_TOKEN");
    assert_int_equal(object_credentials_load(NULL, &got, &err), -ENOKEY);
    setenv("AWS_ACCESS_KEY_ID", "A", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "B", 1);
    assert_int_equal(object_credentials_load(NULL, &got, &err), 0);
    assert_string_equal(got.name, "A");
    assert_string_equal(got.secret, "B");
    object_credentials_done(&got);
    assert_string_equal(got.secret, "");
    setenv("AWS_SESSION_TOKEN", "a\nb", 1);
    assert_int_equal(object_credentials_load(NULL, &got, &err), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_of_other_tools),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_the_environment),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
