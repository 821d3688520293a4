/* SPDX-License-Identifier: Apache-2.0 */
/* Joining, renewal and revocation, over real connections. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/units.h"
#include "dispatcher/address.h"
#include "fake_agent.h"
#include "tls/join.h"
#include "tls/pki.h"

static int setup(void **state)
{
    *state = fake_site_start(DISPATCHER_HEARTBEAT_MS);
    return 0;
}

static int teardown(void **state)
{
    fake_site_stop(*state);
    return 0;
}

static void make_token(const struct fake_site *site, const char *agent_id,
                       char text[BLX_TOKEN_TEXT_BYTES])
{
    struct blx_error err = {0};
    if (blx_pki_make_token(site->data_dir, agent_id, 60, text, &err) < 0)
        fail_msg("%s", err.message);
}

/* Joins into DIR/NAME.pem. */
static int join(const struct fake_site *site, const char *token, const char *name, bool replace,
                struct blx_error *err)
{
    char path[128], agent_id[BLX_NAME_BYTES];
    snprintf(path, sizeof(path), "%s/%s.pem", site->dir, name);
    const struct blx_join how = {
        .address = site->address, .token = token, .credentials = path, .replace = replace};
    int rc = blx_join(&how, agent_id, err);
    if (rc == 0)
        assert_string_equal(agent_id, name);
    return rc;
}

static void refuse(int rc, int wanted, const struct blx_error *err, const char *part)
{
    if (rc != wanted || strstr(err->message, part) == NULL)
        fail_msg("%d '%s', not %d '%s'", rc, err->message, wanted, part);
}

