/* SPDX-License-Identifier: Apache-2.0 */
/* DIR/pki from the inside: its lock, its files, tokens and revocations. The next call completes
 * what was begun, and nothing that failed opens a door. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "folder.h"
#include "loop.h"
#include "tls/certificate_private.h"
#include "tls/pem_private.h"
#include "tls/pki.h"
#include "tls/pki_private.h"
#include "tls/pki_token_private.h"
#include "tls/revocation_private.h"

static char site_dir[FOLDER_BYTES]; /* with a CA, made once */
static struct blx_pki site;
static struct blx_pki_authority site_ca;
static uint8_t secret[BLX_TOKEN_SECRET_BYTES]; /* of the token */

struct using
{
    char dir[FOLDER_BYTES]; /* empty: the site's */
    struct blx_pki pki;
    struct blx_pki_authority ca;
    X509 *cert;
    struct blx_token_record record;
    bool revoked;
};

static void setup(void *arg)
{
    struct using *use = arg;
    *use = (struct using){.pki = {.lock_fd = -1}};
    fault_poison(&use->record, sizeof(use->record));
}

static void setup_dir(void *arg)
{
    setup(arg);
    folder_make(((struct using *)arg)->dir);
}

static void teardown(void *arg)
{
    struct using *use = arg;
    X509_free(use->cert);
    blx_pki_authority_done(&use->ca);
    blx_pki_close(&use->pki);
    if (use->dir[0] != '\0')
        folder_remove(use->dir);
}

static void close_all(struct using *use)
{
    blx_pki_authority_done(&use->ca);
    blx_pki_close(&use->pki);
    use->ca = (struct blx_pki_authority){0};
    use->pki = (struct blx_pki){.lock_fd = -1};
}

static int run_lock(void *arg, struct blx_error *err)
{
    struct using *use = arg;
    return blx_pki_lock(use->dir, &use->pki, err);
}

static int run_open(void *arg, struct blx_error *err)
{
    struct using *use = arg;
    return blx_pki_open(use->dir, &use->pki, &use->ca, err);
}

/* If the lock could not be taken, the next call can still take it. */
static void check_lock(void *arg, int rc)
{
    struct using *use = arg;
    assert_int_equal(use->pki.lock_fd >= 0, rc == 0);
    close_all(use);
    assert_int_equal(run_lock(arg, NULL), 0);
}

static void check_open(void *arg, int rc)
{
    struct using *use = arg;
    struct blx_error err = {0};
    (void)rc;
    close_all(use);
    if (run_open(arg, &err) < 0)
        fail_msg("the second time: %s", err.message);
    assert_int_equal(X509_check_private_key(use->ca.cert, use->ca.key), 1);
    assert_int_equal(folder_count(use->pki.dir), 5);
}

static void a_pki_is_locked_and_completed_by_the_next_one(void **state)
{
    (void)state;
    struct using use;
    fault_loop(&(struct fault_case){setup_dir, run_lock, check_lock, teardown, 0}, &use);
    fault_loop(&(struct fault_case){setup_dir, run_open, check_open, teardown, 0}, &use);
}

static int run_make_dir(void *arg, struct blx_error *err)
{
    const struct using *use = arg;
    char path[96];
    snprintf(path, sizeof(path), "%s/below", use->dir);
    return blx_pki_make_dir(&site, path, err);
}

static void check_make_dir(void *arg, int rc)
{
    const struct using *use = arg;
    if (rc < 0)
        assert_int_equal(run_make_dir(arg, NULL), 0);
    assert_int_equal(folder_count(use->dir), 1);
}

static int write_file(const char *text, struct blx_error *err)
{
    BLX_CLEANUP_BIO BIO *content = BIO_new_mem_buf(text, -1);
    if (content == NULL) /* the test's own call failed */
        return blx_error_errno(err, -ENOMEM, "a test");
    return blx_pki_write(&site, "file", content, 0644, err);
}

static void file_path(char path[PATH_MAX])
{
    assert_int_equal(blx_pki_path(&site, "file", path, NULL), 0);
}

static void setup_file(void *arg)
{
    setup(arg);
    assert_int_equal(write_file("old", NULL), 0);
}

