/* SPDX-License-Identifier: Apache-2.0 */
/* lib/tls/pki, and the contexts that are made of its files. OpenSSL's own memory never runs short
 * here. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "folder.h"
#include "loop.h"
#include "sys.h"
#include "tls/join.h"
#include "tls/pki.h"
#include "tls/token.h"
#include "tls/tls.h"

struct site {
    char dir[FOLDER_BYTES], bundle[80];
    struct blx_tls_context *context;

    /* Of a server that joins as web1, or renews. */
    char token[BLX_TOKEN_TEXT_BYTES];
    EVP_PKEY *key;
    struct blx_join_message join;
    struct blx_certificate_message certificate;
    char agent_id[BLX_NAME_BYTES];

    uint8_t fingerprint[BLX_FINGERPRINT_BYTES];

    struct blx_pki_bundle made;
    bool revoked; /* as it looks */
};

static void make_site(void *state)
{
    struct site *site = state;
    *site = (struct site){0};
    folder_make(site->dir);
    snprintf(site->bundle, sizeof(site->bundle), "%s/web1", site->dir);
}

static void make_enrolled_site(void *state)
{
    struct site *site = state;
    make_site(site);
    assert_int_equal(blx_pki_enroll(site->dir, "web1", site->bundle, NULL), 0);
}

static void remove_site(void *state)
{
    struct site *site = state;
    blx_tls_context_free(site->context);
    EVP_PKEY_free(site->key);
    folder_remove(site->dir);
}

static int make_client(const struct site *site, struct blx_tls_context **context,
                       struct blx_error *err)
{
    const struct blx_tls_files files = {
        .ca = site->bundle, .cert = site->bundle, .key = site->bundle};
    return blx_tls_context_new_client(&files, context, err);
}

static int make_server(const struct site *site, struct blx_tls_context **context,
                       struct blx_error *err)
{
    char ca[96], cert[96], key[96];
    snprintf(ca, sizeof(ca), "%s/pki/ca.pem", site->dir);
    snprintf(cert, sizeof(cert), "%s/pki/dispatcher.pem", site->dir);
    snprintf(key, sizeof(key), "%s/pki/dispatcher.key", site->dir);
    const struct blx_tls_files files = {.ca = ca, .cert = cert, .key = key};
    return blx_tls_context_new_server(&files, context, err);
}

static void assert_server_can_start(const struct site *site)
{
    struct blx_tls_context *context = NULL;
    struct blx_error err = {0};
    if (make_server(site, &context, &err) < 0)
        fail_msg("%s", err.message);
    blx_tls_context_free(context);
}

static int run_ensure(void *state, struct blx_error *err)
{
    return blx_pki_ensure(((struct site *)state)->dir, err);
}

/* The next call completes whatever was left half done. */
static void check_ensure(void *state, int rc)
{
    struct blx_error err = {0};
    if (rc < 0 && run_ensure(state, &err) < 0)
        fail_msg("the second time: %s", err.message);
    assert_server_can_start(state);
}

static int run_enroll(void *state, struct blx_error *err)
{
    struct site *site = state;
    return blx_pki_enroll(site->dir, "web1", site->bundle, err);
}

static int run_make_bundle(void *state, struct blx_error *err)
{
    struct site *site = state;
    return blx_pki_make_bundle(site->dir, "web1", &site->made, err);
}

static void check_make_bundle(void *state, int rc)
{
    struct site *site = state;
    assert_int_equal(site->made.bytes != 0, rc == 0);
    assert_int_equal(run_make_bundle(state, NULL), 0);
}

static int run_make_copier(void *state, struct blx_error *err)
{
    struct site *site = state;
    return blx_pki_make_copier(site->dir, "second", &site->made, err);
}

static void check_make_copier(void *state, int rc)
{
    struct site *site = state;
    assert_int_equal(site->made.bytes != 0, rc == 0);
    assert_int_equal(run_make_copier(state, NULL), 0);
}

static int run_revoke_copier(void *state, struct blx_error *err)
{
    return blx_pki_revoke_copier(((struct site *)state)->dir, "second", err);
}

static void check_revoke_copier(void *state, int rc)
{
    struct site *site = state;
    if (rc < 0)
        assert_int_equal(run_revoke_copier(site, NULL), 0);
    assert_int_equal(blx_pki_check_copier(site->dir, "second", "77", NULL), -EACCES);
}

static int run_check_copier(void *state, struct blx_error *err)
{
    return blx_pki_check_copier(((struct site *)state)->dir, "second", "77", err);
}

static void check_check_copier(void *state, int rc)
{
    (void)state;
    assert_int_not_equal(rc, -EACCES);
}

/* Its credentials in the place of an agent's bundle. */
static void make_copiers_site(void *state)
{
    struct site *site = state;
    make_site(site);
    assert_int_equal(run_make_copier(site, NULL), 0);
    FILE *file = fopen(site->bundle, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(site->made.pem, 1, site->made.bytes, file), site->made.bytes);
    assert_int_equal(fclose(file), 0);
}

