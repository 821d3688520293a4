/* SPDX-License-Identifier: Apache-2.0 */
/* The roll-over of the CA, and the renewal of the dispatcher's certificate: what fails half way is
 * ended by the next one, and until then there is a CA that works. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "folder.h"
#include "loop.h"
#include "tls/pki.h"
#include "tls/pki_private.h"
#include "tls/pki_roll.h"

struct rolling {
    char dir[FOLDER_BYTES], bundle[96];
    struct blx_pki pki;
    struct blx_pki_authority ca, next;
    struct blx_pki_server server;
    struct blx_authority_message authority;
};

static void setup(void *arg)
{
    struct rolling *site = arg;
    *site = (struct rolling){.pki = {.lock_fd = -1}};
    folder_make(site->dir);
    snprintf(site->bundle, sizeof(site->bundle), "%s/web1", site->dir);
    assert_int_equal(blx_pki_enroll(site->dir, "web1", site->bundle, NULL), 0);
}

static void setup_begun(void *arg)
{
    setup(arg);
    assert_int_equal(blx_pki_roll_begin(((struct rolling *)arg)->dir, NULL), 0);
}

static void setup_open(void *arg)
{
    struct rolling *site = arg;
    setup(arg);
    assert_int_equal(blx_pki_open(site->dir, &site->pki, &site->ca, NULL), 0);
}

static void setup_begun_open(void *arg)
{
    struct rolling *site = arg;
    setup_begun(arg);
    assert_int_equal(blx_pki_open(site->dir, &site->pki, &site->ca, NULL), 0);
}

static void teardown(void *arg)
{
    struct rolling *site = arg;
    blx_tls_context_free(site->server.tls);
    blx_pki_authority_done(&site->next);
    blx_pki_authority_done(&site->ca);
    blx_pki_close(&site->pki);
    folder_remove(site->dir);
}

/* Whatever is left, the next dispatcher starts with it. */
static bool starts_rolling(const struct rolling *site)
{
    struct blx_pki_server server = {.tls = NULL};
    struct blx_error err = {0};
    if (blx_pki_load_server(site->dir, &server, &err) < 0)
        fail_msg("%s", err.message);
    blx_tls_context_free(server.tls);
    return server.authority.proof_bytes > 0;
}

static int run_renew(void *arg, struct blx_error *err)
{
    return blx_pki_renew_dispatcher(((struct rolling *)arg)->dir, err);
}

static void check_renew(void *arg, int rc)
{
    (void)rc;
    assert_false(starts_rolling(arg));
}

static int run_begin(void *arg, struct blx_error *err)
{
    return blx_pki_roll_begin(((struct rolling *)arg)->dir, err);
}

/* Only the last fsync can fail after the rename. */
static void check_begin(void *arg, int rc)
{
    bool rolling = starts_rolling(arg);
    assert_true(rolling || rc < 0);
    assert_int_equal(run_begin(arg, NULL), rolling ? -EEXIST : 0);
}

static int run_retire(void *arg, struct blx_error *err)
{
    return blx_pki_roll_retire(((struct rolling *)arg)->dir, err);
}

static void check_retire(void *arg, int rc)
{
    assert_true(rc < 0 || !starts_rolling(arg));
    if (starts_rolling(arg))
        assert_int_equal(run_retire(arg, NULL), 0);
    assert_int_equal(run_begin(arg, NULL), 0);
}

static int run_note(void *arg, struct blx_error *err)
{
    return blx_pki_roll_note(((struct rolling *)arg)->dir, "web1", BLX_PKI_MOVED, err);
}

static void check_note(void *arg, int rc)
{
    const struct rolling *site = arg;
    enum blx_pki_place place = BLX_PKI_STAYED;
    assert_int_equal(blx_pki_roll_look(site->dir, "web1", &place, NULL), 0);
    assert_true(rc < 0 || place == BLX_PKI_MOVED);
}

static int run_load_server(void *arg, struct blx_error *err)
{
    struct rolling *site = arg;
    return blx_pki_load_server(site->dir, &site->server, err);
}

static int run_look_server(void *arg, struct blx_error *err)
{
    struct rolling *site = arg;
    return blx_pki_look_server(site->dir, &site->server, err);
}

