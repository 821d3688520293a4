/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens for a restore: who may use one, how often and for how long. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/text.h"
#include "fixture.h"
#include "tls/pki.h"
#include "tls/pki_restore.h"
#include "tls/pki_token_private.h"

static const char golden[] =
    "blxrep restore token 1\nweb1\n1795380960\n20261122203603\nvolumes vda vdb\n"
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff done\nreads\n";

static const struct blx_restore_grant grant = {
    .agent_id = "web1", .checkpoint = 20261122203603, .volume_count = 2, .volumes = {"vda", "vdb"}};

static struct blx_restore_message bearer_of(const char *text, uint8_t machine)
{
    struct blx_token token;
    struct blx_restore_message message = {.machine = {machine}};
    assert_int_equal(blx_token_parse(text, &token, NULL), 0);
    memcpy(message.secret, token.secret, sizeof(token.secret));
    return message;
}

/* A machine with a new token. */
static struct blx_restore_message make(const struct fixture *fixture, uint64_t valid_s)
{
    char text[BLX_TOKEN_TEXT_BYTES];
    struct blx_error err = {0};
    if (blx_pki_make_restore_token(fixture->dir, &grant, valid_s, text, &err) < 0)
        fail_msg("%s", err.message);
    return bearer_of(text, 1);
}

static int use(const struct fixture *fixture, const struct blx_restore_message *bearer,
               enum blx_restore_turn wanted, struct blx_error *err)
{
    struct blx_restore_grant given = {.volume_count = 0};
    enum blx_restore_turn turn = BLX_RESTORE_FIRST;
    int rc = blx_pki_use_restore_token(fixture->dir, bearer, &given, &turn, err);
    if (rc == 0) {
        assert_memory_equal(&given, &grant, sizeof(grant));
        assert_int_equal(turn, wanted);
    }
    return rc;
}

static void refuse(int rc, const struct blx_error *err, const char *part)
{
    if (rc != -EACCES || strstr(err->message, part) == NULL)
        fail_msg("%d '%s', not '%s'", rc, err->message, part);
}

static void restore_record_takes_only_what_it_writes(void **state)
{
    (void)state;
    struct blx_restore_record record = {.expires_s = 0};
    char text[BLX_RESTORE_RECORD_BYTES];
    assert_int_equal(blx_restore_record_parse(golden, &record), 0);
    assert_memory_equal(&record.grant, &grant, sizeof(grant));
    assert_int_equal(record.expires_s, 1795380960);
    assert_int_equal(record.use, BLX_RESTORE_DONE);
    blx_restore_record_format(&record, text);
    assert_string_equal(text, golden);
    /* Every byte that is changed is refused, or read back as it is. */
    for (size_t i = 0; i < strlen(golden); i++) {
        for (int bit = 0; bit < 7; bit++) {
            char changed[sizeof(golden)], again[BLX_RESTORE_RECORD_BYTES];
            memcpy(changed, golden, sizeof(golden));
            changed[i] = (char)(changed[i] ^ 1 << bit);
            if (changed[i] == '\0' || blx_restore_record_parse(changed, &record) < 0)
                continue;
            blx_restore_record_format(&record, again);
            assert_string_equal(changed, again);
        }
    }
}

static void restore_record_of_the_most_volumes_fits(void **state)
{
    (void)state;
    struct blx_restore_record record = {
        .grant = {.checkpoint = 20261122203603, .volume_count = BLX_MAX_VOLUMES},
        .use = BLX_RESTORE_USED};
    struct blx_restore_record back;
    char text[BLX_RESTORE_RECORD_BYTES];
    memset(record.grant.agent_id, 'a', BLX_NAME_BYTES - 1);
    memset(record.machine, 'b', BLX_TOKEN_HASH_BYTES - 1);
    for (size_t i = 0; i < BLX_MAX_VOLUMES; i++)
        memset(record.grant.volumes[i], 'c', BLX_NAME_BYTES - 1);
    blx_restore_record_format(&record, text);
    assert_int_equal(blx_restore_record_parse(text, &back), 0);
    assert_memory_equal(&back, &record, sizeof(record));
}

static void restore_token_is_the_first_machines(void **state)
{
    const struct fixture *fixture = *state;
    struct blx_error err = {0};
    struct blx_restore_message mine = make(fixture, 60), theirs = mine;
    theirs.machine[31] ^= 1;
    assert_int_equal(use(fixture, &mine, BLX_RESTORE_FIRST, NULL), 0);
    assert_int_equal(use(fixture, &mine, BLX_RESTORE_AGAIN, NULL), 0);
    refuse(use(fixture, &theirs, BLX_RESTORE_FIRST, &err), &err, "another machine restores 'web1'");
    assert_int_equal(use(fixture, &mine, BLX_RESTORE_AGAIN, NULL), 0);
    assert_int_equal(blx_pki_check_restore_token(fixture->dir, &mine, NULL), 0);
}