static int run_write(void *arg, struct blx_error *err)
{
    (void)arg;
    return write_file("newer", err);
}

static void check_write(void *arg, int rc)
{
    char path[PATH_MAX];
    file_path(path);
    if (rc < 0) {
        folder_file_is_either(path, "old", "newer");
        assert_int_equal(run_write(arg, NULL), 0);
    }
    folder_file_is(path, "newer");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(folder_count(site.dir), 7); /* no temporary file either */
}

static void a_file_of_the_pki_is_the_old_one_or_the_new_one(void **state)
{
    (void)state;
    struct using use;
    fault_loop(&(struct fault_case){setup_dir, run_make_dir, check_make_dir, teardown, 0}, &use);
    fault_loop(&(struct fault_case){setup_file, run_write, check_write, teardown, 0}, &use);
}

/* Tokens. */

/* Making a token takes the lock. */
static void setup_token(void *arg)
{
    char text[BLX_TOKEN_TEXT_BYTES];
    struct blx_token token;
    setup(arg);
    blx_pki_close(&site);
    assert_int_equal(blx_pki_make_token(site_dir, "web1", 1000, text, NULL), 0);
    assert_int_equal(blx_pki_lock(site_dir, &site, NULL), 0);
    assert_int_equal(blx_token_parse(text, &token, NULL), 0);
    memcpy(secret, token.secret, sizeof(secret));
}

static int run_look(void *arg, struct blx_error *err)
{
    return blx_pki_token_look(&site, secret, &((struct using *)arg)->record, err);
}

static void check_look(void *arg, int rc)
{
    const struct using *use = arg;
    if (rc < 0)
        fault_assert_poisoned(&use->record, sizeof(use->record));
    else
        assert_string_equal(use->record.agent_id, "web1");
    assert_int_not_equal(rc, -EACCES); /* it is neither unknown nor used */
}

static void setup_use(void *arg)
{
    setup_token(arg);
    assert_int_equal(run_look(arg, NULL), 0);
}

static int run_use(void *arg, struct blx_error *err)
{
    return blx_pki_token_use(&site, secret, &((struct using *)arg)->record, err);
}

/* Used if the call says so; otherwise open or used. */
static void check_use(void *arg, int rc)
{
    int again = run_look(arg, NULL);
    assert_true(again == -EACCES || (rc < 0 && again == 0));
    assert_int_equal(run_use(arg, NULL), 0);
    assert_int_equal(run_look(arg, NULL), -EACCES);
}

static int run_sweep(void *arg, struct blx_error *err)
{
    (void)arg;
    return blx_pki_token_sweep(&site, "web1", BLX_TOKEN_JOIN, NULL, err);
}

/* A token that must not work any more is gone if the call says so. */
static void check_sweep(void *arg, int rc)
{
    char path[PATH_MAX];
    assert_int_equal(blx_pki_path(&site, "tokens", path, NULL), 0);
    assert_true(rc < 0 || folder_count(path) == 0);
    assert_int_equal(run_sweep(arg, NULL), 0);
    assert_int_equal(folder_count(path), 0);
}

static void a_token_is_open_or_used_or_gone(void **state)
{
    (void)state;
    struct using use;
    fault_loop(&(struct fault_case){setup_token, run_look, check_look, teardown, 0}, &use);
    fault_loop(&(struct fault_case){setup_use, run_use, check_use, teardown, 0}, &use);
    fault_loop(&(struct fault_case){setup_token, run_sweep, check_sweep, teardown, 0}, &use);
}

/* Revocations. */

static int run_revoke(void *arg, struct blx_error *err)
{
    (void)arg;
    return blx_revocation_write(&site, "web1", err);
}

static int run_except(void *arg, struct blx_error *err)
{
    (void)arg;
    return blx_revocation_except(&site, "web1", "ABC", err);
}

static bool is_refused(const char *serial)
{
    int rc = blx_pki_check_revoked(site_dir, "web1", serial, NULL);
    assert_true(rc == 0 || rc == -EACCES);
    return rc == -EACCES;
}

static void setup_excepted(void *arg)
{
    setup(arg);
    assert_int_equal(run_revoke(arg, NULL), 0);
    assert_int_equal(blx_revocation_except(&site, "web1", "77", NULL), 0);
}