static int run_copier_context(void *state, struct blx_error *err)
{
    struct site *site = state;
    const struct blx_tls_files files = {
        .ca = site->bundle, .cert = site->bundle, .key = site->bundle};
    return blx_tls_context_new_copier(&files, &site->context, err);
}

static void check_copier_context(void *state, int rc)
{
    assert_int_equal(((struct site *)state)->context != NULL, rc == 0);
}

static void copiers(void **state)
{
    (void)state;
    struct site site;
    fault_loop(&(struct fault_case){make_site, run_make_copier, check_make_copier, remove_site, 0},
               &site);
    fault_loop(
        &(struct fault_case){make_site, run_revoke_copier, check_revoke_copier, remove_site, 0},
        &site);
    fault_loop(
        &(struct fault_case){make_site, run_check_copier, check_check_copier, remove_site, 0},
        &site);
    fault_loop(&(struct fault_case){make_copiers_site, run_copier_context, check_copier_context,
                                    remove_site, 0},
               &site);
}

/* A bundle has its name whole or not at all; the last step of all is the folder's fsync. */
static void check_enroll(void *state, int rc)
{
    struct site *site = state;
    struct blx_error err = {0};
    struct blx_tls_context *context = NULL;
    if (access(site->bundle, F_OK) != 0) {
        assert_true(rc < 0);
        if (run_enroll(state, &err) < 0)
            fail_msg("the second time: %s", err.message);
    }
    if (make_client(site, &context, &err) < 0)
        fail_msg("%s", err.message);
    blx_tls_context_free(context);
    assert_server_can_start(site);
}

/* A client's, and a look at its name. */
static int run_agent(void *state, struct blx_error *err)
{
    struct site *site = state;
    const struct blx_tls_files files = {
        .ca = site->bundle, .cert = site->bundle, .key = site->bundle};
    return blx_tls_context_new_agent(&files, "web1", &site->context, err);
}

static int run_server(void *state, struct blx_error *err)
{
    return make_server(state, &((struct site *)state)->context, err);
}

static void check_context(void *state, int rc)
{
    assert_int_equal(((struct site *)state)->context != NULL, rc == 0);
}

static int run_make_token(void *state, struct blx_error *err)
{
    struct site *site = state;
    return blx_pki_make_token(site->dir, "web1", 60, site->token, err);
}

static void check_make_token(void *state, int rc)
{
    struct site *site = state;
    struct blx_token token;
    assert_int_equal(blx_token_parse(site->token, &token, NULL), rc == 0 ? 0 : -EINVAL);
    assert_int_equal(blx_pki_ensure(site->dir, NULL), 0);
}

static void make_site_with_token(void *state)
{
    struct site *site = state;
    struct blx_token token;
    make_enrolled_site(site);
    assert_int_equal(run_make_token(site, NULL), 0);
    assert_int_equal(blx_token_parse(site->token, &token, NULL), 0);
    memcpy(site->join.secret, token.secret, sizeof(token.secret));
    assert_int_equal(blx_renew_request(&site->key, &site->join.request, NULL), 0);
}

static int run_join(void *state, struct blx_error *err)
{
    struct site *site = state;
    return blx_pki_join(site->dir, &site->join, site->agent_id, &site->certificate, err);
}

/* A token may be used up although its use failed, and it never gives two certificates. */
static void check_join(void *state, int rc)
{
    struct site *site = state;
    struct blx_error err = {0};
    assert_int_equal(site->certificate.cert_bytes != 0, rc == 0);
    assert_int_equal(site->agent_id[0] != '\0', rc == 0);
    int again = run_join(site, &err);
    if (rc == 0)
        assert_int_equal(again, -EACCES);
    else if (again < 0)
        assert_non_null(strstr(err.message, "used already"));
    assert_int_equal(run_join(site, NULL), -EACCES);
}

static int run_renew(void *state, struct blx_error *err)
{
    struct site *site = state;
    const struct blx_pki_renewal renewal = {
        .agent_id = "web1", .serial = "77", .signer = BLX_PKI_NEW_CA};
    return blx_pki_renew(site->dir, &renewal, &site->join.request, &site->certificate, err);
}

static void check_renew(void *state, int rc)
{
    struct site *site = state;
    assert_int_equal(site->certificate.cert_bytes != 0, rc == 0);
    assert_int_equal(run_renew(site, NULL), 0);
}

static void make_revoked_site(void *state)
{
    struct site *site = state;
    make_site_with_token(site);
    assert_int_equal(blx_pki_revoke(site->dir, "web1", NULL), 0);
    assert_int_equal(run_make_token(site, NULL), 0);
    struct blx_token token;
    assert_int_equal(blx_token_parse(site->token, &token, NULL), 0);
    memcpy(site->join.secret, token.secret, sizeof(token.secret));
}