static void restore_token_ends_with_the_restore(void **state)
{
    const struct fixture *fixture = *state;
    struct blx_error err[2] = {{0}};
    struct blx_restore_message mine = make(fixture, 60);
    assert_int_equal(use(fixture, &mine, BLX_RESTORE_FIRST, NULL), 0);
    assert_int_equal(blx_pki_finish_restore_token(fixture->dir, &mine, NULL), 0);
    refuse(use(fixture, &mine, BLX_RESTORE_AGAIN, &err[0]), &err[0], "is complete");
    refuse(blx_pki_finish_restore_token(fixture->dir, &mine, &err[1]), &err[1], "is complete");
}

static void restore_token_expires_unless_it_is_used(void **state)
{
    const struct fixture *fixture = *state;
    struct blx_error err = {0};
    struct blx_restore_message late = make(fixture, 0), soon = make(fixture, 1);
    refuse(use(fixture, &late, BLX_RESTORE_FIRST, &err), &err, "expired");
    assert_int_equal(use(fixture, &soon, BLX_RESTORE_FIRST, NULL), 0);
    sleep(2); /* its first hour is over; the machine has a day */
    assert_int_equal(use(fixture, &soon, BLX_RESTORE_AGAIN, NULL), 0);
}

static void restore_tokens_are_taken_back_by_agent(void **state)
{
    const struct fixture *fixture = *state;
    struct blx_error err[2] = {{0}};
    struct blx_restore_message one = make(fixture, 60), other = make(fixture, 60);
    unsigned count = 0;
    assert_int_equal(use(fixture, &one, BLX_RESTORE_FIRST, NULL), 0);
    assert_int_equal(blx_pki_revoke_tokens(fixture->dir, "web10", &count, NULL), 0);
    assert_int_equal(count, 0);
    assert_int_equal(blx_pki_check_restore_token(fixture->dir, &one, NULL), 0);
    assert_int_equal(blx_pki_revoke_tokens(fixture->dir, "web1", &count, NULL), 0);
    assert_int_equal(count, 2);
    refuse(blx_pki_check_restore_token(fixture->dir, &one, &err[0]), &err[0], "taken back");
    refuse(use(fixture, &other, BLX_RESTORE_FIRST, &err[1]), &err[1], "taken back");
}

/* A new token for joining does away with the older one for joining, and with no other. */
static void restore_tokens_and_join_tokens_leave_each_other_alone(void **state)
{
    const struct fixture *fixture = *state;
    char text[BLX_TOKEN_TEXT_BYTES], agent_id[BLX_NAME_BYTES];
    struct blx_error err[2] = {{0}};
    struct blx_restore_message mine = make(fixture, 60);
    struct blx_certificate_message certificate;
    assert_int_equal(blx_pki_make_token(fixture->dir, "web1", 60, text, NULL), 0);
    assert_int_equal(use(fixture, &mine, BLX_RESTORE_FIRST, NULL), 0);
    /* Each is good for its own purpose alone. */
    struct blx_restore_message joiner = bearer_of(text, 1);
    refuse(use(fixture, &joiner, BLX_RESTORE_FIRST, &err[0]), &err[0], "lets a server join");
    struct blx_join_message join = {.request = {.request_bytes = 1}};
    memcpy(join.secret, mine.secret, sizeof(join.secret));
    refuse(blx_pki_join(fixture->dir, &join, agent_id, &certificate, &err[1]), &err[1],
           "is for a restore");
    make(fixture, 60);
    struct blx_token token;
    assert_int_equal(blx_token_parse(text, &token, NULL), 0);
    struct blx_pki pki = {.lock_fd = -1};
    struct blx_token_record record;
    assert_int_equal(blx_pki_lock(fixture->dir, &pki, NULL), 0);
    assert_int_equal(blx_pki_token_look(&pki, token.secret, &record, NULL), 0);
    blx_pki_close(&pki);
}

/* Revoking the agent ends a restore of it, too: nobody knows who has the token. */
static void restore_tokens_go_when_the_agent_is_revoked(void **state)
{
    const struct fixture *fixture = *state;
    struct blx_error err = {0};
    struct blx_restore_message mine = make(fixture, 60);
    assert_int_equal(blx_pki_revoke(fixture->dir, "web1", NULL), 0);
    refuse(use(fixture, &mine, BLX_RESTORE_FIRST, &err), &err, "taken back");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(restore_record_takes_only_what_it_writes),
        cmocka_unit_test(restore_record_of_the_most_volumes_fits),
        cmocka_unit_test_setup_teardown(restore_token_is_the_first_machines, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(restore_token_ends_with_the_restore, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(restore_token_expires_unless_it_is_used, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(restore_tokens_are_taken_back_by_agent, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(restore_tokens_and_join_tokens_leave_each_other_alone,
                                        fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(restore_tokens_go_when_the_agent_is_revoked, fixture_setup,
                                        fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
