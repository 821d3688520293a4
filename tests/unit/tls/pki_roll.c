/* SPDX-License-Identifier: Apache-2.0 */
/* The roll-over of the CA: who signs what, what an agent believes, and what a crash leaves. */
#include <errno.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "fixture.h"
#include "tls/certificate_private.h"
#include "tls/join.h"
#include "tls/pem_private.h"
#include "tls/pki.h"
#include "tls/pki_roll.h"

static bool is_there(const struct fixture *fixture, const char *name)
{
    return access(fixture_path(fixture, name), F_OK) == 0;
}

static X509 *read_cert(const struct fixture *fixture, const char *name)
{
    X509 *cert = NULL;
    assert_int_equal(blx_pem_read_cert(fixture_path(fixture, name), &cert, NULL), 0);
    return cert;
}

static void load(const struct fixture *fixture, struct blx_pki_server *server)
{
    struct blx_error err = {0};
    if (blx_pki_load_server(fixture->dir, server, &err) < 0)
        fail_msg("%s", err.message);
}

static void begin(const struct fixture *fixture)
{
    struct blx_error err = {0};
    if (blx_pki_roll_begin(fixture->dir, &err) < 0)
        fail_msg("%s", err.message);
}

/* How many certificates the file has. */
static int certs_in(const char *path)
{
    BLX_CLEANUP_X509_STACK struct stack_st_X509 *certs = NULL;
    assert_int_equal(blx_pem_read_certs(path, &certs, NULL), 0);
    return sk_X509_num(certs);
}

/* An agent that was enrolled, with a request of its own. */
struct mover {
    char bundle[256];
    struct blx_tls_context *tls;
    EVP_PKEY *key;
    struct blx_request_message request;
};

static void cleanup_mover(struct mover *mover)
{
    blx_tls_context_free(mover->tls);
    EVP_PKEY_free(mover->key);
}
#define MOVER BLX_CLEANUP(cleanup_mover) struct mover

static struct mover mover_of(const struct fixture *fixture, const char *id)
{
    struct mover mover = {.tls = fixture_client(fixture, id)};
    snprintf(mover.bundle, sizeof(mover.bundle), "%s/%s.pem", fixture->dir, id);
    assert_int_equal(blx_renew_request(&mover.key, &mover.request, NULL), 0);
    return mover;
}

static void reload(struct mover *mover)
{
    const struct blx_tls_files files = {
        .ca = mover->bundle, .cert = mover->bundle, .key = mover->bundle};
    blx_tls_context_free(mover->tls);
    mover->tls = NULL;
    assert_int_equal(blx_tls_context_new_client(&files, &mover->tls, NULL), 0);
}

static enum blx_renew_need need_of(const struct mover *mover, const struct blx_pki_server *server)
{
    enum blx_renew_need need = BLX_RENEW_NOT_NEEDED;
    struct blx_error err = {0};
    if (blx_renew_consider(mover->tls, &server->authority, &need, &err) < 0)
        fail_msg("%s", err.message);
    return need;
}

static void renew(const struct fixture *fixture, struct mover *mover,
                  const struct blx_pki_server *server)
{
    struct blx_certificate_message got;
    uint8_t fingerprint[BLX_FINGERPRINT_BYTES];
    struct blx_error err = {0};
    assert_int_equal(
        blx_pki_renew(
            fixture->dir,
            &(struct blx_pki_renewal){.agent_id = "web1", .serial = "77", .signer = BLX_PKI_NEW_CA},
            &mover->request, &got, NULL),
        0);
    if (blx_renew_accept(mover->key, &got, &server->authority, mover->tls, mover->bundle,
                         fingerprint, &err) < 0)
        fail_msg("%s", err.message);
    assert_memory_equal(fingerprint, server->ca_fingerprint, sizeof(fingerprint));
    reload(mover);
}

static bool connects(const struct fixture *fixture, struct blx_tls_context *server,
                     struct blx_tls_context *client)
{
    struct acceptor acceptor = {.conn = NULL};
    struct blx_conn *conn = NULL;
    acceptor_start(&acceptor, fixture, server);
    int rc = blx_tls_connect(client, fixture->address, 10000, &conn, NULL);
    acceptor_join(&acceptor);
    blx_conn_free(conn);
    blx_conn_free(acceptor.conn);
    return rc == 0 && acceptor.rc == 0;
}