static void join_gives_credentials_that_work(void **state)
{
    struct fake_site *site = *state;
    char token[BLX_TOKEN_TEXT_BYTES];
    struct blx_error err = {0};
    make_token(site, "web2", token);
    if (join(site, token, "web2", false, &err) < 0)
        fail_msg("%s", err.message);
    char path[128];
    struct stat st;
    snprintf(path, sizeof(path), "%s/web2.pem", site->dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    struct fake_agent *agent = fake_agent_online(site, "web2");
    fake_agent_close(agent);
    /* The join itself has made nothing in the store. */
    assert_false(blx_agent_store_exists(blx_store_agent(&site->store, "web10")));
}

static void join_leaves_an_existing_file_and_the_token_alone(void **state)
{
    struct fake_site *site = *state;
    char token[BLX_TOKEN_TEXT_BYTES];
    struct blx_error err[2] = {{0}};
    make_token(site, "web1", token);
    refuse(join(site, token, "web1", false, &err[0]), -EEXIST, &err[0], "--force");
    assert_int_equal(join(site, token, "web1", true, NULL), 0);
    refuse(join(site, token, "web1", true, &err[1]), -EACCES, &err[1], "used already");
}

static void join_trusts_no_dispatcher_but_the_tokens(void **state)
{
    struct fake_site *site = *state;
    struct fake_site *other = fake_site_start(DISPATCHER_HEARTBEAT_MS);
    char token[BLX_TOKEN_TEXT_BYTES];
    struct blx_error err = {0};
    make_token(other, "web2", token);
    refuse(join(site, token, "web2", false, &err), -EACCES, &err,
           "not the dispatcher that made the token");
    /* The wrong dispatcher has not seen it, and the right one takes it. */
    assert_int_equal(join(other, token, "web2", false, NULL), 0);
    fake_site_stop(other);
}

/* The dispatcher's TLS with the files of an agent: openssl's own server, which does not check
 * its peer. */
static FILE *start_impostor(const struct fake_site *site, const char *port)
{
    char command[512];
    snprintf(
        command, sizeof(command),
        "exec timeout 30 openssl s_server -accept 127.0.0.1:%s -cert %s/web10.pem -key "
        "%s/web10.pem -cert_chain %s/pki/ca.pem -tls1_3 -alpn blxrep-join/1 -rev -naccept 1 2>&1",
        port, site->dir, site->dir, site->data_dir);
    return popen(command, "re");
}

static void free_port(char port[8], char address[32])
{
    char text[BLX_TEXT_BYTES];
    int listener = blx_address_listen("127.0.0.1:0", NULL);
    assert_true(listener >= 0);
    assert_int_equal(dispatcher_address_format_local(listener, text, NULL), 0);
    close(listener);
    snprintf(port, 8, "%s", strrchr(text, ':') + 1);
    snprintf(address, 32, "127.0.0.1:%s", port);
}

/* The right CA, but an agent's certificate: an enrolled agent must not pass as the dispatcher. */
static void join_trusts_no_agent_of_the_same_ca(void **state)
{
    struct fake_site *site = *state;
    char token[BLX_TOKEN_TEXT_BYTES], port[8], address[32], path[128], agent_id[BLX_NAME_BYTES];
    char line[256];
    struct blx_error err = {0};
    make_token(site, "web2", token);
    free_port(port, address);
    FILE *impostor = start_impostor(site, port);
    assert_non_null(impostor);
    while (fgets(line, sizeof(line), impostor) != NULL && strncmp(line, "ACCEPT", 6) != 0)
        ;
    snprintf(path, sizeof(path), "%s/web2.pem", site->dir);
    const struct blx_join how = {.address = address, .token = token, .credentials = path};
    refuse(blx_join(&how, agent_id, &err), -EACCES, &err, "cannot act as dispatcher");
    pclose(impostor);
    assert_int_equal(join(site, token, "web2", false, NULL), 0);
}

static void join_of_a_site_with_its_own_certificates_is_refused(void **state)
{
    struct fake_site *site = *state;
    char token[BLX_TOKEN_TEXT_BYTES];
    struct blx_error err = {0};
    make_token(site, "web2", token);
    struct blx_tls_context *ours = site->dispatcher.identity.tls;
    char ca[128], cert[128], key[128];
    snprintf(ca, sizeof(ca), "%s/pki/ca.pem", site->data_dir);
    snprintf(cert, sizeof(cert), "%s/pki/dispatcher.pem", site->data_dir);
    snprintf(key, sizeof(key), "%s/pki/dispatcher.key", site->data_dir);
    const struct blx_tls_files files = {.ca = ca, .cert = cert, .key = key};
    struct blx_tls_context *plain = NULL;
    assert_int_equal(blx_tls_context_new_server(&files, &plain, NULL), 0);
    site->dispatcher.identity.tls = plain;
    refuse(join(site, token, "web2", false, &err), -EPROTO, &err, "the site's own certificates");
    site->dispatcher.identity.tls = ours;
    assert_int_equal(join(site, token, "web2", false, NULL), 0);
    blx_tls_context_free(plain);
}

/* A connection as a server that joins has it, with a token's fingerprint. */
static struct blx_conn *connect_to_join(const struct fake_site *site)
{
    char text[BLX_TOKEN_TEXT_BYTES];
    struct blx_token token;
    struct blx_tls_context *tls = NULL;
    struct blx_conn *conn = NULL;
    struct blx_error err = {0};
    make_token(site, "web2", text);
    assert_int_equal(blx_token_parse(text, &token, NULL), 0);
    assert_int_equal(blx_tls_context_new_bearer(token.ca_fingerprint, BLX_TLS_JOIN, &tls, NULL), 0);
    if (blx_tls_connect(tls, site->address, 10000, &conn, &err) < 0)
        fail_msg("%s", err.message);
    blx_tls_context_free(tls);
    return conn;
}

static void expect_error(struct blx_conn *conn, const char *part)
{
    struct blx_message message = {.type = BLX_MESSAGE_PING};
    struct blx_error err = {0};
    if (blx_conn_recv(conn, FAKE_RECV_MS, &message, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(message.type, BLX_MESSAGE_ERROR);
    if (strstr(message.error.text, part) == NULL)
        fail_msg("'%s' does not say '%s'", message.error.text, part);
    blx_conn_free(conn);
}

static void join_connection_takes_nothing_but_a_join(void **state)
{
    struct fake_site *site = *state;
    struct blx_conn *conn = connect_to_join(site);
    const struct blx_message hello = {.type = BLX_MESSAGE_HELLO,
                                      .hello = {.version_min = 1,
                                                .version_max = 1,
                                                .volume_count = 1,
                                                .agent_id = "web1",
                                                .software = "a stranger"}};
    assert_int_equal(blx_conn_send(conn, &hello, NULL), 0);
    expect_error(conn, "expected JOIN, got HELLO");
    assert_false(blx_agent_store_exists(blx_store_agent(&site->store, "web1")));
}

/* A frame's header alone must not have the dispatcher make room for a megabyte. */
static void join_connection_takes_no_large_message(void **state)
{
    struct fake_site *site = *state;
    static uint8_t bytes[100000];
    struct blx_conn *conn = connect_to_join(site);
    const struct blx_message frame = {.type = BLX_MESSAGE_FRAME,
                                      .frame = {.bytes = bytes, .frame_bytes = sizeof(bytes)}};
    blx_conn_send(conn, &frame, NULL);
    expect_error(conn, "too large here");
}

static void join_that_says_nothing_is_ended_soon(void **state)
{
    struct blx_conn *conn = connect_to_join(*state);
    uint64_t begun_ns = blx_clock_ns();
    expect_error(conn, "did not answer in time");
    uint64_t waited_ms = (blx_clock_ns() - begun_ns) / 1000000;
    assert_in_range(waited_ms, DISPATCHER_JOIN_MS - 1000, DISPATCHER_JOIN_MS + 5000);
}

static void hello_with_renewal(struct fake_agent *agent)
{
    const struct blx_message hello = {
        .type = BLX_MESSAGE_HELLO,
        .hello = {.version_min = 1,
                  .version_max = 1,
                  .features = BLX_FEATURE_RENEWAL | 1,
                  .volume_count = 1,
                  .agent_id = "web1",
                  .software = "fake 1"},
    };
    fake_agent_send(agent, &hello);
    struct blx_message welcome = fake_agent_expect(agent, BLX_MESSAGE_WELCOME);
    assert_int_equal(welcome.welcome.features, BLX_FEATURE_RENEWAL);
    fake_agent_announce(agent);
    fake_agent_begin(agent, BLX_PASS_FULL);
}

static void session_renews_the_certificate_and_goes_on(void **state)
{
    struct fake_site *site = *state;
    struct fake_agent *agent = fake_agent_connect(site, "web1", NULL);
    struct blx_message renew = {.type = BLX_MESSAGE_RENEW};
    EVP_PKEY *key = NULL;
    char path[128];
    hello_with_renewal(agent);
    assert_int_equal(blx_renew_request(&key, &renew.renew, NULL), 0);
    fake_agent_send(agent, &renew);
    struct blx_message got = fake_agent_expect(agent, BLX_MESSAGE_CERTIFICATE);
    snprintf(path, sizeof(path), "%s/web1.pem", site->dir);
    uint8_t fingerprint[BLX_FINGERPRINT_BYTES];
    assert_int_equal(
        blx_renew_accept(key, &got.certificate, NULL, agent->tls, path, fingerprint, NULL), 0);
    EVP_PKEY_free(key);
    renew.renew.bytes[renew.renew.request_bytes - 1] ^= 1;
    fake_agent_send(agent, &renew);
    got = fake_agent_expect(agent, BLX_MESSAGE_RENEW_FAILED);
    assert_non_null(strstr(got.renew_failed.text, "not signed with its own key"));
    /* Any number of tries is no way to fill the log, or to collect certificates. */
    for (int i = 2; i < DISPATCHER_ALLOWED_RENEWALS + 5; i++) {
        fake_agent_send(agent, &renew);
        got = fake_agent_expect(agent, BLX_MESSAGE_RENEW_FAILED);
        assert_true((strstr(got.renew_failed.text, "too many certificates lately") != NULL) ==
                    (i >= DISPATCHER_ALLOWED_RENEWALS));
    }
    fake_agent_write(agent, 0, 4, 0x55);
    fake_agent_wait_durable(agent, 1);
    struct fake_agent *next = fake_agent_connect(site, "web1", agent);
    fake_agent_greet(next, "web1");
    assert_int_equal(next->state.durable_seq, 1);
    fake_agent_close(next);
    fake_agent_close(agent);
}

static void session_renews_nothing_that_was_not_agreed_on(void **state)
{
    struct fake_agent *agent = fake_agent_online(*state, "web1");
    struct blx_message renew = {.type = BLX_MESSAGE_RENEW};
    EVP_PKEY *key = NULL;
    assert_int_equal(blx_renew_request(&key, &renew.renew, NULL), 0);
    EVP_PKEY_free(key);
    fake_agent_send(agent, &renew);
    fake_agent_expect_error(agent, "RENEW, which was not agreed on");
    fake_agent_close(agent);
}

static void shut_out(struct fake_site *site, const char *agent_id)
{
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_REVOKE};
    struct blx_conn *conn = fake_site_control(site);
    assert_int_equal(blx_pki_revoke(site->data_dir, agent_id, NULL), 0);
    snprintf(message.control_revoke.agent_id, sizeof(message.control_revoke.agent_id), "%s",
             agent_id);
    assert_int_equal(blx_conn_send(conn, &message, NULL), 0);
    assert_int_equal(blx_conn_recv(conn, FAKE_RECV_MS, &message, NULL), 0);
    assert_int_equal(message.type, BLX_MESSAGE_CONTROL_DONE);
    assert_true(message.control_done.ok);
    blx_conn_free(conn);
}

static void revocation_ends_the_session_and_keeps_what_is_durable(void **state)
{
    struct fake_site *site = *state;
    struct fake_agent *agent = fake_agent_online(site, "web1");
    struct fake_agent *other = fake_agent_online(site, "web10");
    struct blx_control_agent described;
    fake_agent_write(agent, 0, 4, 0x55);
    fake_agent_wait_durable(agent, 1);
    shut_out(site, "web1");
    assert_false(dispatcher_registry_describe(&site->dispatcher.registry, "web1", &described));
    fake_agent_expect_error(agent, "was revoked");
    /* It is refused from now on, before it can do anything; another agent is not. */
    struct fake_agent *again = fake_agent_connect(site, "web1", agent);
    fake_agent_expect_error(again, "is revoked");
    fake_agent_close(again);
    fake_agent_write(other, 0, 1, 0x66);
    fake_agent_wait_durable(other, 1);
    fake_agent_close(other);
    /* With a new certificate it goes on from the same place. */
    char token[BLX_TOKEN_TEXT_BYTES];
    make_token(site, "web1", token);
    assert_int_equal(join(site, token, "web1", true, NULL), 0);
    struct fake_agent *back = fake_agent_connect(site, "web1", agent);
    fake_agent_greet(back, "web1");
    assert_int_equal(back->state.durable_seq, 1);
    fake_agent_close(back);
    fake_agent_close(agent);
}

/* Who has the old certificate must not be able to end the new one's session by taking it over. */
static void revoked_certificate_does_not_take_over(void **state)
{
    struct fake_site *site = *state;
    char token[BLX_TOKEN_TEXT_BYTES];
    struct fake_agent *thief = fake_agent_connect(site, "web1", NULL);
    struct blx_tls_context *stolen = thief->tls;
    thief->tls = NULL;
    fake_agent_close(thief);
    shut_out(site, "web1");
    make_token(site, "web1", token);
    assert_int_equal(join(site, token, "web1", true, NULL), 0);
    struct fake_agent *agent = fake_agent_online(site, "web1");
    struct blx_conn *conn = NULL;
    assert_int_equal(blx_tls_connect(stolen, site->address, 10000, &conn, NULL), 0);
    expect_error(conn, "is revoked");
    fake_agent_write(agent, 0, 4, 0x55);
    fake_agent_wait_durable(agent, 1);
    fake_agent_close(agent);
    blx_tls_context_free(stolen);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(join_gives_credentials_that_work),
        TEST(join_leaves_an_existing_file_and_the_token_alone),
        TEST(join_trusts_no_dispatcher_but_the_tokens),
        TEST(join_trusts_no_agent_of_the_same_ca),
        TEST(join_of_a_site_with_its_own_certificates_is_refused),
        TEST(join_connection_takes_nothing_but_a_join),
        TEST(join_connection_takes_no_large_message),
        TEST(join_that_says_nothing_is_ended_soon),
        TEST(session_renews_the_certificate_and_goes_on),
        TEST(session_renews_nothing_that_was_not_agreed_on),
        TEST(revocation_ends_the_session_and_keeps_what_is_durable),
        TEST(revoked_certificate_does_not_take_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