static void check_load_server(void *arg, int rc)
{
    assert_int_equal(((struct rolling *)arg)->server.tls != NULL, rc == 0);
}

static int run_load(void *arg, struct blx_error *err)
{
    struct rolling *site = arg;
    return blx_pki_roll_load(&site->pki, &site->next, &site->authority, err);
}

static void check_load(void *arg, int rc)
{
    const struct rolling *site = arg;
    assert_true(rc < 0 || (site->next.cert != NULL && site->next.key != NULL));
    assert_true(rc < 0 || site->authority.proof_bytes > 0);
}

/* As after a crash: the folder has its new name, and nothing else is done. */
static void setup_retiring(void *arg)
{
    struct rolling *site = arg;
    char next[128], retiring[128];
    setup_begun_open(arg);
    snprintf(next, sizeof(next), "%s/pki/next", site->dir);
    snprintf(retiring, sizeof(retiring), "%s/pki/retiring", site->dir);
    assert_int_equal(rename(next, retiring), 0);
}

static int run_finish(void *arg, struct blx_error *err)
{
    return blx_pki_roll_finish(&((struct rolling *)arg)->pki, err);
}

static void check_finish(void *arg, int rc)
{
    struct rolling *site = arg;
    (void)rc;
    blx_pki_close(&site->pki);
    assert_false(starts_rolling(site));
}

static int run_make_authority(void *arg, struct blx_error *err)
{
    struct rolling *site = arg;
    return blx_pki_authority_make(&site->pki, "other.key", "other.pem", &site->next, err);
}

static void check_make_authority(void *arg, int rc)
{
    const struct rolling *site = arg;
    assert_int_equal(site->next.cert != NULL, rc == 0);
}

static int run_make_dispatcher(void *arg, struct blx_error *err)
{
    struct rolling *site = arg;
    return blx_pki_dispatcher_make(&site->pki, &site->ca, "other.key", "other.pem", err);
}

static int run_write_cert(void *arg, struct blx_error *err)
{
    struct rolling *site = arg;
    return blx_pki_write_cert(&site->pki, "other.pem", site->ca.cert, err);
}

static void check_nothing(void *arg, int rc)
{
    (void)arg;
    (void)rc;
}

static void a_dispatchers_certificate_is_renewed_or_still_works(void **state)
{
    (void)state;
    struct rolling site;
    fault_loop(&(struct fault_case){setup, run_renew, check_renew, teardown, 0}, &site);
    fault_loop(&(struct fault_case){setup_open, run_make_dispatcher, check_nothing, teardown, 0},
               &site);
    fault_loop(&(struct fault_case){setup_open, run_write_cert, check_nothing, teardown, 0}, &site);
    fault_loop(&(struct fault_case){setup_begun, run_load_server, check_load_server, teardown, 0},
               &site);
    fault_loop(&(struct fault_case){setup_begun, run_look_server, check_load_server, teardown, 0},
               &site);
}

static void a_roll_over_begins_whole_or_not_at_all(void **state)
{
    (void)state;
    struct rolling site;
    fault_loop(&(struct fault_case){setup, run_begin, check_begin, teardown, 0}, &site);
    fault_loop(
        &(struct fault_case){setup_open, run_make_authority, check_make_authority, teardown, 0},
        &site);
    fault_loop(&(struct fault_case){setup_begun_open, run_load, check_load, teardown, 0}, &site);
    fault_loop(&(struct fault_case){setup_begun, run_note, check_note, teardown, 0}, &site);
}

static void a_retirement_that_was_begun_is_ended_by_the_next_one(void **state)
{
    (void)state;
    struct rolling site;
    fault_loop(&(struct fault_case){setup_begun, run_retire, check_retire, teardown, 0}, &site);
    fault_loop(&(struct fault_case){setup_retiring, run_finish, check_finish, teardown, 0}, &site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dispatchers_certificate_is_renewed_or_still_works),
        cmocka_unit_test(a_roll_over_begins_whole_or_not_at_all),
        cmocka_unit_test(a_retirement_that_was_begun_is_ended_by_the_next_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
