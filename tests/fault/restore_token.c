/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens for a restore. Whatever fails, one is never another machine's, and the next call completes
 * what was begun. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "loop.h"
#include "tls/pki.h"
#include "tls/pki_restore.h"
#include "tls/pki_token_private.h"

static char site_dir[FOLDER_BYTES]; /* with a CA, made once */

static const struct blx_restore_grant wanted = {
    .agent_id = "web1", .checkpoint = 20261122203603, .volume_count = 1, .volumes = {"vda"}};

struct using
{
    struct blx_restore_message mine, theirs;
    struct blx_restore_grant grant;
    enum blx_restore_turn turn;
    unsigned count;
    char text[BLX_TOKEN_TEXT_BYTES];
    char name[BLX_TOKEN_NAME_BYTES];
    char hash[BLX_TOKEN_HASH_BYTES];
    char *content;
    struct blx_token token;
    struct blx_pki pki;
    struct blx_pki_authority ca;
};

static int run_make(void *arg, struct blx_error *err)
{
    return blx_pki_make_restore_token(site_dir, &wanted, 600, ((struct using *)arg)->text, err);
}

static void setup_none(void *arg)
{
    struct using *use = arg;
    *use = (struct using){.pki = {.lock_fd = -1}};
}

static void setup_token(void *arg)
{
    struct using *use = arg;
    struct blx_token token;
    setup_none(arg);
    assert_int_equal(run_make(arg, NULL), 0);
    assert_int_equal(blx_token_parse(use->text, &token, NULL), 0);
    memcpy(use->mine.secret, token.secret, sizeof(token.secret));
    use->mine.machine[0] = 1;
    use->theirs = use->mine;
    use->theirs.machine[0] = 2;
}

static int run_use(void *arg, struct blx_error *err)
{
    struct using *use = arg;
    return blx_pki_use_restore_token(site_dir, &use->mine, &use->grant, &use->turn, err);
}

static int others_use(struct using *use)
{
    struct blx_restore_grant grant;
    enum blx_restore_turn turn;
    return blx_pki_use_restore_token(site_dir, &use->theirs, &grant, &turn, NULL);
}

/* The lock is given back before the tokens go. */
static void teardown(void *arg)
{
    struct using *use = arg;
    unsigned count;
    free(use->content);
    blx_pki_authority_done(&use->ca);
    blx_pki_close(&use->pki);
    assert_int_equal(blx_pki_revoke_tokens(site_dir, "web1", &count, NULL), 0);
}

static void check_make(void *arg, int rc)
{
    struct using *use = arg;
    struct blx_token token;
    assert_int_equal(blx_token_parse(use->text, &token, NULL), rc == 0 ? 0 : -EINVAL);
}

static void check_use(void *arg, int rc)
{
    struct using *use = arg;
    assert_int_equal(use->grant.volume_count, rc == 0);
    assert_int_equal(run_use(arg, NULL), 0);
    assert_int_equal(others_use(use), -EACCES);
    assert_int_equal(run_use(arg, NULL), 0);
}

static void setup_used(void *arg)
{
    setup_token(arg);
    assert_int_equal(run_use(arg, NULL), 0);
}

static int run_check(void *arg, struct blx_error *err)
{
    return blx_pki_check_restore_token(site_dir, &((struct using *)arg)->mine, err);
}

static void check_check(void *arg, int rc)
{
    assert_int_not_equal(rc, -EACCES); /* a call that failed takes no token back */
    assert_int_equal(run_check(arg, NULL), 0);
}

static int run_finish(void *arg, struct blx_error *err)
{
    return blx_pki_finish_restore_token(site_dir, &((struct using *)arg)->mine, err);
}

static void check_finish(void *arg, int rc)
{
    int again = run_finish(arg, NULL);
    assert_true(again == -EACCES || (rc < 0 && again == 0));
    assert_int_equal(run_use(arg, NULL), -EACCES);
    assert_int_equal(others_use(arg), -EACCES);
}

static int run_revoke(void *arg, struct blx_error *err)
{
    return blx_pki_revoke_tokens(site_dir, "web1", &((struct using *)arg)->count, err);
}