static void agent_moves_while_both_cas_are_trusted(void **state)
{
    const struct fixture *fixture = *state;
    MOVER mover = mover_of(fixture, "web1"), stayer = mover_of(fixture, "web2");
    struct blx_pki_server before, during, after;
    load(fixture, &before);
    assert_int_equal(before.authority.proof_bytes, 0);
    assert_int_equal(need_of(&mover, &before), BLX_RENEW_NOT_NEEDED);

    begin(fixture);
    load(fixture, &during);
    assert_true(during.authority.proof_bytes > 0);
    assert_memory_not_equal(before.ca_fingerprint, during.ca_fingerprint, BLX_FINGERPRINT_BYTES);
    assert_int_equal(need_of(&mover, &during), BLX_RENEW_NEEDED);
    renew(fixture, &mover, &during);
    assert_int_equal(certs_in(mover.bundle), 3);
    assert_int_equal(need_of(&mover, &during), BLX_RENEW_NOT_NEEDED);
    assert_true(connects(fixture, during.tls, mover.tls));
    assert_true(connects(fixture, during.tls, stayer.tls));

    assert_int_equal(blx_pki_roll_retire(fixture->dir, NULL), 0);
    load(fixture, &after);
    assert_int_equal(after.authority.proof_bytes, 0);
    assert_memory_equal(after.ca_fingerprint, during.ca_fingerprint, BLX_FINGERPRINT_BYTES);
    assert_true(connects(fixture, after.tls, mover.tls));
    assert_false(connects(fixture, after.tls, stayer.tls));
    assert_int_equal(need_of(&mover, &after), BLX_RENEW_NEEDED); /* it trusts the old one still */
    renew(fixture, &mover, &after);
    assert_int_equal(certs_in(mover.bundle), 2);
    assert_int_equal(need_of(&mover, &after), BLX_RENEW_NOT_NEEDED);
    blx_tls_context_free(before.tls);
    blx_tls_context_free(during.tls);
    blx_tls_context_free(after.tls);
}

static void refuse(const struct mover *mover, const struct blx_authority_message *authority,
                   int wanted, const char *part)
{
    enum blx_renew_need need = BLX_RENEW_NOT_NEEDED;
    struct blx_error err = {0};
    int rc = blx_renew_consider(mover->tls, authority, &need, &err);
    if (rc != wanted || strstr(err.message, part) == NULL)
        fail_msg("%d '%s', not %d '%s'", rc, err.message, wanted, part);
}

static void agent_believes_no_ca_without_a_proof(void **state)
{
    const struct fixture *fixture = *state;
    struct fixture *stranger = NULL;
    fixture_setup((void **)&stranger);
    MOVER mover = mover_of(fixture, "web1");
    struct blx_pki_server own, theirs;
    struct blx_certificate_message got;
    uint8_t fingerprint[BLX_FINGERPRINT_BYTES];
    begin(fixture);
    load(fixture, &own);
    assert_int_equal(blx_pki_ensure(stranger->dir, NULL), 0);
    begin(stranger);
    load(stranger, &theirs);

    /* Another site's, the own one's proof beside another key, no proof, a leaf, nonsense. */
    refuse(&mover, &theirs.authority, -EACCES, "join again");
    struct blx_authority_message mixed = theirs.authority;
    mixed.proof_bytes = own.authority.proof_bytes;
    memcpy(mixed.proof, own.authority.proof, sizeof(mixed.proof));
    refuse(&mover, &mixed, -EACCES, "join again");
    mixed = own.authority;
    mixed.proof_bytes = 0;
    refuse(&mover, &mixed, -EACCES, "join again");
    BLX_CLEANUP_X509 X509 *leaf = read_cert(fixture, "pki/dispatcher.pem");
    assert_int_equal(blx_certificate_put(leaf, mixed.ca, &mixed.ca_bytes, NULL), 0);
    refuse(&mover, &mixed, -EBADMSG, "that is none");
    mixed = own.authority;
    mixed.ca[mixed.ca_bytes - 5] ^= 1; /* of its own signature */
    refuse(&mover, &mixed, -EBADMSG, "that is none");

    /* And no certificate of such a CA, whatever the dispatcher has told before. */
    assert_int_equal(
        blx_pki_renew(
            stranger->dir,
            &(struct blx_pki_renewal){.agent_id = "web1", .serial = "77", .signer = BLX_PKI_NEW_CA},
            &mover.request, &got, NULL),
        0);
    assert_int_equal(blx_renew_accept(mover.key, &got, &theirs.authority, mover.tls, mover.bundle,
                                      fingerprint, NULL),
                     -EBADMSG);
    assert_int_equal(blx_renew_accept(mover.key, &got, &own.authority, mover.tls, mover.bundle,
                                      fingerprint, NULL),
                     -EBADMSG);
    assert_int_equal(
        blx_renew_accept(mover.key, &got, NULL, mover.tls, mover.bundle, fingerprint, NULL),
        -EBADMSG);
    /* The successor's own certificate, which was not told of. */
    assert_int_equal(
        blx_pki_renew(
            fixture->dir,
            &(struct blx_pki_renewal){.agent_id = "web1", .serial = "77", .signer = BLX_PKI_NEW_CA},
            &mover.request, &got, NULL),
        0);
    assert_int_equal(
        blx_renew_accept(mover.key, &got, NULL, mover.tls, mover.bundle, fingerprint, NULL),
        -EBADMSG);
    assert_int_equal(certs_in(mover.bundle), 2);
    blx_tls_context_free(own.tls);
    blx_tls_context_free(theirs.tls);
    fixture_teardown((void **)&stranger);
}

