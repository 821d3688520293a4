/* SPDX-License-Identifier: Apache-2.0 */
/* Which agents get a certificate, and whose is no longer accepted: tokens, renewals, revocations.
 * */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "fixture.h"
#include "tls/certificate_private.h"
#include "tls/join.h"
#include "tls/pem_private.h"
#include "tls/pki.h"
#include "tls/request_private.h"

struct asker {
    EVP_PKEY *key;
    struct blx_join_message join;
};

static void cleanup_asker(struct asker *asker)
{
    EVP_PKEY_free(asker->key);
}

/* A server with a new token of web1, and a request of its own. */
static struct asker asker_of(const struct fixture *fixture, const char *agent_id, uint64_t valid_s)
{
    struct asker asker = {.key = NULL};
    char text[BLX_TOKEN_TEXT_BYTES];
    struct blx_token token;
    struct blx_error err = {0};
    if (blx_pki_make_token(fixture->dir, agent_id, valid_s, text, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(blx_token_parse(text, &token, NULL), 0);
    memcpy(asker.join.secret, token.secret, sizeof(token.secret));
    assert_int_equal(blx_renew_request(&asker.key, &asker.join.request, NULL), 0);
    return asker;
}
#define ASKER BLX_CLEANUP(cleanup_asker) struct asker

static int join(const struct fixture *fixture, const struct asker *asker,
                struct blx_certificate_message *certificate, struct blx_error *err)
{
    char agent_id[BLX_NAME_BYTES] = "untouched";
    int rc = blx_pki_join(fixture->dir, &asker->join, agent_id, certificate, err);
    assert_string_equal(agent_id, rc == 0 ? "web1" : "untouched");
    return rc;
}

static X509 *certificate_of(const struct blx_certificate_message *message)
{
    const unsigned char *at = message->cert;
    X509 *cert = d2i_X509(NULL, &at, (long)message->cert_bytes);
    assert_non_null(cert);
    return cert;
}

static void serial_of(const struct blx_certificate_message *message,
                      char serial[BLX_SERIAL_TEXT_BYTES])
{
    BLX_CLEANUP_X509 X509 *cert = certificate_of(message);
    assert_int_equal(blx_certificate_serial(cert, serial, NULL), 0);
}

static void refuse(int rc, int wanted, const struct blx_error *err, const char *part)
{
    if (rc != wanted || strstr(err->message, part) == NULL)
        fail_msg("%d '%s', not %d '%s'", rc, err->message, wanted, part);
}

static void token_gives_a_certificate_in_the_name_that_it_was_made_for(void **state)
{
    const struct fixture *fixture = *state;
    ASKER asker = asker_of(fixture, "web1", 60);
    struct blx_certificate_message got;
    assert_int_equal(join(fixture, &asker, &got, NULL), 0);
    BLX_CLEANUP_X509 X509 *cert = certificate_of(&got);
    char name[BLX_NAME_BYTES];
    assert_int_equal(blx_certificate_name(cert, name, NULL), 0);
    assert_string_equal(name, "web1");
    assert_int_equal(X509_check_private_key(cert, asker.key), 1);
    int days = 0, seconds = 0;
    ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(cert));
    assert_in_range(days, 364, 365);
    assert_false(blx_certificate_is_ageing(cert));
}

static void token_is_kept_as_a_digest_alone(void **state)
{
    const struct fixture *fixture = *state;
    char text[BLX_TOKEN_TEXT_BYTES], command[512];
    assert_int_equal(blx_pki_make_token(fixture->dir, "web1", 60, text, NULL), 0);
    snprintf(command, sizeof(command),
             "! grep -rqi '%.20s' '%s/pki' && ! ls '%s/pki/tokens' | grep -qi '%.20s'", text + 7,
             fixture->dir, fixture->dir, text + 7);
    assert_int_equal(system(command), 0);
    struct stat st;
    assert_int_equal(stat(fixture_path(fixture, "pki/tokens"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
}

static void token_works_once(void **state)
{
    const struct fixture *fixture = *state;
    ASKER asker = asker_of(fixture, "web1", 60);
    struct blx_certificate_message got;
    struct blx_error err = {0};
    assert_int_equal(join(fixture, &asker, &got, NULL), 0);
    refuse(join(fixture, &asker, &got, &err), -EACCES, &err, "used already");
}

static void token_expires(void **state)
{
    const struct fixture *fixture = *state;
    ASKER asker = asker_of(fixture, "web1", 0);
    struct blx_certificate_message got;
    struct blx_error err = {0};
    refuse(join(fixture, &asker, &got, &err), -EACCES, &err, "has expired");
}

static void token_that_nobody_made_is_refused(void **state)
{
    const struct fixture *fixture = *state;
    ASKER asker = asker_of(fixture, "web1", 60);
    struct blx_certificate_message got;
    struct blx_error err = {0};
    asker.join.secret[0] ^= 1;
    refuse(join(fixture, &asker, &got, &err), -EACCES, &err, "does not know the token");
    asker.join.secret[0] ^= 1;
    assert_int_equal(join(fixture, &asker, &got, NULL), 0);
}

static void token_that_is_newer_replaces_the_agents_older_one(void **state)
{
    const struct fixture *fixture = *state;
    ASKER first = asker_of(fixture, "web1", 60);
    ASKER other = asker_of(fixture, "web10", 60);
    ASKER second = asker_of(fixture, "web1", 60);
    struct blx_certificate_message got;
    struct blx_error err = {0};
    char agent_id[BLX_NAME_BYTES];
    refuse(join(fixture, &first, &got, &err), -EACCES, &err, "does not know the token");
    assert_int_equal(join(fixture, &second, &got, NULL), 0);
    assert_int_equal(blx_pki_join(fixture->dir, &other.join, agent_id, &got, NULL), 0);
    assert_string_equal(agent_id, "web10");
}

/* The name in the request is not read. */
static void request_is_taken_for_its_key_alone(void **state)
{
    const struct fixture *fixture = *state;
    ASKER asker = asker_of(fixture, "web1", 60);
    X509_REQ *request = X509_REQ_new();
    assert_non_null(request);
    X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request), "CN", MBSTRING_ASC,
                               (const unsigned char *)"web10", -1, -1, 0);
    assert_int_equal(X509_REQ_set_pubkey(request, asker.key), 1);
    assert_true(X509_REQ_sign(request, asker.key, EVP_sha256()) > 0);
    unsigned char *out = asker.join.request.bytes;
    asker.join.request.request_bytes = (uint32_t)i2d_X509_REQ(request, &out);
    X509_REQ_free(request);
    struct blx_certificate_message got;
    assert_int_equal(join(fixture, &asker, &got, NULL), 0);
}

static void set_request(struct asker *asker, EVP_PKEY *key, EVP_PKEY *signer)
{
    X509_REQ *request = X509_REQ_new();
    assert_non_null(request);
    assert_int_equal(X509_REQ_set_pubkey(request, key), 1);
    assert_true(X509_REQ_sign(request, signer, EVP_sha256()) > 0);
    unsigned char *out = asker->join.request.bytes;
    int bytes = i2d_X509_REQ(request, NULL);
    assert_in_range(bytes, 1, BLX_REQUEST_MAX_BYTES);
    asker->join.request.request_bytes = (uint32_t)i2d_X509_REQ(request, &out);
    X509_REQ_free(request);
}

static void request_that_is_not_right_is_refused_and_costs_no_token(void **state)
{
    const struct fixture *fixture = *state;
    ASKER asker = asker_of(fixture, "web1", 60);
    BLX_CLEANUP_KEY EVP_PKEY *stranger = EVP_EC_gen("P-256");
    BLX_CLEANUP_KEY EVP_PKEY *other_curve = EVP_EC_gen("P-384");
    BLX_CLEANUP_KEY EVP_PKEY *rsa = EVP_RSA_gen(1024);
    const struct blx_request_message good = asker.join.request;
    struct blx_certificate_message got;
    struct blx_error err[5] = {{0}};
    set_request(&asker, stranger, asker.key);
    refuse(join(fixture, &asker, &got, &err[0]), -EBADMSG, &err[0], "not signed with its own key");
    set_request(&asker, other_curve, other_curve);
    refuse(join(fixture, &asker, &got, &err[1]), -EBADMSG, &err[1], "P-256");
    set_request(&asker, rsa, rsa);
    refuse(join(fixture, &asker, &got, &err[2]), -EBADMSG, &err[2], "P-256");
    asker.join.request = good;
    asker.join.request.request_bytes++; /* a byte too many after it */
    refuse(join(fixture, &asker, &got, &err[3]), -EBADMSG, &err[3], "is not one");
    asker.join.request.request_bytes = 3;
    refuse(join(fixture, &asker, &got, &err[4]), -EBADMSG, &err[4], "is not one");
    asker.join.request = good;
    assert_int_equal(join(fixture, &asker, &got, NULL), 0);
    assert_int_equal(ERR_peek_error(), 0);
}

struct racer {
    const struct fixture *fixture;
    const struct asker *asker;
    int rc;
};

static void *race(void *arg)
{
    struct racer *racer = arg;
    struct blx_certificate_message got;
    char agent_id[BLX_NAME_BYTES];
    racer->rc = blx_pki_join(racer->fixture->dir, &racer->asker->join, agent_id, &got, NULL);
    return NULL;
}

static void token_lets_one_of_many_at_once_win(void **state)
{
    enum { RACERS = 8 };
    const struct fixture *fixture = *state;
    ASKER asker = asker_of(fixture, "web1", 60);
    struct racer racers[RACERS];
    pthread_t threads[RACERS];
    unsigned winners = 0;
    for (size_t i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.fixture = fixture, .asker = &asker};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (size_t i = 0; i < RACERS; i++) {
        pthread_join(threads[i], NULL);
        winners += racers[i].rc == 0;
        assert_true(racers[i].rc == 0 || racers[i].rc == -EACCES);
    }
    assert_int_equal(winners, 1);
}

static bool looks_revoked(const struct fixture *fixture, const char *agent_id)
{
    bool revoked = false;
    assert_int_equal(blx_pki_look_revoked(fixture->dir, agent_id, &revoked, NULL), 0);
    return revoked;
}

static void revocation_ends_what_was_signed_before_and_nothing_later(void **state)
{
    const struct fixture *fixture = *state;
    ASKER asker = asker_of(fixture, "web1", 60);
    struct blx_certificate_message old, renewed, new;
    char old_serial[BLX_SERIAL_TEXT_BYTES], new_serial[BLX_SERIAL_TEXT_BYTES];
    struct blx_error err[2] = {{0}};
    assert_int_equal(join(fixture, &asker, &old, NULL), 0);
    serial_of(&old, old_serial);
    assert_int_equal(blx_pki_check_revoked(fixture->dir, "web1", old_serial, NULL), 0);
    ASKER open_token = asker_of(fixture, "web1", 60);
    assert_int_equal(blx_pki_revoke(fixture->dir, "web1", NULL), 0);
    refuse(blx_pki_check_revoked(fixture->dir, "web1", old_serial, &err[0]), -EACCES, &err[0],
           "is revoked");
    assert_int_equal(blx_pki_check_revoked(fixture->dir, "web10", old_serial, NULL), 0);
    assert_true(looks_revoked(fixture, "web1"));
    assert_false(looks_revoked(fixture, "web10"));
    /* Neither the token that was open nor a renewal gets around the revocation. */
    assert_int_equal(join(fixture, &open_token, &new, NULL), -EACCES);
    refuse(blx_pki_renew(fixture->dir,
                         &(struct blx_pki_renewal){
                             .agent_id = "web1", .serial = old_serial, .signer = BLX_PKI_NEW_CA},
                         &asker.join.request, &renewed, &err[1]),
           -EACCES, &err[1], "is revoked");
    ASKER again = asker_of(fixture, "web1", 60);
    assert_int_equal(join(fixture, &again, &new, NULL), 0);
    serial_of(&new, new_serial);
    assert_false(looks_revoked(fixture, "web1"));
    assert_int_equal(blx_pki_check_revoked(fixture->dir, "web1", new_serial, NULL), 0);
    assert_int_equal(blx_pki_check_revoked(fixture->dir, "web1", old_serial, NULL), -EACCES);
    assert_int_equal(blx_pki_renew(fixture->dir,
                                   &(struct blx_pki_renewal){.agent_id = "web1",
                                                             .serial = new_serial,
                                                             .signer = BLX_PKI_NEW_CA},
                                   &asker.join.request, &renewed, NULL),
                     0);
    serial_of(&renewed, old_serial);
    assert_int_equal(blx_pki_check_revoked(fixture->dir, "web1", old_serial, NULL), 0);
    assert_int_equal(blx_pki_revoke(fixture->dir, "web1", NULL), 0);
    assert_int_equal(blx_pki_check_revoked(fixture->dir, "web1", old_serial, NULL), -EACCES);
    assert_int_equal(blx_pki_check_revoked(fixture->dir, "web1", new_serial, NULL), -EACCES);
}

static void revocation_touches_no_agent_with_a_name_like_it(void **state)
{
    const struct fixture *fixture = *state;
    static const char *const others[] = {"web1.tmp", "web1.partial", "web1.new", "web1.1"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_int_equal(blx_pki_revoke(fixture->dir, others[i], NULL), 0);
    assert_int_equal(blx_pki_revoke(fixture->dir, "web1", NULL), 0);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_true(looks_revoked(fixture, others[i]));
    assert_true(looks_revoked(fixture, "web1"));
}

static void revocation_that_is_damaged_refuses(void **state)
{
    const struct fixture *fixture = *state;
    struct blx_error err[2] = {{0}};
    bool revoked;
    assert_int_equal(blx_pki_revoke(fixture->dir, "web1", NULL), 0);
    assert_int_equal(truncate(fixture_path(fixture, "pki/revoked/web1"), 5), 0);
    refuse(blx_pki_check_revoked(fixture->dir, "web1", "77", &err[0]), -EBADMSG, &err[0],
           "damaged");
    refuse(blx_pki_look_revoked(fixture->dir, "web1", &revoked, &err[1]), -EBADMSG, &err[1],
           "damaged");
}

static void revocation_needs_no_ca_and_refuses_what_is_no_id(void **state)
{
    const struct fixture *fixture = *state;
    assert_int_equal(blx_pki_revoke(fixture->dir, "web1", NULL), 0);
    assert_int_not_equal(access(fixture_path(fixture, "pki/ca.pem"), F_OK), 0);
    assert_int_equal(blx_pki_revoke(fixture->dir, "../web1", NULL), -EINVAL);
    assert_int_equal(blx_pki_check_revoked(fixture->dir, "../web1", "77", NULL), -EINVAL);
}

/* The bundle on the disk as it would be after the renewal of `asker`'s certificate. */
static void renewal_replaces_the_bundle_by_one_that_works(void **state)
{
    const struct fixture *fixture = *state;
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *old = fixture_client(fixture, "web1");
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *new = NULL;
    const char *bundle = fixture_path(fixture, "web1.pem");
    BLX_CLEANUP_X509 X509 *cert = NULL;
    BLX_CLEANUP_KEY EVP_PKEY *key = NULL;
    struct blx_request_message request;
    struct blx_certificate_message got;
    uint8_t fingerprint[BLX_FINGERPRINT_BYTES];
    char serial[BLX_SERIAL_TEXT_BYTES];
    assert_int_equal(blx_pem_read_cert(bundle, &cert, NULL), 0);
    assert_int_equal(blx_certificate_serial(cert, serial, NULL), 0);
    assert_int_equal(blx_renew_request(&key, &request, NULL), 0);
    assert_int_equal(blx_pki_renew(fixture->dir,
                                   &(struct blx_pki_renewal){.agent_id = "web1",
                                                             .serial = serial,
                                                             .signer = BLX_PKI_NEW_CA},
                                   &request, &got, NULL),
                     0);
    assert_int_equal(blx_renew_accept(key, &got, NULL, old, bundle, fingerprint, NULL), 0);
    struct stat st;
    assert_int_equal(stat(bundle, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    const struct blx_tls_files files = {.ca = bundle, .cert = bundle, .key = bundle};
    assert_int_equal(blx_tls_context_new_client(&files, &new, NULL), 0);
    assert_in_range(blx_tls_context_days_left(new), 364, 365);
}

static void renewal_takes_no_certificate_of_another_name_key_or_ca(void **state)
{
    const struct fixture *fixture = *state;
    struct fixture *stranger = NULL;
    fixture_setup((void **)&stranger);
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *own = fixture_client(fixture, "web1");
    const char *bundle = fixture_path(fixture, "web1.pem");
    BLX_CLEANUP_KEY EVP_PKEY *key = NULL;
    BLX_CLEANUP_KEY EVP_PKEY *other_key = EVP_EC_gen("P-256");
    struct blx_request_message request;
    struct blx_certificate_message got = {.cert_bytes = 0};
    uint8_t fingerprint[BLX_FINGERPRINT_BYTES];
    struct blx_error err[4] = {{0}};
    assert_int_equal(blx_renew_request(&key, &request, NULL), 0);
    assert_int_equal(blx_pki_renew(fixture->dir,
                                   &(struct blx_pki_renewal){.agent_id = "web10",
                                                             .serial = "77",
                                                             .signer = BLX_PKI_NEW_CA},
                                   &request, &got, NULL),
                     0);
    refuse(blx_renew_accept(key, &got, NULL, own, bundle, fingerprint, &err[0]), -EBADMSG, &err[0],
           "for 'web10', not for 'web1'");
    assert_int_equal(
        blx_pki_renew(
            stranger->dir,
            &(struct blx_pki_renewal){.agent_id = "web1", .serial = "77", .signer = BLX_PKI_NEW_CA},
            &request, &got, NULL),
        0);
    refuse(blx_renew_accept(key, &got, NULL, own, bundle, fingerprint, &err[1]), -EBADMSG, &err[1],
           "does not trust");
    assert_int_equal(
        blx_pki_renew(
            fixture->dir,
            &(struct blx_pki_renewal){.agent_id = "web1", .serial = "77", .signer = BLX_PKI_NEW_CA},
            &request, &got, NULL),
        0);
    refuse(blx_renew_accept(other_key, &got, NULL, own, bundle, fingerprint, &err[2]), -EBADMSG,
           &err[2], "another certificate");
    got.cert[got.cert_bytes / 2] ^= 1;
    refuse(blx_renew_accept(key, &got, NULL, own, bundle, fingerprint, &err[3]), -EBADMSG, &err[3],
           "another certificate");
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *still = NULL;
    const struct blx_tls_files files = {.ca = bundle, .cert = bundle, .key = bundle};
    assert_int_equal(blx_tls_context_new_client(&files, &still, NULL), 0);
    assert_true(blx_tls_context_days_left(still) > 3000);
    fixture_teardown((void **)&stranger);
}

/* A third of 90 days is 30. */
static void certificate_ages_in_its_last_third(void **state)
{
    (void)state;
    BLX_CLEANUP_KEY EVP_PKEY *key = EVP_EC_gen("P-256");
    BLX_CLEANUP_X509 X509 *cert = NULL;
    assert_int_equal(blx_certificate_make(BLX_CERTIFICATE_CA, "x", key, NULL, key, 31, &cert, NULL),
                     0);
    X509_time_adj_ex(X509_getm_notBefore(cert), -59, 0, NULL);
    assert_false(blx_certificate_is_ageing(cert));
    X509_time_adj_ex(X509_getm_notBefore(cert), -64, 0, NULL);
    assert_true(blx_certificate_is_ageing(cert));
    X509_time_adj_ex(X509_getm_notAfter(cert), -1, 0, NULL);
    assert_true(blx_certificate_is_ageing(cert));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(token_gives_a_certificate_in_the_name_that_it_was_made_for),
        TEST(token_is_kept_as_a_digest_alone),
        TEST(token_works_once),
        TEST(token_expires),
        TEST(token_that_nobody_made_is_refused),
        TEST(token_that_is_newer_replaces_the_agents_older_one),
        TEST(request_is_taken_for_its_key_alone),
        TEST(request_that_is_not_right_is_refused_and_costs_no_token),
        TEST(token_lets_one_of_many_at_once_win),
        TEST(revocation_ends_what_was_signed_before_and_nothing_later),
        TEST(revocation_touches_no_agent_with_a_name_like_it),
        TEST(revocation_that_is_damaged_refuses),
        TEST(revocation_needs_no_ca_and_refuses_what_is_no_id),
        TEST(renewal_replaces_the_bundle_by_one_that_works),
        TEST(renewal_takes_no_certificate_of_another_name_key_or_ca),
        TEST(certificate_ages_in_its_last_third),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