static void check_revoke(void *arg, int rc)
{
    if (rc < 0)
        assert_int_equal(run_revoke(arg, NULL), 0);
    assert_int_equal(run_use(arg, NULL), -EACCES);
}

static void a_restore_token_is_one_machines_or_nobodys(void **state)
{
    (void)state;
    struct using use;
    fault_loop(&(struct fault_case){setup_none, run_make, check_make, teardown, 0}, &use);
    fault_loop(&(struct fault_case){setup_token, run_use, check_use, teardown, 0}, &use);
    fault_loop(&(struct fault_case){setup_used, run_check, check_check, teardown, 0}, &use);
    fault_loop(&(struct fault_case){setup_used, run_finish, check_finish, teardown, 0}, &use);
    fault_loop(&(struct fault_case){setup_token, run_revoke, check_revoke, teardown, 0}, &use);
}

/* The inside. */

static int run_hash(void *arg, struct blx_error *err)
{
    struct using *use = arg;
    return blx_pki_token_hash("x", 1, use->hash, err);
}

static int run_name(void *arg, struct blx_error *err)
{
    struct using *use = arg;
    return blx_pki_token_name(use->mine.secret, use->name, err);
}

static void check_text(void *arg, int rc)
{
    const struct using *use = arg;
    assert_int_equal(use->hash[0] != '\0' || use->name[0] != '\0', rc == 0);
}

/* Tokens are made under the lock, so it is taken after that. */
static void setup_inside(void *arg)
{
    struct using *use = arg;
    setup_token(arg);
    assert_int_equal(run_name(arg, NULL), 0);
    assert_int_equal(blx_pki_open(site_dir, &use->pki, &use->ca, NULL), 0);
}

static int run_read(void *arg, struct blx_error *err)
{
    struct using *use = arg;
    return blx_pki_token_read(&use->pki, use->name, &use->content, err);
}

static void check_read(void *arg, int rc)
{
    const struct using *use = arg;
    assert_int_equal(use->content != NULL, rc == 0);
    assert_int_not_equal(rc, -EACCES);
}

static int run_write(void *arg, struct blx_error *err)
{
    struct using *use = arg;
    return blx_pki_token_write(&use->pki, use->name, "another\n", err);
}

/* The old text or the new one. */
static void check_write(void *arg, int rc)
{
    struct using *use = arg;
    assert_int_equal(run_read(arg, NULL), 0);
    bool changed = strcmp(use->content, "another\n") == 0;
    assert_true(changed || (rc < 0 && strncmp(use->content, "blxrep restore", 14) == 0));
}

static int run_begin(void *arg, struct blx_error *err)
{
    struct using *use = arg;
    char name[BLX_TOKEN_NAME_BYTES];
    return blx_pki_token_begin(&use->pki, &use->ca, "web1", BLX_TOKEN_NONE, &use->token, name, err);
}

static void check_begin(void *arg, int rc)
{
    (void)rc;
    check_read(arg, run_read(arg, NULL)); /* the one that is there stays */
}

static void a_tokens_file_is_the_old_one_or_the_new_one(void **state)
{
    (void)state;
    struct using use;
    fault_loop(&(struct fault_case){setup_none, run_hash, check_text, teardown, 0}, &use);
    fault_loop(&(struct fault_case){setup_none, run_name, check_text, teardown, 0}, &use);
}

static void a_tokens_file_is_written_whole(void **state)
{
    (void)state;
    struct using use;
    fault_loop(&(struct fault_case){setup_inside, run_read, check_read, teardown, 0}, &use);
    fault_loop(&(struct fault_case){setup_inside, run_write, check_write, teardown, 0}, &use);
    fault_loop(&(struct fault_case){setup_inside, run_begin, check_begin, teardown, 0}, &use);
}

static int make_site(void **state)
{
    (void)state;
    folder_make(site_dir);
    return blx_pki_ensure(site_dir, NULL);
}

static int remove_site(void **state)
{
    (void)state;
    folder_remove(site_dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_restore_token_is_one_machines_or_nobodys),
        cmocka_unit_test(a_tokens_file_is_the_old_one_or_the_new_one),
        cmocka_unit_test(a_tokens_file_is_written_whole),
    };
    return cmocka_run_group_tests(tests, make_site, remove_site);
}