static void proof_makes_no_chain(void **state)
{
    const struct fixture *fixture = *state;
    char command[1024];
    begin(fixture);
    snprintf(command, sizeof(command),
             "openssl verify -CAfile '%s/pki/ca.pem' -untrusted '%s/pki/next/proof.pem' "
             "'%s/pki/next/dispatcher.pem' >/dev/null 2>&1",
             fixture->dir, fixture->dir, fixture->dir);
    assert_int_not_equal(system(command), 0);
    snprintf(command, sizeof(command),
             "openssl verify -CAfile '%s/pki/next/ca.pem' '%s/pki/next/dispatcher.pem' "
             ">/dev/null 2>&1",
             fixture->dir, fixture->dir);
    assert_int_equal(system(command), 0);
}

static void roll_over_has_one_beginning_and_one_end(void **state)
{
    const struct fixture *fixture = *state;
    struct blx_error err[3] = {{0}};
    assert_int_equal(blx_pki_ensure(fixture->dir, NULL), 0);
    assert_int_equal(blx_pki_roll_retire(fixture->dir, &err[0]), -ENOENT);
    assert_non_null(strstr(err[0].message, "renew-ca"));
    begin(fixture);
    assert_int_equal(blx_pki_roll_begin(fixture->dir, &err[1]), -EEXIST);
    assert_non_null(strstr(err[1].message, "retire-ca"));
    assert_int_equal(blx_pki_roll_retire(fixture->dir, NULL), 0);
    assert_false(is_there(fixture, "pki/next") || is_there(fixture, "pki/retiring"));
    begin(fixture);
    assert_int_equal(rename(fixture_path(fixture, "pki/ca.key"), fixture_path(fixture, "k")), 0);
    assert_int_equal(blx_pki_roll_retire(fixture->dir, NULL), 0);
    assert_true(is_there(fixture, "pki/ca.key"));
    /* A successor's key that is kept elsewhere: the old one's does not stay in its place. */
    begin(fixture);
    assert_int_equal(rename(fixture_path(fixture, "pki/next/ca.key"), fixture_path(fixture, "k")),
                     0);
    assert_int_equal(blx_pki_roll_retire(fixture->dir, NULL), 0);
    assert_false(is_there(fixture, "pki/ca.key"));
    assert_int_equal(blx_pki_roll_begin(fixture->dir, &err[2]), -ENOENT);
    assert_non_null(strstr(err[2].message, "ca.key"));
}

static void notes_say_who_has_moved(void **state)
{
    const struct fixture *fixture = *state;
    enum blx_pki_place place = BLX_PKI_MOVED;
    assert_int_equal(blx_pki_ensure(fixture->dir, NULL), 0);
    assert_int_equal(blx_pki_roll_note(fixture->dir, "web1", BLX_PKI_MOVED, NULL), 0);
    assert_int_equal(blx_pki_roll_look(fixture->dir, "web1", &place, NULL), 0);
    assert_int_equal(place, BLX_PKI_STAYED); /* there is nowhere to move to */
    begin(fixture);
    assert_int_equal(blx_pki_roll_note(fixture->dir, "web1", BLX_PKI_MOVED, NULL), 0);
    assert_int_equal(blx_pki_roll_note(fixture->dir, "web1", BLX_PKI_MOVED, NULL), 0);
    assert_int_equal(blx_pki_roll_look(fixture->dir, "web1", &place, NULL), 0);
    assert_int_equal(place, BLX_PKI_MOVED);
    assert_int_equal(blx_pki_roll_look(fixture->dir, "web10", &place, NULL), 0);
    assert_int_equal(place, BLX_PKI_STAYED);
    assert_int_equal(blx_pki_roll_note(fixture->dir, "web1", BLX_PKI_STAYED, NULL), 0);
    assert_int_equal(blx_pki_roll_look(fixture->dir, "web1", &place, NULL), 0);
    assert_int_equal(place, BLX_PKI_STAYED);
    assert_int_equal(blx_pki_roll_note(fixture->dir, "web1", BLX_PKI_MOVED, NULL), 0);
    assert_int_equal(blx_pki_roll_note(fixture->dir, "../web1", BLX_PKI_MOVED, NULL), -EINVAL);
    assert_int_equal(blx_pki_roll_retire(fixture->dir, NULL), 0);
    begin(fixture);
    assert_int_equal(blx_pki_roll_look(fixture->dir, "web1", &place, NULL), 0);
    assert_int_equal(place, BLX_PKI_STAYED);
}