/* The rename leaves a revocation in every case: nothing here opens the door to an old
 * certificate. */
static void check_join_of_revoked(void *state, int rc)
{
    struct site *site = state;
    assert_int_equal(blx_pki_check_revoked(site->dir, "web1", "77", NULL), -EACCES);
    check_join(site, rc);
}

static int run_revoke(void *state, struct blx_error *err)
{
    return blx_pki_revoke(((struct site *)state)->dir, "web1", err);
}

static void check_revoke(void *state, int rc)
{
    struct site *site = state;
    if (rc < 0)
        assert_int_equal(run_revoke(site, NULL), 0);
    assert_int_equal(blx_pki_check_revoked(site->dir, "web1", "77", NULL), -EACCES);
    assert_int_equal(run_join(site, NULL), -EACCES);
}

static int run_check_revoked(void *state, struct blx_error *err)
{
    return blx_pki_check_revoked(((struct site *)state)->dir, "web10", "77", err);
}

static int run_look_revoked(void *state, struct blx_error *err)
{
    struct site *site = state;
    return blx_pki_look_revoked(site->dir, "web1", &site->revoked, err);
}

static void check_look_revoked(void *state, int rc)
{
    struct site *site = state;
    assert_true(rc < 0 || site->revoked);
}

static void check_nothing(void *state, int rc)
{
    (void)state;
    (void)rc;
}

/* The file is replaced by one that works, or is what it was. */
static int run_accept(void *state, struct blx_error *err)
{
    struct site *site = state;
    return blx_renew_accept(site->key, &site->certificate, NULL, site->context, site->bundle,
                            site->fingerprint, err);
}

static void make_renewed_site(void *state)
{
    struct site *site = state;
    make_site_with_token(site);
    assert_int_equal(run_renew(site, NULL), 0);
    assert_int_equal(make_client(site, &site->context, NULL), 0);
}

static void check_accept(void *state, int rc)
{
    struct blx_tls_context *context = NULL;
    assert_int_equal(make_client(state, &context, NULL), 0);
    if (rc == 0)
        assert_true(blx_tls_context_days_left(context) < 366);
    blx_tls_context_free(context);
}

static void a_token_is_used_once_whatever_fails(void **state)
{
    (void)state;
    struct site site;
    fault_loop(&(struct fault_case){make_site, run_make_token, check_make_token, remove_site, 0},
               &site);
    fault_loop(&(struct fault_case){make_site_with_token, run_join, check_join, remove_site, 0},
               &site);
    fault_loop(
        &(struct fault_case){make_revoked_site, run_join, check_join_of_revoked, remove_site, 0},
        &site);
}

static void a_renewal_leaves_credentials_that_work(void **state)
{
    (void)state;
    struct site site;
    fault_loop(&(struct fault_case){make_site_with_token, run_renew, check_renew, remove_site, 0},
               &site);
    fault_loop(&(struct fault_case){make_renewed_site, run_accept, check_accept, remove_site, 0},
               &site);
}

static void a_revocation_is_there_or_can_be_repeated(void **state)
{
    (void)state;
    struct site site;
    fault_loop(&(struct fault_case){make_site_with_token, run_revoke, check_revoke, remove_site, 0},
               &site);
    fault_loop(
        &(struct fault_case){make_revoked_site, run_check_revoked, check_nothing, remove_site, 0},
        &site);
    fault_loop(&(struct fault_case){make_revoked_site, run_look_revoked, check_look_revoked,
                                    remove_site, 0},
               &site);
}

static void a_pki_that_was_begun_is_completed(void **state)
{
    (void)state;
    struct site site;
    fault_loop(&(struct fault_case){make_site, run_ensure, check_ensure, remove_site, 0}, &site);
}

static void credentials_come_whole_or_not_at_all(void **state)
{
    (void)state;
    struct site site;
    fault_loop(&(struct fault_case){make_site, run_enroll, check_enroll, remove_site, 0}, &site);
    fault_loop(&(struct fault_case){make_site, run_make_bundle, check_make_bundle, remove_site, 0},
               &site);
}

static void contexts_come_whole_or_not_at_all(void **state)
{
    (void)state;
    struct site site;
    fault_loop(&(struct fault_case){make_enrolled_site, run_agent, check_context, remove_site, 0},
               &site);
    fault_loop(&(struct fault_case){make_enrolled_site, run_server, check_context, remove_site, 0},
               &site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copiers),
        cmocka_unit_test(a_pki_that_was_begun_is_completed),
        cmocka_unit_test(credentials_come_whole_or_not_at_all),
        cmocka_unit_test(contexts_come_whole_or_not_at_all),
        cmocka_unit_test(a_token_is_used_once_whatever_fails),
        cmocka_unit_test(a_renewal_leaves_credentials_that_work),
        cmocka_unit_test(a_revocation_is_there_or_can_be_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
