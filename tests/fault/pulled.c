/* SPDX-License-Identifier: Apache-2.0 */
/* Copies from another dispatcher: what a copier gets, and what becomes of it. A checkpoint is there
 * whole or not at all, and another try makes it. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop.h"
#include "store/copy/offer.h"
#include "store/copy/origin.h"
#include "store/copy/pulled.h"
#include "store_state.h"

/* A store of two checkpoints, what of it is offered, and a store that copies it. */
struct pulling {
    struct store_state state;
    struct test_store other;
    struct blx_copy_offer *offer;
    struct blx_pulled *pulled;
    void *manifest;
    size_t manifest_bytes;
    struct blx_manifest described; /* the checkpoint */
    struct blx_copy_file told;     /* the one file */
    void *file;                    /* its bytes */
    uint8_t file_hash[BLX_COPY_HASH_BYTES], identity[BLX_COPY_HASH_BYTES];
    uint64_t offset;
    unsigned visited;
    struct blx_origin origin, read;
};

static struct pulling pulling;

static struct blx_agent_store agent_of(const struct pulling *pull)
{
    return blx_store_agent(&pull->state.test.store, "web1");
}

static struct blx_agent_store copy_of(const struct pulling *pull)
{
    return blx_store_agent(&pull->other.store, "web1");
}

static int open_offer(struct pulling *pull, struct blx_error *err)
{
    static const uint8_t none[BLX_COPY_HASH_BYTES];
    const struct blx_copy_wish wish = {
        .checkpoint = pull->state.checkpoints[1], .hash = none, .place = "copier:second"};
    return blx_copy_offer_open(agent_of(pull), &wish, &pull->offer, err);
}

static int keep_file(void *arg, uint32_t entry, uint32_t number, int fd, uint64_t bytes,
                     struct blx_error *err)
{
    struct pulling *pull = arg;
    (void)err;
    assert_null(pull->file);
    pull->told = (struct blx_copy_file){.volume = entry, .number = number, .bytes = bytes};
    pull->file = malloc(bytes);
    assert_non_null(pull->file);
    assert_int_equal(pread(fd, pull->file, bytes, 0), (ssize_t)bytes);
    assert_int_equal(EVP_Digest(pull->file, bytes, pull->file_hash, NULL, EVP_sha256(), NULL), 1);
    return 0;
}

static void setup(void *arg)
{
    struct pulling *pull = arg;
    struct blx_error err = {0};
    memset(pull, 0, sizeof(*pull));
    store_state_init(&pull->state);
    test_store_init(&pull->other);
    test_ok(open_offer(pull, &err), &err);
    test_ok(blx_copy_offer_encode(pull->offer, &pull->manifest, &pull->manifest_bytes, &err), &err);
    test_ok(blx_copy_offer_each(pull->offer, keep_file, pull, &err), &err);
    test_ok(blx_manifest_read(agent_of(pull), pull->state.checkpoints[1], &pull->described, &err),
            &err);
    memcpy(pull->identity, blx_copy_offer_hash(pull->offer), sizeof(pull->identity));
    pull->origin = (struct blx_origin){.address = "backup:8080", .newest = 20260101000000};
}

static void teardown(void *arg)
{
    struct pulling *pull = arg;
    blx_pulled_close(pull->pulled);
    blx_copy_offer_close(pull->offer);
    free(pull->manifest);
    free(pull->file);
    blx_manifest_done(&pull->described);
    store_state_check(&pull->state);
    store_state_done(&pull->state);
    test_store_done(&pull->other);
}

static void check_nothing(void *arg, int rc)
{
    (void)arg, (void)rc;
}

/* ---- The source ---- */

static void setup_unopened(void *arg)
{
    struct pulling *pull = arg;
    setup(arg);
    blx_copy_offer_close(pull->offer);
    pull->offer = NULL;
}

static int run_open_offer(void *arg, struct blx_error *err)
{
    static const uint8_t none[BLX_COPY_HASH_BYTES];
    struct pulling *pull = arg;
    const struct blx_copy_wish wish = {
        .checkpoint = pull->state.checkpoints[1], .hash = none, .place = "copier:second"};
    return blx_copy_offer_open(agent_of(pull), &wish, &pull->offer, err);
}

static void check_open_offer(void *arg, int rc)
{
    const struct pulling *pull = arg;
    assert_int_equal(pull->offer != NULL, rc == 0);
}

static int run_identity(void *arg, struct blx_error *err)
{
    struct pulling *pull = arg;
    return blx_copy_identity(&pull->described, pull->file_hash, err);
}

