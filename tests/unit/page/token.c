/* SPDX-License-Identifier: Apache-2.0 */
/* Invitations: once, for ten minutes, and damaged ones let nobody in. */
#include "page/token.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/blxrep-page-token-XXXXXX";

/* The path of the only token. */
static void find(char path[PATH_MAX])
{
    char tokens[PATH_MAX];
    snprintf(tokens, sizeof(tokens), "%s/page/tokens", folder);
    DIR *dir = opendir(tokens);
    const struct dirent *entry;
    path[0] = '\0';
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            snprintf(path, PATH_MAX, "%.2000s/%.200s", tokens, entry->d_name);
    closedir(dir);
}

static void rewrite(const char *content)
{
    char path[PATH_MAX];
    find(path);
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
}

static void a_token_is_used_once_and_has_its_role(void **state)
{
    char text[PAGE_TOKEN_TEXT_BYTES], path[PATH_MAX];
    enum page_role role = PAGE_OPERATOR;
    (void)state;
    assert_int_equal(page_token_make(folder, PAGE_VIEWER, text, NULL), 0);
    find(path);
    assert_null(strstr(path, text)); /* it cannot be read there */
    assert_int_equal(page_token_use(folder, text, &role, NULL), 0);
    assert_int_equal(role, PAGE_VIEWER);
    assert_int_equal(page_token_use(folder, text, &role, NULL), -EACCES);
}

static void what_is_no_token_lets_nobody_in(void **state)
{
    static const char *const others[] = {"", "x", "../../../etc/passwd",
                                         "0000000000000000000000000000000000000000",
                                         "00000000000000000000000000000000000000000"};
    enum page_role role;
    (void)state;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_int_equal(page_token_use(folder, others[i], &role, NULL), -EACCES);
}

static void an_expired_or_damaged_one_lets_nobody_in(void **state)
{
    char text[PAGE_TOKEN_TEXT_BYTES], path[PATH_MAX];
    enum page_role role;
    (void)state;
    assert_int_equal(page_token_make(folder, PAGE_OPERATOR, text, NULL), 0);
    rewrite("blxrep page token 1\n1000\noperator\n");
    assert_int_equal(page_token_use(folder, text, &role, NULL), -EACCES);
    assert_int_equal(page_token_make(folder, PAGE_OPERATOR, text, NULL), 0);
    rewrite("blxrep page token 1\n99999999999\nroot\n");
    assert_int_equal(page_token_use(folder, text, &role, NULL), -EBADMSG);
    rewrite("blxrep page token 1\n1000\noperator\n");
    assert_int_equal(page_token_make(folder, PAGE_OPERATOR, text, NULL), 0); /* sweeps the other */
    assert_int_equal(page_token_use(folder, text, &role, NULL), 0);
    find(path);
    assert_string_equal(path, "");
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    char path[PATH_MAX];
    (void)state;
    snprintf(path, sizeof(path), "%s/page/tokens", folder);
    rmdir(path);
    snprintf(path, sizeof(path), "%s/page", folder);
    rmdir(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_used_once_and_has_its_role),
        cmocka_unit_test(what_is_no_token_lets_nobody_in),
        cmocka_unit_test(an_expired_or_damaged_one_lets_nobody_in),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
