/* SPDX-License-Identifier: Apache-2.0 */
/* An agent's name goes to another machine: whatever fails, the file is the old one or the new one,
 * and nothing that failed opens a door. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "folder.h"
#include "loop.h"
#include "tls/handover_private.h"
#include "tls/hardware.h"
#include "tls/pki_folder_private.h"

struct using
{
    char dir[FOLDER_BYTES];
    struct blx_handover handover;
    enum blx_handover_verdict verdict;
    uint8_t identity[BLX_HARDWARE_BYTES];
};

static const struct blx_handover handed = {.since = 20261130063000,
                                           .checkpoint = 20261130060000,
                                           .hardware = {1, 2, 3},
                                           .peer = "192.0.2.7:40012"};

static void setup(void *arg)
{
    struct using *use = arg;
    *use = (struct using){.verdict = BLX_HANDOVER_GOOD};
    folder_make(use->dir);
}

static int run_begin(void *arg, struct blx_error *err)
{
    return blx_handover_begin(((struct using *)arg)->dir, "web1", &handed, err);
}

static void setup_begun(void *arg)
{
    setup(arg);
    assert_int_equal(run_begin(arg, NULL), 0);
}

static void teardown(void *arg)
{
    folder_remove(((struct using *)arg)->dir);
}

static enum blx_handover_state state_of(struct using *use)
{
    struct blx_handover handover = {.state = BLX_HANDOVER_NONE};
    assert_int_equal(blx_handover_look(use->dir, "web1", &handover, NULL), 0);
    return handover.state;
}

/* Durable if it succeeded; otherwise it may be there, and the next try succeeds. */
static void check_begin(void *arg, int rc)
{
    if (rc < 0)
        assert_int_equal(run_begin(arg, NULL), 0);
    assert_int_equal(state_of(arg), BLX_HANDOVER_WAITING);
}

static int run_look(void *arg, struct blx_error *err)
{
    struct using *use = arg;
    return blx_handover_look(use->dir, "web1", &use->handover, err);
}

static void check_look(void *arg, int rc)
{
    const struct using *use = arg;
    assert_int_equal(use->handover.state, rc == 0 ? BLX_HANDOVER_WAITING : BLX_HANDOVER_NONE);
}

static int run_check(void *arg, struct blx_error *err)
{
    struct using *use = arg;
    return blx_handover_check(use->dir, "web1", "77", &use->handover, &use->verdict, err);
}

static void check_check(void *arg, int rc)
{
    const struct using *use = arg;
    if (rc == 0)
        assert_int_equal(use->verdict, BLX_HANDOVER_TO_PROVE);
}

static int run_settle(void *arg, struct blx_error *err)
{
    return blx_handover_settle(((struct using *)arg)->dir, "web1", &handed, err);
}

static void check_settle(void *arg, int rc)
{
    if (rc < 0)
        assert_int_equal(run_settle(arg, NULL), 0);
    assert_int_equal(state_of(arg), BLX_HANDOVER_SETTLED);
}

static int run_undo(void *arg, struct blx_error *err)
{
    return blx_handover_undo(((struct using *)arg)->dir, "web1", err);
}

static void check_undo(void *arg, int rc)
{
    if (rc < 0 && state_of(arg) != BLX_HANDOVER_UNDONE)
        assert_int_equal(run_undo(arg, NULL), 0);
    assert_int_equal(state_of(arg), BLX_HANDOVER_UNDONE);
}

static int run_except(void *arg, struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    int rc = blx_pki_lock(((struct using *)arg)->dir, &pki, err);
    if (rc == 0)
        rc = blx_handover_except(&pki, "web1", "77", BLX_HANDOVER_BY_SESSION, err);
    blx_pki_close(&pki);
    return rc;
}

static void check_except(void *arg, int rc)
{
    struct using *use = arg;
    if (rc < 0)
        assert_int_equal(run_except(arg, NULL), 0);
    assert_int_equal(run_check(arg, NULL), 0);
    assert_int_equal(use->verdict, BLX_HANDOVER_NEW);
}

static void setup_machine(void *arg)
{
    struct using *use = arg;
    char path[FOLDER_BYTES + 64];
    setup(arg);
    snprintf(path, sizeof(path), "%s/class/dmi/id", use->dir);
    assert_int_equal(blx_mkdir_parents(path, 0755, NULL), 0);
    strcat(path, "/product_uuid");
    assert_int_equal(blx_file_replace(path, "9c1f3a52-0001", 13, 0600, NULL), 0);
}

static int run_identify(void *arg, struct blx_error *err)
{
    struct using *use = arg;
    return blx_hardware_identify(use->dir, use->identity, err);
}

static void check_identify(void *arg, int rc)
{
    static const uint8_t none[BLX_HARDWARE_BYTES];
    const struct using *use = arg;
    assert_int_equal(memcmp(use->identity, none, sizeof(none)) != 0, rc == 0);
}

static void a_handover_is_there_or_it_is_not(void **state)
{
    (void)state;
    struct using use;
    fault_loop(&(struct fault_case){setup, run_begin, check_begin, teardown, 0}, &use);
    fault_loop(&(struct fault_case){setup_begun, run_look, check_look, teardown, 0}, &use);
    fault_loop(&(struct fault_case){setup_begun, run_check, check_check, teardown, 0}, &use);
    fault_loop(&(struct fault_case){setup_begun, run_settle, check_settle, teardown, 0}, &use);
    fault_loop(&(struct fault_case){setup_begun, run_undo, check_undo, teardown, 0}, &use);
    fault_loop(&(struct fault_case){setup_begun, run_except, check_except, teardown, 0}, &use);
}

static void a_machine_is_known_or_it_is_not(void **state)
{
    (void)state;
    struct using use;
    fault_loop(&(struct fault_case){setup_machine, run_identify, check_identify, teardown, 0},
               &use);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handover_is_there_or_it_is_not),
        cmocka_unit_test(a_machine_is_known_or_it_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
