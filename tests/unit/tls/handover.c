/* SPDX-License-Identifier: Apache-2.0 */
/* An agent's name that goes to another machine: which certificate is good in which state. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/text.h"
#include "fixture.h"
#include "tls/certificate_private.h"
#include "tls/handover_private.h"
#include "tls/join.h"
#include "tls/pem_private.h"
#include "tls/pki.h"
#include "tls/token.h"

static const struct blx_handover handed = {.since = 20261130063000,
                                           .checkpoint = 20261130060000,
                                           .hardware = {1, 2, 3},
                                           .peer = "192.0.2.7:40012"};
static const uint8_t other_hardware[BLX_HARDWARE_BYTES] = {1, 2, 4};
static const uint8_t unknown_hardware[BLX_HARDWARE_BYTES];

static const char golden[] =
    "blxrep handover 1\nsettled\n20261130063000\n20261130060000\n"
    "0102030000000000000000000000000000000000000000000000000000000000\n192.0.2.7:40012\n0A1B\n77\n";

static void begin(const struct fixture *fixture)
{
    struct blx_error err = {0};
    if (blx_handover_begin(fixture->dir, "web1", &handed, &err) < 0)
        fail_msg("%s", err.message);
}

/* Whether a machine with this certificate and hardware is let in. */
static int admit(const struct fixture *fixture, const char *serial,
                 const uint8_t hardware[BLX_HARDWARE_BYTES], struct blx_error *err)
{
    struct blx_handover handover;
    enum blx_handover_verdict verdict;
    int rc = blx_handover_check(fixture->dir, "web1", serial, &handover, &verdict, err);
    return rc < 0 ? rc : blx_handover_prove(&handover, "web1", verdict, hardware, err);
}

static void lets_in(const struct fixture *fixture, const char *serial,
                    const uint8_t hardware[BLX_HARDWARE_BYTES])
{
    struct blx_error err = {0};
    if (admit(fixture, serial, hardware, &err) < 0)
        fail_msg("%s", err.message);
}

