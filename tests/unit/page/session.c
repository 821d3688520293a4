/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions: a cookie holds for its address, and the one that is used least makes room. */
#include "page/session.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct page_sessions *sessions;

static int begin(void **state)
{
    (void)state;
    return page_sessions_new(&sessions, NULL);
}

static int end(void **state)
{
    (void)state;
    page_sessions_free(sessions);
    return 0;
}

static void a_cookie_holds_for_its_address_until_it_ends(void **state)
{
    char cookie[PAGE_SECRET_TEXT_BYTES];
    struct page_session found;
    (void)state;
    assert_int_equal(page_session_begin(sessions, PAGE_OPERATOR, "10.0.0.1", cookie, NULL), 0);
    assert_int_equal(strlen(cookie), PAGE_SECRET_TEXT_BYTES - 1);
    assert_int_equal(page_session_find(sessions, cookie, "10.0.0.1", &found), 0);
    assert_int_equal(found.role, PAGE_OPERATOR);
    assert_string_not_equal(found.csrf, cookie);
    assert_int_equal(page_session_find(sessions, cookie, "10.0.0.2", &found), -EACCES);
    assert_int_equal(page_session_find(sessions, "", "10.0.0.1", &found), -EACCES);
    page_session_end(sessions, cookie);
    assert_int_equal(page_session_find(sessions, cookie, "10.0.0.1", &found), -EACCES);
}

static void the_least_used_session_makes_room(void **state)
{
    char first[PAGE_SECRET_TEXT_BYTES], second[PAGE_SECRET_TEXT_BYTES];
    char other[PAGE_SECRET_TEXT_BYTES];
    struct page_session found;
    (void)state;
    page_session_begin(sessions, PAGE_VIEWER, "a", first, NULL);
    page_session_begin(sessions, PAGE_VIEWER, "a", second, NULL);
    for (int i = 2; i < PAGE_SESSIONS; i++)
        assert_int_equal(page_session_begin(sessions, PAGE_VIEWER, "a", other, NULL), 0);
    assert_int_equal(page_session_find(sessions, first, "a", &found), 0); /* used just now */
    assert_int_equal(page_session_begin(sessions, PAGE_VIEWER, "a", other, NULL), 0);
    assert_int_equal(page_session_find(sessions, second, "a", &found), -EACCES);
    assert_int_equal(page_session_find(sessions, first, "a", &found), 0);
    assert_int_equal(page_session_find(sessions, other, "a", &found), 0);
}

enum { ASKERS = 4, ASKS = 4000 };

static char shared[PAGE_SECRET_TEXT_BYTES];

static void *ask_often(void *arg)
{
    struct page_session found;
    size_t *refused = arg;
    for (int i = 0; i < ASKS; i++)
        *refused += page_session_find(sessions, shared, "a", &found) == 0 ? 0 : 1;
    return NULL;
}

/* A page asks for several things at once. */
static void a_session_lasts_while_many_threads_ask(void **state)
{
    pthread_t threads[ASKERS];
    size_t refused[ASKERS] = {0};
    (void)state;
    assert_int_equal(page_session_begin(sessions, PAGE_VIEWER, "a", shared, NULL), 0);
    for (size_t i = 0; i < ASKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &refused[i]), 0);
    for (size_t i = 0; i < ASKERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(refused[i], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_cookie_holds_for_its_address_until_it_ends, begin, end),
        cmocka_unit_test_setup_teardown(the_least_used_session_makes_room, begin, end),
        cmocka_unit_test_setup_teardown(a_session_lasts_while_many_threads_ask, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
