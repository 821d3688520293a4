/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tls/pki_token_private.h"
#include "tls/revocation_private.h"
#include "tls/token.h"

/* Bytes 0 to 19 and 32 to 63. Another implementation of base32 and SHA-256 made the text. */
static const char golden[] = "blxrep1aaaqeayeaudaocajbifqydiob4ibceqteaqseizeeutcokbjfivsyljof4y"
                             "dcmrtgq2tmnzyhe5dwpb5hy7w7obh";

static struct blx_token example(void)
{
    struct blx_token token;
    for (size_t i = 0; i < sizeof(token.secret); i++)
        token.secret[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof(token.ca_fingerprint); i++)
        token.ca_fingerprint[i] = (uint8_t)(32 + i);
    return token;
}

static void token_is_written_as_specified(void **state)
{
    (void)state;
    const struct blx_token token = example();
    char text[BLX_TOKEN_TEXT_BYTES];
    assert_int_equal(blx_token_format(&token, text, NULL), 0);
    assert_string_equal(text, golden);
}

static void token_reads_back_in_small_letters_and_in_capital_ones(void **state)
{
    (void)state;
    const struct blx_token token = example();
    char text[BLX_TOKEN_TEXT_BYTES];
    strcpy(text, golden);
    for (int i = 0; i < 2; i++) {
        struct blx_token back = {.secret = {0}};
        assert_int_equal(blx_token_parse(text, &back, NULL), 0);
        assert_memory_equal(&back, &token, sizeof(token));
        for (char *at = text; *at != '\0'; at++)
            *at = (char)toupper((unsigned char)*at);
    }
}

static void refuse(const char *text, const char *reason)
{
    struct blx_token untouched = {.secret = {7}};
    struct blx_error err = {0};
    assert_int_equal(blx_token_parse(text, &untouched, &err), -EINVAL);
    if (strstr(err.message, reason) == NULL)
        fail_msg("'%s' does not say '%s'", err.message, reason);
    assert_null(strstr(err.message, "aeayeaud"));
    assert_int_equal(untouched.secret[0], 7);
}

static void token_that_was_copied_badly_is_refused_with_the_reason(void **state)
{
    (void)state;
    char text[BLX_TOKEN_TEXT_BYTES + 8];
    refuse("", "begin with blxrep1");
    refuse("blxrep", "begin with blxrep1");
    refuse("blxrep1", "letters are missing");
    snprintf(text, sizeof(text), "%sa", golden);
    refuse(text, "too many");
    snprintf(text, sizeof(text), "%.*s", (int)strlen(golden) - 1, golden);
    refuse(text, "missing");
    strcpy(text, golden);
    text[20] = '0';
    refuse(text, "a token never has");
}

/* Every single letter is under the checksum. */
static void token_with_any_letter_changed_is_refused(void **state)
{
    (void)state;
    for (size_t i = strlen("blxrep1"); golden[i] != '\0'; i++) {
        char text[BLX_TOKEN_TEXT_BYTES];
        strcpy(text, golden);
        text[i] = text[i] == 'a' ? 'b' : 'a';
        refuse(text, "changed");
    }
}

static void record_takes_only_what_it_writes(void **state)
{
    (void)state;
    const struct blx_token_record record = {
        .agent_id = "web1", .expires_s = 1795380960, .used = true};
    struct blx_token_record back = {.expires_s = 0};
    char text[BLX_TOKEN_RECORD_BYTES];
    blx_token_record_format(&record, text);
    assert_string_equal(text, "blxrep token 1\nweb1\n1795380960\nused\n");
    assert_int_equal(blx_token_record_parse(text, &back), 0);
    assert_string_equal(back.agent_id, "web1");
    assert_int_equal(back.expires_s, 1795380960);
    assert_true(back.used);
    const char *bad[] = {"",
                         "blxrep token 2\nweb1\n1\nopen\n",
                         "blxrep token 1\n../x\n1\nopen\n",
                         "blxrep token 1\nweb1\n01\nopen\n",
                         "blxrep token 1\nweb1\n1\nopen",
                         "blxrep token 1\nweb1\n1\nopened\n",
                         "blxrep token 1\nweb1\n1\nopen\nmore\n",
                         "blxrep token 1\nweb1\n99999999999999999999\nopen\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(blx_token_record_parse(bad[i], &back), -EBADMSG);
    assert_int_equal(back.expires_s, 1795380960);
}

static void revocation_excepts_whole_serial_numbers_only(void **state)
{
    (void)state;
    assert_int_equal(blx_revocation_parse("blxrep revoked 1\n", "AB12"), 1);
    assert_int_equal(blx_revocation_parse("blxrep revoked 1\nAB12\n", "AB12"), 0);
    assert_int_equal(blx_revocation_parse("blxrep revoked 1\n77\nAB12\n", "AB12"), 0);
    assert_int_equal(blx_revocation_parse("blxrep revoked 1\nAB123\n", "AB12"), 1);
    assert_int_equal(blx_revocation_parse("blxrep revoked 1\nAB12\n", "AB123"), 1);
    assert_int_equal(blx_revocation_parse("blxrep revoked 1\nAB12", "AB12"), -EBADMSG);
    assert_int_equal(blx_revocation_parse("blxrep revoked 1\n\n", ""), -EBADMSG);
    assert_int_equal(blx_revocation_parse("", "AB12"), -EBADMSG);
    assert_int_equal(blx_revocation_parse("blxrep revoked 1\n", NULL), 1);
    assert_int_equal(blx_revocation_parse("blxrep revoked 1\nAB12\n", NULL), 0);
    assert_int_equal(blx_revocation_parse("blxrep revoked 1\nAB12\nx\n", NULL), -EBADMSG);
    assert_int_equal(blx_revocation_parse("blxrep revoked 2\nAB12\n", "AB12"), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_is_written_as_specified),
        cmocka_unit_test(token_reads_back_in_small_letters_and_in_capital_ones),
        cmocka_unit_test(token_that_was_copied_badly_is_refused_with_the_reason),
        cmocka_unit_test(token_with_any_letter_changed_is_refused),
        cmocka_unit_test(record_takes_only_what_it_writes),
        cmocka_unit_test(revocation_excepts_whole_serial_numbers_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
