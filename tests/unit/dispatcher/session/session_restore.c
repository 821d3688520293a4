/* SPDX-License-Identifier: Apache-2.0 */
/* A machine that restores, over real connections: what its token gives, and when it is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "fake_agent.h"
#include "store/restore/pull.h"
#include "tls/bearer.h"
#include "tls/handover.h"
#include "tls/pki_restore.h"

enum { EACH = 40, RESTORES = DISPATCHER_REGISTRY_RESTORES };

struct fixture {
    struct fake_site *site;
    struct fake_agent *agent; /* it goes on being protected */
    uint8_t image[FAKE_VOLUME_BYTES];
    blx_timestamp checkpoint;
    struct blx_token token;
    uint8_t machine;
};

static blx_timestamp take(struct fixture *f)
{
    struct dispatcher_registry_waiter waiter;
    fake_site_ask(f->site, "web1", &waiter);
    blx_timestamp timestamp = fake_agent_checkpoint(f->agent);
    assert_true(fake_site_outcome(f->site, &waiter).ok);
    return timestamp;
}

static void make_token_of(struct fixture *f, const struct blx_restore_grant *grant,
                          struct blx_token *token)
{
    char text[BLX_TOKEN_TEXT_BYTES];
    struct blx_error err = {0};
    if (blx_pki_make_restore_token(f->site->data_dir, grant, 60, text, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(blx_token_parse(text, token, NULL), 0);
}

static void make_token(struct fixture *f, struct blx_token *token)
{
    const struct blx_restore_grant grant = {
        .agent_id = "web1", .checkpoint = f->checkpoint, .volume_count = 1, .volumes = {"vda"}};
    make_token_of(f, &grant, token);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->site = fake_site_start(DISPATCHER_HEARTBEAT_MS);
    f->agent = fake_agent_online(f->site, "web1");
    for (uint32_t i = 0; i < EACH; i++)
        fake_agent_write(f->agent, 6 * i, 3, (uint8_t)(i + 1));
    f->checkpoint = take(f);
    memcpy(f->image, f->agent->disk, sizeof(f->image));
    /* What is newer is none of the token's business. */
    fake_agent_write(f->agent, 0, 9, 99);
    take(f);
    make_token(f, &f->token);
    f->machine = 1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    fake_agent_close(f->agent);
    fake_site_stop(f->site);
    free(f);
    return 0;
}

static int dial(void *arg, struct blx_conn **conn, struct blx_error *err)
{
    const struct fixture *f = arg;
    return blx_bearer_dial(&f->token, BLX_TLS_RESTORE, f->site->address, conn, err);
}

static struct blx_restore_message hello_of(const struct blx_token *token, uint8_t machine)
{
    struct blx_restore_message hello = {.machine = {machine}, .software = "test"};
    memcpy(hello.secret, token->secret, sizeof(hello.secret));
    return hello;
}

static int open_pull(struct fixture *f, struct blx_pull **pull, struct blx_error *err)
{
    const struct blx_pull_request request = {
        .dial = dial, .arg = f, .hello = hello_of(&f->token, f->machine), .patience_ms = 10000};
    return blx_pull_open(&request, pull, err);
}

static void refuse(int rc, int wanted, const struct blx_error *err, const char *part)
{
    if (rc != wanted || strstr(err->message, part) == NULL)
        fail_msg("%d '%s', not %d '%s'", rc, err->message, wanted, part);
}

static void restore_all(struct fixture *f, struct blx_pull *pull, unsigned flags)
{
    char path[128], journal[128];
    struct blx_error err = {0};
    static uint8_t found[FAKE_VOLUME_BYTES];
    snprintf(path, sizeof(path), "%s/out.img", f->site->dir);
    snprintf(journal, sizeof(journal), "%s/journal", f->site->dir);
    const struct blx_pull_target target = {.target = {.path = path, .flags = flags},
                                           .journal = journal};
    if (blx_pull_volume(pull, 0, &target, NULL, &err) < 0)
        fail_msg("%s", err.message);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, found, sizeof(found)), sizeof(found));
    close(fd);
    assert_memory_equal(found, f->image, sizeof(found));
}

