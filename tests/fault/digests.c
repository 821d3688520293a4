/* SPDX-License-Identifier: Apache-2.0 */
/* The digests beside the frames: the secret, the open segment's log, the sealed one's table, and
 * what a rewrite takes along. Whatever failed, a digest is right or missing. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../unit/store/fixture.h"
#include "loop.h"
#include "store/digest_key.h"
#include "store/prune/carried_digests_private.h"
#include "store/segment/digest_log_private.h"
#include "store_state.h"

enum { COUNT = 3 };

struct digesting {
    struct store_state state;
    char dir[PATH_MAX];
    struct blx_frame frame; /* of the volume; with digests */
    struct blx_digest_log log;
    struct blx_segment_reader *reader;
    struct blx_carried_digests carried;
    struct blx_volume_key keys;
    struct blx_key first, key;
    uint8_t digests[COUNT << BLX_BLOCK_DIGEST_SHIFT];
    uint8_t data[COUNT * TEST_BLOCK_BYTES];
    int found;
};

static struct blx_agent_store agent_of(const struct digesting *digesting)
{
    return blx_store_agent(&digesting->state.test.store, "web1");
}

static void setup(void *arg)
{
    struct digesting *digesting = arg;
    const uint64_t blocks[COUNT] = {1, 2, 5};
    memset(digesting, 0, sizeof(*digesting));
    store_state_init(&digesting->state);
    test_path(&digesting->state.test, digesting->dir, "agents/web1/volumes/vda");
    digesting->keys = test_digest_keys("vda");
    for (size_t i = 0; i < COUNT; i++) {
        test_volume_write(&digesting->state.volume, blocks[i], 90 + i);
        memcpy(digesting->data + i * TEST_BLOCK_BYTES,
               digesting->state.volume.image + blocks[i] * TEST_BLOCK_BYTES, TEST_BLOCK_BYTES);
    }
    test_volume_frame(&digesting->state.volume, blocks, COUNT);
    assert_int_equal(blx_frame_parse_with_digests(digesting->state.volume.frame,
                                                  digesting->state.volume.sent_bytes,
                                                  &digesting->frame, NULL),
                     0);
    char path[PATH_MAX];
    test_path(&digesting->state.test, path, "agents/web1/volumes/vda/open.seg");
    assert_int_equal(blx_digest_log_init(&digesting->log, path, NULL), 0);
}

static void teardown(void *arg)
{
    struct digesting *digesting = arg;
    blx_digest_log_close(&digesting->log);
    blx_segment_reader_close(digesting->reader);
    blx_carried_digests_done(&digesting->carried);
    store_state_done(&digesting->state);
}

static void check_digests(const struct digesting *digesting, const uint8_t *digests)
{
    assert_memory_equal(digests, digesting->frame.digests, sizeof(digesting->digests));
}

/* The log. */

static int run_write(void *arg, struct blx_error *err)
{
    struct digesting *digesting = arg;
    return blx_digest_log_write(&digesting->log, &digesting->frame, &digesting->keys.id, err);
}

static int run_reopen(void *arg, struct blx_error *err)
{
    return blx_digest_log_reopen(&((struct digesting *)arg)->log, err);
}

static int run_find(void *arg, struct blx_error *err)
{
    struct digesting *digesting = arg;
    digesting->found = blx_digest_log_find(&digesting->log, &digesting->frame, err);
    return digesting->found < 0 ? digesting->found : 0;
}

static int run_read(void *arg, struct blx_error *err)
{
    struct digesting *digesting = arg;
    return blx_digest_log_read(&digesting->log, 1, COUNT, digesting->digests, err);
}

static int run_remove(void *arg, struct blx_error *err)
{
    return blx_digest_log_remove(&((struct digesting *)arg)->log, err);
}

/* The record is there, or none is. */
static void check_log(void *arg, int rc)
{
    struct digesting *digesting = arg;
    blx_digest_log_close(&digesting->log);
    digesting->log.key_id = (struct blx_key_id){0};
    assert_int_equal(run_reopen(arg, NULL), 0);
    assert_int_equal(run_find(arg, NULL), 0);
    assert_true(digesting->found == 1 || rc < 0);
    if (digesting->found == 1) {
        assert_int_equal(run_read(arg, NULL), 0);
        check_digests(digesting, digesting->digests);
    }
}