/* Every rename and unlink, in their order, is the last thing before a crash. */
static int steps_left;

static int step(int rc)
{
    if (steps_left == 0) {
        errno = EIO;
        return -1;
    }
    steps_left--;
    return rc;
}

static int step_rename(const char *from, const char *to)
{
    return step(0) < 0 ? -1 : blx_sys_real.rename(from, to);
}

static int step_unlink(const char *path)
{
    return step(0) < 0 ? -1 : blx_sys_real.unlink(path);
}

static int with_steps(int (*run)(const char *data_dir, struct blx_error *err),
                      const struct fixture *fixture, int steps)
{
    struct blx_sys stepping = blx_sys_real;
    stepping.rename = step_rename;
    stepping.unlink = step_unlink;
    steps_left = steps;
    blx_sys = &stepping;
    int rc = run(fixture->dir, NULL);
    blx_sys = &blx_sys_real;
    return rc;
}

static void crash_of_a_retirement_leaves_one_ca(void **state)
{
    const struct fixture *fixture = *state;
    int steps = 0;
    for (int rc = -1; rc < 0; steps++) {
        struct fixture *site = NULL;
        fixture_setup((void **)&site);
        MOVER mover = mover_of(site, "web1");
        struct blx_pki_server during, after;
        begin(site);
        assert_int_equal(blx_pki_roll_note(site->dir, "web2", BLX_PKI_MOVED, NULL), 0);
        load(site, &during);
        renew(site, &mover, &during);
        rc = with_steps(blx_pki_roll_retire, site, steps);
        load(site, &after); /* ends what was begun */
        bool retired = after.authority.proof_bytes == 0;
        assert_int_equal(retired, steps > 0);
        assert_memory_equal(after.ca_fingerprint, during.ca_fingerprint, BLX_FINGERPRINT_BYTES);
        assert_true(connects(site, after.tls, mover.tls));
        assert_int_equal(is_there(site, "pki/next"), !retired);
        assert_false(is_there(site, "pki/retiring"));
        blx_tls_context_free(during.tls);
        blx_tls_context_free(after.tls);
        fixture_teardown((void **)&site);
    }
    assert_true(steps > 6);
    (void)fixture;
}

static void crash_of_a_beginning_leaves_the_ca_or_a_successor(void **state)
{
    (void)state;
    int steps = 0;
    for (int rc = -1; rc < 0; steps++) {
        struct fixture *site = NULL;
        fixture_setup((void **)&site);
        MOVER mover = mover_of(site, "web1");
        struct blx_pki_server server;
        rc = with_steps(blx_pki_roll_begin, site, steps);
        load(site, &server);
        assert_int_equal(server.authority.proof_bytes > 0, rc == 0);
        assert_true(connects(site, server.tls, mover.tls));
        blx_tls_context_free(server.tls);
        if (rc < 0)
            begin(site);
        load(site, &server);
        renew(site, &mover, &server);
        blx_tls_context_free(server.tls);
        fixture_teardown((void **)&site);
    }
    assert_true(steps > 6);
}

static void crash_of_a_dispatchers_renewal_leaves_one_that_works(void **state)
{
    (void)state;
    int steps = 0;
    for (int rc = -1; rc < 0; steps++) {
        struct fixture *site = NULL;
        fixture_setup((void **)&site);
        MOVER mover = mover_of(site, "web1");
        struct blx_pki_server server;
        rc = with_steps(blx_pki_renew_dispatcher, site, steps);
        load(site, &server);
        assert_true(connects(site, server.tls, mover.tls));
        blx_tls_context_free(server.tls);
        fixture_teardown((void **)&site);
    }
    assert_true(steps > 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(agent_moves_while_both_cas_are_trusted),
        TEST(agent_believes_no_ca_without_a_proof),
        TEST(proof_makes_no_chain),
        TEST(roll_over_has_one_beginning_and_one_end),
        TEST(notes_say_who_has_moved),
        TEST(crash_of_a_retirement_leaves_one_ca),
        TEST(crash_of_a_beginning_leaves_the_ca_or_a_successor),
        TEST(crash_of_a_dispatchers_renewal_leaves_one_that_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