static void restore_gives_the_tokens_checkpoint_and_spends_it(void **state)
{
    struct fixture *f = *state;
    struct blx_pull *pull = NULL;
    struct blx_error err[2] = {{0}};
    if (open_pull(f, &pull, &err[0]) < 0)
        fail_msg("%s", err[0].message);
    assert_string_equal(blx_pull_get_offer(pull)->agent_id, "web1");
    assert_int_equal(blx_pull_get_offer(pull)->checkpoint, f->checkpoint);
    assert_string_equal(blx_pull_get_volume(pull, 0)->name, "vda");
    restore_all(f, pull, 0);
    restore_all(f, pull, BLX_RESTORE_DELTA);
    assert_int_equal(blx_pull_finish(pull, 1, NULL), 0);
    blx_pull_close(pull);
    refuse(open_pull(f, &pull, &err[1]), -EACCES, &err[1], "is complete");
    /* The agent was not disturbed. */
    fake_agent_write(f->agent, 100, 1, 7);
    take(f);
}

static void restore_refuses_tokens_that_are_not_its_own(void **state)
{
    struct fixture *f = *state;
    struct blx_pull *pull = NULL;
    struct blx_error err[3] = {{0}};
    struct blx_token good = f->token;
    f->token.secret[0] ^= 1;
    refuse(open_pull(f, &pull, &err[0]), -EACCES, &err[0], "does not know the token");
    f->token = good;
    f->token.ca_fingerprint[0] ^= 1;
    refuse(open_pull(f, &pull, &err[1]), -EACCES, &err[1],
           "not the dispatcher that made the token");
    f->token = good;
    assert_int_equal(open_pull(f, &pull, NULL), 0);
    f->machine = 2;
    struct blx_pull *other = NULL;
    refuse(open_pull(f, &other, &err[2]), -EACCES, &err[2], "another machine restores 'web1'");
    blx_pull_close(pull);
}

/* The same machine may come while the dispatcher has not noticed that the older connection is
 * dead. */
static void restore_by_the_same_machine_takes_over(void **state)
{
    struct fixture *f = *state;
    struct blx_pull *dead = NULL, *pull = NULL;
    assert_int_equal(open_pull(f, &dead, NULL), 0);
    assert_int_equal(open_pull(f, &pull, NULL), 0);
    restore_all(f, pull, 0);
    blx_pull_close(dead);
    blx_pull_close(pull);
}