static void setup_log(void *arg)
{
    setup(arg);
    assert_int_equal(run_write(arg, NULL), 0);
}

static void setup_closed(void *arg)
{
    struct digesting *digesting = arg;
    setup_log(arg);
    blx_digest_log_close(&digesting->log);
    digesting->log.key_id = (struct blx_key_id){0};
}

static void setup_reopened(void *arg)
{
    setup_closed(arg);
    assert_int_equal(run_reopen(arg, NULL), 0);
}

static void check_find(void *arg, int rc)
{
    struct digesting *digesting = arg;
    assert_int_equal(digesting->found, rc == 0 ? digesting->found : rc);
    assert_int_equal(run_find(arg, NULL), 0); /* it was not lost */
    assert_int_equal(digesting->found, 1);
}

static void check_read(void *arg, int rc)
{
    struct digesting *digesting = arg;
    if (rc == 0)
        check_digests(digesting, digesting->digests);
}

static void check_removed(void *arg, int rc)
{
    const struct digesting *digesting = arg;
    struct stat st;
    assert_int_equal(stat(digesting->log.path, &st) == 0, rc < 0);
}

static void a_record_is_whole_or_missing(void **state)
{
    (void)state;
    static struct digesting digesting;
    fault_loop(&(struct fault_case){setup, run_write, check_log, teardown, 0}, &digesting);
    fault_loop(&(struct fault_case){setup_closed, run_reopen, check_log, teardown, 0}, &digesting);
    fault_loop(&(struct fault_case){setup_log, run_read, check_read, teardown, 0}, &digesting);
    fault_loop(&(struct fault_case){setup_log, run_remove, check_removed, teardown, 0}, &digesting);
}

/* What the disk does not give counts as missing, so this fails only for other reasons. */
static void a_record_that_the_disk_keeps_back_is_missing(void **state)
{
    (void)state;
    static struct digesting digesting;
    setup_reopened(&digesting);
    struct blx_error err = {0};
    assert_int_equal(run_find(&digesting, &err), 0);
    check_find(&digesting, 0);
    close(digesting.log.fd);
    digesting.log.fd = 1000; /* no file */
    digesting.found = 0;
    assert_true(blx_digest_log_find(&digesting.log, &digesting.frame, &err) < 0);
    digesting.log.fd = -1;
    teardown(&digesting);
}

/* The secret. */

static int run_take(void *arg, struct blx_error *err)
{
    struct digesting *digesting = arg;
    return blx_digest_key_take(agent_of(digesting), &digesting->key, err);
}

/* One that was there stays; a new one is whole. */
static void check_take(void *arg, int rc)
{
    struct digesting *digesting = arg;
    const struct blx_key got = digesting->key;
    assert_int_equal(run_take(arg, NULL), 0);
    if (rc == 0)
        assert_memory_equal(&got, &digesting->key, sizeof(got));
    if (!blx_key_id_is_none(&digesting->first.id))
        assert_memory_equal(&digesting->first, &digesting->key, sizeof(got));
}

static int run_look(void *arg, struct blx_error *err)
{
    struct digesting *digesting = arg;
    digesting->found = blx_digest_key_find(agent_of(digesting), "vda", &digesting->keys, err);
    return digesting->found < 0 ? digesting->found : 0;
}

static void check_look(void *arg, int rc)
{
    const struct digesting *digesting = arg;
    assert_true(rc < 0 || digesting->found == 1);
    assert_int_equal(blx_key_id_equal(&digesting->keys.id, &digesting->first.id), rc == 0);
}

static void setup_secret(void *arg)
{
    struct digesting *digesting = arg;
    setup(arg);
    assert_int_equal(run_take(arg, NULL), 0);
    digesting->first = digesting->key;
    memset(&digesting->key, 0, sizeof(digesting->key));
}