static void check_identity(void *arg, int rc)
{
    const struct pulling *pull = arg;
    assert_true(rc < 0 || memcmp(pull->file_hash, pull->identity, sizeof(pull->identity)) == 0);
}

static int run_encode(void *arg, struct blx_error *err)
{
    struct pulling *pull = arg;
    free(pull->manifest);
    pull->manifest = NULL;
    return blx_copy_offer_encode(pull->offer, &pull->manifest, &pull->manifest_bytes, err);
}

static void check_encode(void *arg, int rc)
{
    const struct pulling *pull = arg;
    assert_int_equal(pull->manifest != NULL, rc == 0);
}

static int count_file(void *arg, uint32_t entry, uint32_t number, int fd, uint64_t bytes,
                      struct blx_error *err)
{
    struct pulling *pull = arg;
    (void)entry, (void)fd, (void)bytes, (void)err;
    pull->visited += number == pull->told.number;
    return 0;
}

static int run_each(void *arg, struct blx_error *err)
{
    struct pulling *pull = arg;
    return blx_copy_offer_each(pull->offer, count_file, pull, err);
}

static void check_each(void *arg, int rc)
{
    const struct pulling *pull = arg;
    assert_true(rc < 0 || pull->visited == 1);
}

static int run_settle_offer(void *arg, struct blx_error *err)
{
    struct pulling *pull = arg;
    return blx_copy_offer_settle(pull->offer, err);
}

static void offer(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup_unopened, run_open_offer, check_open_offer, teardown, 0},
               &pulling);
    fault_loop(&(struct fault_case){setup, run_identity, check_identity, teardown, 0}, &pulling);
    fault_loop(&(struct fault_case){setup, run_encode, check_encode, teardown, 0}, &pulling);
    fault_loop(&(struct fault_case){setup, run_each, check_each, teardown, 0}, &pulling);
    fault_loop(&(struct fault_case){setup, run_settle_offer, check_nothing, teardown, 0}, &pulling);
}

/* ---- The file `source` ---- */

static void setup_folder(void *arg)
{
    struct pulling *pull = arg;
    struct blx_error err = {0};
    setup(arg);
    test_ok(blx_agent_store_enroll(copy_of(pull), &err), &err);
}

static int run_write_origin(void *arg, struct blx_error *err)
{
    struct pulling *pull = arg;
    return blx_origin_write(copy_of(pull), &pull->origin, err);
}

static void check_origin(void *arg, int rc)
{
    struct pulling *pull = arg;
    int found = blx_origin_read(copy_of(pull), &pull->read, NULL);
    assert_true(found == 1 ? pull->read.newest == pull->origin.newest : found == 0 && rc < 0);
}

static void setup_origin(void *arg)
{
    struct blx_error err = {0};
    setup_folder(arg);
    test_ok(run_write_origin(arg, &err), &err);
}

static int run_read_origin(void *arg, struct blx_error *err)
{
    struct pulling *pull = arg;
    int rc = blx_origin_read(copy_of(pull), &pull->read, err);
    return rc == 1 ? 0 : rc;
}

static int run_look_origin(void *arg, struct blx_error *err)
{
    struct pulling *pull = arg;
    int rc = blx_origin_look(copy_of(pull), &pull->read, err);
    return rc == 1 ? 0 : rc;
}

static int run_remove_origin(void *arg, struct blx_error *err)
{
    struct pulling *pull = arg;
    return blx_origin_remove(copy_of(pull), err);
}

static void check_removed(void *arg, int rc)
{
    struct pulling *pull = arg;
    assert_true(rc < 0 || blx_origin_read(copy_of(pull), &pull->read, NULL) == 0);
}

static void origin(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup_folder, run_write_origin, check_origin, teardown, 0},
               &pulling);
    fault_loop(&(struct fault_case){setup_origin, run_read_origin, check_origin, teardown, 0},
               &pulling);
    fault_loop(&(struct fault_case){setup_origin, run_look_origin, check_origin, teardown, 0},
               &pulling);
    fault_loop(&(struct fault_case){setup_origin, run_remove_origin, check_removed, teardown, 0},
               &pulling);
}

/* ---- The copier ---- */

static int run_open(void *arg, struct blx_error *err)
{
    struct pulling *pull = arg;
    return blx_pulled_open(&pull->other.store, "web1", "backup:8080", &pull->pulled, err);
}

static void check_open(void *arg, int rc)
{
    const struct pulling *pull = arg;
    assert_int_equal(pull->pulled != NULL, rc == 0);
}

static void setup_opened(void *arg)
{
    struct blx_error err = {0};
    setup(arg);
    test_ok(run_open(arg, &err), &err);
}