static void restore_ends_when_its_token_is_taken_back(void **state)
{
    struct fixture *f = *state;
    struct blx_conn *conn = NULL;
    struct blx_message message = {.type = BLX_MESSAGE_RESTORE,
                                  .restore = hello_of(&f->token, f->machine)};
    unsigned count = 0;
    assert_int_equal(dial(f, &conn, NULL), 0);
    assert_int_equal(blx_conn_send(conn, &message, NULL), 0);
    assert_int_equal(blx_conn_recv(conn, FAKE_RECV_MS, &message, NULL), 0);
    assert_int_equal(message.type, BLX_MESSAGE_RESTORE_OFFER);
    assert_int_equal(blx_conn_recv(conn, FAKE_RECV_MS, &message, NULL), 0);
    assert_int_equal(blx_pki_revoke_tokens(f->site->data_dir, "web1", &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_int_equal(blx_conn_recv(conn, FAKE_RECV_MS, &message, NULL), 0);
    assert_int_equal(message.type, BLX_MESSAGE_ERROR);
    assert_non_null(strstr(message.error.text, "taken back"));
    blx_conn_free(conn);
}

static void restores_are_bounded_in_number(void **state)
{
    struct fixture *f = *state;
    struct blx_pull *pulls[RESTORES] = {NULL}, *one_more = NULL;
    struct blx_error err = {0};
    for (size_t i = 0; i < RESTORES; i++) {
        make_token(f, &f->token);
        assert_int_equal(open_pull(f, &pulls[i], NULL), 0);
    }
    make_token(f, &f->token);
    refuse(open_pull(f, &one_more, &err), -EACCES, &err, "try again later");
    /* They hold no agent's place and keep nobody out. */
    fake_agent_write(f->agent, 100, 1, 7);
    take(f);
    struct fake_agent *other = fake_agent_online(f->site, "web10");
    fake_agent_close(other);
    for (size_t i = 0; i < RESTORES; i++)
        blx_pull_close(pulls[i]);
}

/* What a connection sends after its offer, and what the dispatcher says to that. */
static void expect_protest(struct fixture *f, const struct blx_message *message, unsigned times,
                           const char *part)
{
    struct blx_conn *conn = NULL;
    struct blx_message hello = {.type = BLX_MESSAGE_RESTORE,
                                .restore = hello_of(&f->token, f->machine)};
    struct blx_message answer = {.type = BLX_MESSAGE_PING};
    assert_int_equal(dial(f, &conn, NULL), 0);
    assert_int_equal(blx_conn_send(conn, &hello, NULL), 0);
    for (unsigned i = 0; i < times; i++)
        blx_conn_send(conn, message, NULL);
    while (answer.type != BLX_MESSAGE_ERROR)
        if (blx_conn_recv(conn, FAKE_RECV_MS, &answer, NULL) < 0)
            fail_msg("it hung up, and did not say '%s'", part);
    if (strstr(answer.error.text, part) == NULL)
        fail_msg("'%s', not '%s'", answer.error.text, part);
    blx_conn_free(conn);
}

static void restore_ends_with_what_makes_no_sense(void **state)
{
    struct fixture *f = *state;
    const struct {
        struct blx_message message;
        const char *part;
    } cases[] = {
        {{.type = BLX_MESSAGE_FRAMES_REQUEST, .frames_request = {.count = 1}}, "no PLAN has"},
        {{.type = BLX_MESSAGE_PLAN_REQUEST, .plan_request = {.volume = 1}}, "volume number 1"},
        {{.type = BLX_MESSAGE_PLAN_REQUEST, .plan_request = {.start_block = FAKE_VOLUME_BLOCKS}},
         "no window"},
        {{.type = BLX_MESSAGE_DELTA_REQUEST, .delta_request = {.volume = 1}}, "volume number 1"},
        {{.type = BLX_MESSAGE_DIGEST_REQUEST,
          .digest_request = {.blocks_per_digest = 1,
                             .extent_count = 1,
                             .extents = {{.block_count = 1}}}},
         "nobody has asked for the key"},
        {{.type = BLX_MESSAGE_DELTA_WANTED,
          .delta_wanted = {.volume = 1, .count = 1, .extents = {{0, 1}}}},
         "another volume"},
        {{.type = BLX_MESSAGE_DELTA_WANTED,
          .delta_wanted = {.count = 1, .extents = {{FAKE_VOLUME_BLOCKS, 1}}}},
         "in disorder"},
        {{.type = BLX_MESSAGE_STATUS, .status = {.state = BLX_AGENT_LIVE}}, "STATUS is not"},
        {{.type = BLX_MESSAGE_PING}, "PING is not"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_protest(f, &cases[i].message, 1, cases[i].part);
    struct blx_pull *pull = NULL;
    assert_int_equal(open_pull(f, &pull, NULL), 0);
    restore_all(f, pull, 0);
    blx_pull_close(pull);
}

/* A delta of another volume than the window's: nothing of that window is left to be asked for. */
static void restore_of_another_volume_drops_the_window(void **state)
{
    struct fixture *f = *state;
    const struct blx_restore_grant grant = {.agent_id = "web1",
                                            .checkpoint = f->checkpoint,
                                            .volume_count = 2,
                                            .volumes = {"vda", "vda"}};
    const struct blx_message burst[] = {
        {.type = BLX_MESSAGE_PLAN_REQUEST, .plan_request = {.volume = 0}},
        {.type = BLX_MESSAGE_FRAMES_REQUEST, .frames_request = {.volume = 0, .count = 1}},
        {.type = BLX_MESSAGE_DELTA_REQUEST, .delta_request = {.volume = 1}},
        {.type = BLX_MESSAGE_FRAMES_REQUEST, .frames_request = {.volume = 1, .count = 1}},
    };
    struct blx_conn *conn = NULL;
    struct blx_message answer = {.type = BLX_MESSAGE_PING};
    make_token_of(f, &grant, &f->token);
    const struct blx_message hello = {.type = BLX_MESSAGE_RESTORE,
                                      .restore = hello_of(&f->token, f->machine)};
    assert_int_equal(dial(f, &conn, NULL), 0);
    assert_int_equal(blx_conn_send(conn, &hello, NULL), 0);
    for (size_t i = 0; i < sizeof(burst) / sizeof(burst[0]); i++)
        assert_int_equal(blx_conn_send(conn, &burst[i], NULL), 0);
    while (answer.type != BLX_MESSAGE_ERROR)
        assert_int_equal(blx_conn_recv(conn, FAKE_RECV_MS, &answer, NULL), 0);
    assert_non_null(strstr(answer.error.text, "no PLAN has"));
    blx_conn_free(conn);
}

/* Whoever has taken a token back need not wait until the dispatcher looks at it again. */
static void restore_hands_nothing_over_with_a_token_that_was_taken_back(void **state)
{
    struct fixture *f = *state;
    const struct blx_restore_grant grant = {.agent_id = "web1",
                                            .checkpoint = f->checkpoint,
                                            .volume_count = 1,
                                            .volumes = {"vda"},
                                            .takes_over = true};
    const struct blx_message last[] = {
        {.type = BLX_MESSAGE_HARDWARE, .hardware = {.identity = {1}}},
        {.type = BLX_MESSAGE_RESTORE_DONE},
    };
    struct blx_conn *conn = NULL;
    struct blx_handover handover = {.state = BLX_HANDOVER_UNDONE};
    unsigned count = 0;
    make_token_of(f, &grant, &f->token);
    struct blx_message message = {.type = BLX_MESSAGE_RESTORE,
                                  .restore = hello_of(&f->token, f->machine)};
    assert_int_equal(dial(f, &conn, NULL), 0);
    assert_int_equal(blx_conn_send(conn, &message, NULL), 0);
    while (message.type != BLX_MESSAGE_RESTORE_VOLUME)
        assert_int_equal(blx_conn_recv(conn, FAKE_RECV_MS, &message, NULL), 0);
    assert_int_equal(blx_pki_revoke_tokens(f->site->data_dir, "web1", &count, NULL), 0);
    for (size_t i = 0; i < sizeof(last) / sizeof(last[0]); i++)
        assert_int_equal(blx_conn_send(conn, &last[i], NULL), 0);
    assert_int_equal(blx_conn_recv(conn, FAKE_RECV_MS, &message, NULL), 0);
    assert_int_equal(message.type, BLX_MESSAGE_ERROR);
    assert_non_null(strstr(message.error.text, "taken back"));
    assert_int_equal(blx_handover_look(f->site->data_dir, "web1", &handover, NULL), 0);
    assert_int_equal(handover.state, BLX_HANDOVER_NONE);
    blx_conn_free(conn);
}

static void restore_needs_its_token_first(void **state)
{
    struct fixture *f = *state;
    struct blx_conn *conn = NULL;
    struct blx_message message = {.type = BLX_MESSAGE_PLAN_REQUEST};
    assert_int_equal(dial(f, &conn, NULL), 0);
    assert_int_equal(blx_conn_send(conn, &message, NULL), 0);
    assert_int_equal(blx_conn_recv(conn, FAKE_RECV_MS, &message, NULL), 0);
    assert_int_equal(message.type, BLX_MESSAGE_ERROR);
    assert_non_null(strstr(message.error.text, "expected RESTORE"));
    blx_conn_free(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(restore_gives_the_tokens_checkpoint_and_spends_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(restore_refuses_tokens_that_are_not_its_own, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(restore_by_the_same_machine_takes_over, setup, teardown),
        cmocka_unit_test_setup_teardown(restore_ends_when_its_token_is_taken_back, setup, teardown),
        cmocka_unit_test_setup_teardown(restores_are_bounded_in_number, setup, teardown),
        cmocka_unit_test_setup_teardown(restore_ends_with_what_makes_no_sense, setup, teardown),
        cmocka_unit_test_setup_teardown(restore_of_another_volume_drops_the_window, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(restore_hands_nothing_over_with_a_token_that_was_taken_back,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(restore_needs_its_token_first, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