static void a_secret_is_made_once_and_whole(void **state)
{
    (void)state;
    static struct digesting digesting;
    fault_loop(&(struct fault_case){setup, run_take, check_take, teardown, 0}, &digesting);
    fault_loop(&(struct fault_case){setup_secret, run_take, check_take, teardown, 0}, &digesting);
    fault_loop(&(struct fault_case){setup_secret, run_look, check_look, teardown, 0}, &digesting);
}

/* The table, and what is taken along from it. */

static int run_table(void *arg, struct blx_error *err)
{
    struct digesting *digesting = arg;
    return blx_segment_reader_digests(digesting->reader, 0, COUNT, digesting->digests, err);
}

static void check_table(void *arg, int rc)
{
    struct digesting *digesting = arg;
    uint8_t again[sizeof(digesting->digests)];
    assert_int_equal(blx_segment_reader_digests(digesting->reader, 0, COUNT, again, NULL), 0);
    if (rc == 0)
        assert_memory_equal(again, digesting->digests, sizeof(again));
}

static void setup_table(void *arg)
{
    struct digesting *digesting = arg;
    setup(arg);
    assert_int_equal(blx_segment_reader_open(digesting->dir, 1, &digesting->reader, NULL), 0);
    assert_true(blx_segment_reader_summary(digesting->reader)->digest_count >= COUNT);
    blx_segment_reader_shrink(digesting->reader, BLX_SEGMENT_CLOSE_FILE);
}

static int run_carry(void *arg, struct blx_error *err)
{
    struct digesting *digesting = arg;
    return blx_carried_digests_open(&digesting->carried, digesting->dir, 1, err);
}

static void check_carry(void *arg, int rc)
{
    struct digesting *digesting = arg;
    if (rc < 0)
        assert_int_equal(run_carry(arg, NULL), 0);
    assert_true(digesting->carried.entry_count > 0);
}

/* A frame of which the table has nothing, so that its digests are made. */
static int run_make(void *arg, struct blx_error *err)
{
    struct digesting *digesting = arg;
    struct blx_frame frame = digesting->frame;
    frame.digests = NULL;
    int rc = blx_carried_digests_find(&digesting->carried, &frame, UINT64_MAX, err);
    digesting->found = frame.digests != NULL;
    return rc;
}

static void check_make(void *arg, int rc)
{
    const struct digesting *digesting = arg;
    assert_int_equal(digesting->found, rc == 0);
    if (rc == 0)
        check_digests(digesting, digesting->carried.digests);
}

static void setup_make(void *arg)
{
    struct digesting *digesting = arg;
    setup(arg);
    assert_int_equal(run_carry(arg, NULL), 0);
    digesting->carried.key = &digesting->keys;
}

static int run_digest(void *arg, struct blx_error *err)
{
    struct digesting *digesting = arg;
    return blx_frame_digest(&digesting->frame, digesting->data, &digesting->keys,
                            digesting->digests, err);
}

static int run_parse(void *arg, struct blx_error *err)
{
    struct digesting *digesting = arg;
    return blx_frame_parse_with_digests(digesting->state.volume.frame,
                                        digesting->state.volume.sent_bytes, &digesting->frame, err);
}

static void check_parse(void *arg, int rc)
{
    const struct digesting *digesting = arg;
    (void)rc;
    assert_ptr_equal(digesting->frame.digests,
                     digesting->state.volume.frame + digesting->state.volume.frame_bytes);
}

static void digests_are_taken_along_or_made(void **state)
{
    (void)state;
    static struct digesting digesting;
    fault_loop(&(struct fault_case){setup, run_digest, check_read, teardown, 0}, &digesting);
    fault_loop(&(struct fault_case){setup, run_parse, check_parse, teardown, 0}, &digesting);
    fault_loop(&(struct fault_case){setup_table, run_table, check_table, teardown, 0}, &digesting);
    fault_loop(&(struct fault_case){setup, run_carry, check_carry, teardown, 0}, &digesting);
    fault_loop(&(struct fault_case){setup_make, run_make, check_make, teardown, 0}, &digesting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_is_whole_or_missing),
        cmocka_unit_test(a_record_that_the_disk_keeps_back_is_missing),
        cmocka_unit_test(a_secret_is_made_once_and_whole),
        cmocka_unit_test(digests_are_taken_along_or_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