static void refuses(const struct fixture *fixture, const char *serial,
                    const uint8_t hardware[BLX_HARDWARE_BYTES], const char *why)
{
    struct blx_error err = {0};
    assert_int_equal(admit(fixture, serial, hardware, &err), -EACCES);
    if (strstr(err.message, why) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", err.message, why);
}

static enum blx_handover_state state_of(const struct fixture *fixture)
{
    struct blx_handover handover = {.state = BLX_HANDOVER_NONE};
    assert_int_equal(blx_handover_look(fixture->dir, "web1", &handover, NULL), 0);
    return handover.state;
}

/* A certificate for a machine that has shown the one with the number 77. Its number goes to
 * `serial`. */
static int renew(const struct fixture *fixture, const uint8_t hardware[BLX_HARDWARE_BYTES],
                 char serial[BLX_SERIAL_TEXT_BYTES])
{
    struct blx_pki_renewal renewal = {.agent_id = "web1", .serial = "77", .signer = BLX_PKI_NEW_CA};
    struct blx_request_message request;
    struct blx_certificate_message certificate;
    BLX_CLEANUP_KEY EVP_PKEY *key = NULL;
    memcpy(renewal.hardware, hardware, sizeof(renewal.hardware));
    assert_int_equal(blx_renew_request(&key, &request, NULL), 0);
    int rc = blx_pki_renew(fixture->dir, &renewal, &request, &certificate, NULL);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_X509 X509 *cert = blx_certificate_get(certificate.cert, certificate.cert_bytes);
    assert_non_null(cert);
    return blx_certificate_serial(cert, serial, NULL);
}

static void without_a_handover_every_certificate_is_good(void **state)
{
    const struct fixture *fixture = *state;
    assert_int_equal(state_of(fixture), BLX_HANDOVER_NONE);
    lets_in(fixture, "77", unknown_hardware);
    assert_int_equal(blx_handover_settle(fixture->dir, "web1", &handed, NULL), 0);
    assert_int_equal(state_of(fixture), BLX_HANDOVER_NONE);
    assert_int_equal(blx_handover_undo(fixture->dir, "web1", NULL), -ENOENT);
}

static void the_hardware_decides_until_there_is_a_certificate(void **state)
{
    const struct fixture *fixture = *state;
    char own[BLX_SERIAL_TEXT_BYTES];
    begin(fixture);
    assert_int_equal(state_of(fixture), BLX_HANDOVER_WAITING);
    lets_in(fixture, "77", handed.hardware);
    refuses(fixture, "77", other_hardware, "readmit --agent=web1");
    refuses(fixture, "77", unknown_hardware, "from 192.0.2.7:40012) at 20261130063000");
    /* Nor does a session that is still under way get around it by a renewal. */
    assert_int_equal(renew(fixture, other_hardware, own), -EACCES);
    assert_int_equal(renew(fixture, unknown_hardware, own), -EACCES);
    assert_int_equal(renew(fixture, handed.hardware, own), 0);
    lets_in(fixture, own, unknown_hardware);
    lets_in(fixture, "77", handed.hardware); /* its file may not be written yet */
    struct blx_handover before = handed;
    before.since--;
    assert_int_equal(blx_handover_settle(fixture->dir, "web1", &before, NULL), 0);
    assert_int_equal(state_of(fixture), BLX_HANDOVER_WAITING);
    assert_int_equal(blx_handover_settle(fixture->dir, "web1", &handed, NULL), 0);
    assert_int_equal(state_of(fixture), BLX_HANDOVER_SETTLED);
    lets_in(fixture, own, other_hardware);
    refuses(fixture, "77", handed.hardware, "restored onto another machine");
    refuses(fixture, "7", handed.hardware, "restored onto another machine");
    assert_int_equal(renew(fixture, handed.hardware, own), -EACCES);
    /* Another agent is not meant. */
    struct blx_handover ignored;
    enum blx_handover_verdict verdict;
    assert_int_equal(blx_handover_check(fixture->dir, "web10", "77", &ignored, &verdict, NULL), 0);
    assert_int_equal(verdict, BLX_HANDOVER_GOOD);
}

static void an_undone_one_refuses_the_new_machine_alone(void **state)
{
    const struct fixture *fixture = *state;
    char own[BLX_SERIAL_TEXT_BYTES];
    begin(fixture);
    assert_int_equal(renew(fixture, handed.hardware, own), 0);
    assert_int_equal(blx_handover_settle(fixture->dir, "web1", &handed, NULL), 0);
    assert_int_equal(blx_handover_undo(fixture->dir, "web1", NULL), 0);
    assert_int_equal(blx_handover_undo(fixture->dir, "web1", NULL), -EALREADY);
    lets_in(fixture, "77", other_hardware);
    refuses(fixture, own, handed.hardware, "given the name back");
    char later[BLX_SERIAL_TEXT_BYTES];
    assert_int_equal(renew(fixture, other_hardware, later), 0);
    lets_in(fixture, later, other_hardware);
    /* It begins again from any state. */
    begin(fixture);
    refuses(fixture, later, other_hardware, "restored onto another machine");
    refuses(fixture, own, other_hardware, "restored onto another machine");
    /* Undone before the machine came: the hardware is refused, as no certificate tells it apart. */
    assert_int_equal(blx_handover_undo(fixture->dir, "web1", NULL), 0);
    refuses(fixture, "77", handed.hardware, "given the name back");
    lets_in(fixture, "77", unknown_hardware);
}

static void a_person_lets_in_any_machine(void **state)
{
    const struct fixture *fixture = *state;
    struct blx_join_message join;
    struct blx_certificate_message certificate;
    struct blx_token token;
    char text[BLX_TOKEN_TEXT_BYTES], agent_id[BLX_NAME_BYTES], serial[BLX_SERIAL_TEXT_BYTES];
    begin(fixture);
    for (int undone = 0; undone < 2; undone++) {
        BLX_CLEANUP_KEY EVP_PKEY *key = NULL;
        assert_int_equal(blx_renew_request(&key, &join.request, NULL), 0);
        assert_int_equal(blx_pki_make_token(fixture->dir, "web1", 60, text, NULL), 0);
        assert_int_equal(blx_token_parse(text, &token, NULL), 0);
        memcpy(join.secret, token.secret, sizeof(join.secret));
        assert_int_equal(blx_pki_join(fixture->dir, &join, agent_id, &certificate, NULL), 0);
        BLX_CLEANUP_X509 X509 *cert = blx_certificate_get(certificate.cert, certificate.cert_bytes);
        assert_int_equal(blx_certificate_serial(cert, serial, NULL), 0);
        lets_in(fixture, serial, handed.hardware);
        lets_in(fixture, serial, other_hardware);
        begin(fixture);
        assert_int_equal(blx_handover_undo(fixture->dir, "web1", NULL), 0);
    }
}

static void a_machine_without_hardware_takes_nothing_over(void **state)
{
    const struct fixture *fixture = *state;
    struct blx_handover nobody = handed;
    memset(nobody.hardware, 0, sizeof(nobody.hardware));
    assert_int_equal(blx_handover_begin(fixture->dir, "web1", &nobody, NULL), -EINVAL);
    assert_int_equal(state_of(fixture), BLX_HANDOVER_NONE);
    assert_int_equal(blx_handover_begin(fixture->dir, "../x", &handed, NULL), -EINVAL);
}

static void the_file_is_read_as_it_is_written_and_nothing_else(void **state)
{
    struct blx_handover read;
    const char *serials;
    (void)state;
    assert_int_equal(blx_handover_parse(golden, &read, &serials), 0);
    assert_int_equal(read.state, BLX_HANDOVER_SETTLED);
    assert_true(blx_handover_lists(serials, "77"));
    assert_true(blx_handover_lists(serials, "0A1B"));
    assert_false(blx_handover_lists(serials, "7"));
    assert_false(blx_handover_lists(serials, "0A1"));
    /* Each byte, changed or missing. */
    for (size_t i = 0; i + 1 < sizeof(golden); i++) {
        char text[sizeof(golden)];
        memcpy(text, golden, sizeof(golden));
        text[i] = '~';
        struct blx_handover other = {.state = BLX_HANDOVER_NONE};
        bool of_peer =
            strstr(golden, "192") <= golden + i && golden + i <= strstr(golden, "\n0A1B");
        assert_int_equal(blx_handover_parse(text, &other, &serials), of_peer ? 0 : -EBADMSG);
        memcpy(text, golden, sizeof(golden));
        text[i] = '\0';
        bool whole_line = i == (size_t)(strstr(golden, "0A1B") - golden) ||
                          i == (size_t)(strstr(golden, "77\n") - golden);
        assert_int_equal(blx_handover_parse(text, &other, &serials), whole_line ? 0 : -EBADMSG);
    }
}

static void a_damaged_file_lets_nobody_in(void **state)
{
    const struct fixture *fixture = *state;
    begin(fixture);
    assert_int_equal(
        blx_file_replace(fixture_path(fixture, "pki/handovers/web1"), "x\n", 2, 0600, NULL), 0);
    struct blx_error err = {0};
    assert_int_equal(admit(fixture, "77", handed.hardware, &err), -EBADMSG);
    assert_non_null(strstr(err.message, "pki/handovers/web1' is damaged"));
    char serial[BLX_SERIAL_TEXT_BYTES];
    assert_int_equal(renew(fixture, handed.hardware, serial), -EBADMSG);
    begin(fixture);
    lets_in(fixture, "77", handed.hardware);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(without_a_handover_every_certificate_is_good),
        TEST(the_hardware_decides_until_there_is_a_certificate),
        TEST(an_undone_one_refuses_the_new_machine_alone),
        TEST(a_person_lets_in_any_machine),
        TEST(a_machine_without_hardware_takes_nothing_over),
        TEST(the_file_is_read_as_it_is_written_and_nothing_else),
        TEST(a_damaged_file_lets_nobody_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