/* All are refused, or it is as before. */
static void check_revoke(void *arg, int rc)
{
    assert_true(is_refused("77") || rc < 0);
    assert_true(is_refused("ABC"));
    assert_int_equal(run_revoke(arg, NULL), 0);
    assert_true(is_refused("77"));
}

static void check_except(void *arg, int rc)
{
    (void)arg;
    assert_false(is_refused("77"));
    assert_true(is_refused("99"));
    assert_true(rc < 0 || !is_refused("ABC"));
}

static int run_look_revoked(void *arg, struct blx_error *err)
{
    return blx_pki_look_revoked(site_dir, "web1", &((struct using *)arg)->revoked, err);
}

static void setup_look_revoked(void *arg)
{
    setup(arg);
    assert_int_equal(run_revoke(arg, NULL), 0);
    ((struct using *)arg)->revoked = true;
}

/* A caller that ignores the error does not take it for "not revoked" either. */
static void check_look_revoked(void *arg, int rc)
{
    (void)rc;
    assert_true(((struct using *)arg)->revoked);
}

static int run_look_refused(void *arg, struct blx_error *err)
{
    (void)arg;
    int rc = blx_revocation_look(site_dir, "web1", "99", err);
    return rc == 1 ? 0 : rc == 0 ? -EINVAL : rc;
}

static void check_look_refused(void *arg, int rc)
{
    (void)arg;
    (void)rc;
    assert_true(is_refused("99"));
    assert_false(is_refused("77"));
}

static int run_sign(void *arg, struct blx_error *err)
{
    const struct blx_pki_signing signing = {.days = 7, .right = BLX_HANDOVER_BY_HAND};
    return blx_pki_sign_agent(&site, &site_ca, "web1", site_ca.key, &signing,
                              &((struct using *)arg)->cert, err);
}

static void check_sign(void *arg, int rc)
{
    const struct using *use = arg;
    char serial[BLX_SERIAL_TEXT_BYTES];
    assert_int_equal(use->cert != NULL, rc == 0);
    assert_true(is_refused("99"));
    if (rc < 0)
        return;
    assert_int_equal(blx_certificate_serial(use->cert, serial, NULL), 0);
    assert_false(is_refused(serial));
}

static void a_revocation_refuses_whom_it_should(void **state)
{
    (void)state;
    struct using use;
    fault_loop(&(struct fault_case){setup_excepted, run_revoke, check_revoke, teardown, 0}, &use);
    fault_loop(&(struct fault_case){setup_excepted, run_except, check_except, teardown, 0}, &use);
    fault_loop(
        &(struct fault_case){setup_look_revoked, run_look_revoked, check_look_revoked, teardown, 0},
        &use);
    fault_loop(
        &(struct fault_case){setup_excepted, run_look_refused, check_look_refused, teardown, 0},
        &use);
    fault_loop(&(struct fault_case){setup_excepted, run_sign, check_sign, teardown, 0}, &use);
}

static int make_authority(void **state)
{
    char text[BLX_TOKEN_TEXT_BYTES];
    (void)state;
    site.lock_fd = -1;
    folder_make(site_dir);
    assert_int_equal(blx_pki_make_token(site_dir, "web2", 60, text, NULL), 0);
    assert_int_equal(blx_pki_open(site_dir, &site, &site_ca, NULL), 0);
    assert_int_equal(blx_pki_token_sweep(&site, "web2", BLX_TOKEN_JOIN, NULL, NULL), 0);
    return blx_revocation_write(&site, "web2", NULL);
}

static int remove_authority(void **state)
{
    (void)state;
    blx_pki_authority_done(&site_ca);
    blx_pki_close(&site);
    folder_remove(site_dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pki_is_locked_and_completed_by_the_next_one),
        cmocka_unit_test(a_file_of_the_pki_is_the_old_one_or_the_new_one),
        cmocka_unit_test(a_token_is_open_or_used_or_gone),
        cmocka_unit_test(a_revocation_refuses_whom_it_should),
    };
    return cmocka_run_group_tests(tests, make_authority, remove_authority);
}