static int run_begin(void *arg, struct blx_error *err)
{
    struct pulling *pull = arg;
    return blx_pulled_begin(pull->pulled, pull->state.checkpoints[1], pull->manifest,
                            pull->manifest_bytes, err);
}

static void setup_begun(void *arg)
{
    struct blx_error err = {0};
    setup_opened(arg);
    test_ok(run_begin(arg, &err), &err);
}

static int run_expect(void *arg, struct blx_error *err)
{
    struct pulling *pull = arg;
    return blx_pulled_expect(pull->pulled, &pull->told, &pull->offset, err);
}

static void setup_expected(void *arg)
{
    struct blx_error err = {0};
    setup_begun(arg);
    test_ok(run_expect(arg, &err), &err);
}

static int run_write(void *arg, struct blx_error *err)
{
    struct pulling *pull = arg;
    return blx_pulled_write(pull->pulled, pull->file, pull->told.bytes, err);
}

static void setup_written(void *arg)
{
    struct blx_error err = {0};
    setup_expected(arg);
    test_ok(run_write(arg, &err), &err);
}

static int run_end(void *arg, struct blx_error *err)
{
    struct pulling *pull = arg;
    return blx_pulled_end(pull->pulled, pull->file_hash, err);
}

static void setup_ended(void *arg)
{
    struct blx_error err = {0};
    setup_written(arg);
    test_ok(run_end(arg, &err), &err);
}

static int run_commit(void *arg, struct blx_error *err)
{
    struct pulling *pull = arg;
    return blx_pulled_commit(pull->pulled, pull->identity, err);
}

/* Whatever failed, another copy makes it, with what is there already. */
static void check_again(void *arg, int rc)
{
    struct pulling *pull = arg;
    struct blx_error err = {0};
    blx_timestamp newest = 0;
    blx_pulled_close(pull->pulled);
    pull->pulled = NULL;
    test_ok(blx_manifest_latest(copy_of(pull), &newest, &err), &err);
    if (newest == 0) {
        test_ok(run_open(pull, &err), &err);
        test_ok(run_begin(pull, &err), &err);
        test_ok(run_expect(pull, &err), &err);
        if (pull->offset < pull->told.bytes)
            test_ok(blx_pulled_write(pull->pulled, (char *)pull->file + pull->offset,
                                     pull->told.bytes - pull->offset, &err),
                    &err);
        test_ok(run_end(pull, &err), &err);
        test_ok(run_commit(pull, &err), &err);
    }
    assert_true(rc < 0 || newest != 0 || pull->pulled != NULL);
    test_restores_to(&pull->other, pull->state.checkpoints[1], "vda", pull->state.images[1],
                     STATE_BYTES);
}

static void setup_committed(void *arg)
{
    struct blx_error err = {0};
    setup_ended(arg);
    test_ok(run_commit(arg, &err), &err);
}

static int run_settle(void *arg, struct blx_error *err)
{
    struct pulling *pull = arg;
    return blx_pulled_settle(pull->pulled, err);
}

static int run_adopt(void *arg, struct blx_error *err)
{
    struct pulling *pull = arg;
    return blx_pulled_adopt(pull->pulled, err);
}

static void setup_closed(void *arg)
{
    struct pulling *pull = arg;
    setup_committed(arg);
    blx_pulled_close(pull->pulled);
    pull->pulled = NULL;
}

static int run_open_heal(void *arg, struct blx_error *err)
{
    struct pulling *pull = arg;
    return blx_pulled_open_heal(&pull->other.store, "web1", pull->state.checkpoints[1],
                                &pull->pulled, err);
}

static void heals(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup_closed, run_open_heal, check_open, teardown, 0},
               &pulling);
}

static void copies(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup, run_open, check_open, teardown, 0}, &pulling);
    fault_loop(&(struct fault_case){setup_opened, run_begin, check_again, teardown, 0}, &pulling);
    fault_loop(&(struct fault_case){setup_begun, run_expect, check_again, teardown, 0}, &pulling);
    fault_loop(&(struct fault_case){setup_expected, run_write, check_again, teardown, 0}, &pulling);
    fault_loop(&(struct fault_case){setup_written, run_end, check_again, teardown, 0}, &pulling);
    fault_loop(&(struct fault_case){setup_ended, run_commit, check_again, teardown, 0}, &pulling);
    fault_loop(&(struct fault_case){setup_committed, run_settle, check_nothing, teardown, 0},
               &pulling);
    fault_loop(&(struct fault_case){setup_committed, run_adopt, check_removed, teardown, 0},
               &pulling);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(offer), cmocka_unit_test(origin),
                                       cmocka_unit_test(copies), cmocka_unit_test(heals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
