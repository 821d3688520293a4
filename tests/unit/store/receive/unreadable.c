/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints that lack what the agent could not read: committed, told, refused by a restore, and
 * never taken for known by a rescan. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "crypt/block_digest.h"
#include "fixture.h"
#include "store/view/image.h"
#include "store/verify/verify.h"

enum { BLOCKS = 60, SIZE_BYTES = BLOCKS * TEST_BLOCK_BYTES };

struct fixture {
    struct test_store test;
    struct test_volume sda;
    struct test_volume *volumes[1];
    struct blx_agent_writer *writer;
    struct blx_volume_state state;
};

/* A volume whose first checkpoint is whole. */
static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct blx_error err = {0};
    assert_non_null(f);
    test_store_init(&f->test);
    test_volume_init(&f->sda, "sda", SIZE_BYTES, 1);
    f->volumes[0] = &f->sda;
    for (uint64_t block = 0; block < BLOCKS; block++)
        test_volume_write(&f->sda, block, block + 1);
    f->writer = test_writer_open(&f->test, f->volumes, 1, &f->state);
    test_ok(blx_agent_writer_begin(f->writer, 0, BLX_PASS_FULL, &err), &err);
    test_volume_send_all(&f->sda, f->writer, 17);
    test_writer_commit(f->writer, f->volumes, 1, 1000000000);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    blx_agent_writer_close(f->writer);
    test_volume_done(&f->sda);
    test_store_done(&f->test);
    free(f);
    return 0;
}

static int lack(struct fixture *f, struct blx_extent first, struct blx_extent second)
{
    struct blx_unreadable unreadable = {.extent_count = second.block_count > 0 ? 2 : 1,
                                        .extents = {first, second}};
    return blx_agent_writer_note_unreadable(f->writer, &unreadable, NULL);
}

/* A checkpoint without blocks 3, 4 and 30, one of which has changed; block 5 has, too. */
static blx_timestamp commit_damaged(struct fixture *f)
{
    test_volume_send(&f->sda, f->writer, 5, 1005);
    test_volume_write(&f->sda, 4, 1004);
    assert_int_equal(lack(f, (struct blx_extent){3, 2}, (struct blx_extent){30, 1}), 0);
    return test_writer_commit(f->writer, f->volumes, 1, 1000000100);
}

static int restore(struct fixture *f, blx_timestamp timestamp, const char *path,
                   struct blx_losses *losses, struct blx_error *err)
{
    struct blx_restore_target target = {.path = path, .losses = losses};
    return blx_restore(blx_store_agent(&f->test.store, "web1"), timestamp, "sda", &target, NULL,
                       err);
}

static void a_damaged_checkpoint_is_refused_with_its_extents(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    char path[PATH_MAX];
    blx_timestamp timestamp = commit_damaged(f);
    test_path(&f->test, path, "image");
    assert_int_equal(restore(f, timestamp, path, NULL, &err), -EBADMSG);
    assert_non_null(strstr(err.message, "20010909014820"));
    assert_non_null(strstr(err.message, "12288-20479, 122880-126975"));
    assert_non_null(strstr(err.message, "--force"));
    assert_int_equal(access(path, F_OK), -1);
}

static void a_forced_restore_gives_all_but_the_extents(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    char path[PATH_MAX];
    struct blx_losses losses = {0};
    blx_timestamp timestamp = commit_damaged(f);
    test_path(&f->test, path, "image");
    test_ok(restore(f, timestamp, path, &losses, &err), &err);
    assert_int_equal(losses.count, 2);
    assert_int_equal(losses.list[0].offset_bytes, 3 * TEST_BLOCK_BYTES);
    assert_int_equal(losses.list[0].bytes, 2 * TEST_BLOCK_BYTES);
    assert_int_equal(losses.list[0].content, BLX_LOSS_OLDER);
    assert_int_equal(losses.list[1].offset_bytes, 30 * TEST_BLOCK_BYTES);
    assert_non_null(strstr(losses.list[1].cause, "could not read"));
    blx_losses_done(&losses);

    BLX_CLEANUP_FREE void *image = NULL;
    size_t bytes = 0;
    test_ok(blx_file_read(path, SIZE_BYTES + 1, &image, &bytes, &err), &err);
    assert_int_equal(bytes, SIZE_BYTES);
    test_volume_write(&f->sda, 4, 5); /* as of the first checkpoint */
    assert_memory_equal(image, f->sda.image, SIZE_BYTES);
}

/* Of a first sync the chain has nothing there. */
static void a_forced_restore_gives_zeros_where_the_chain_has_nothing(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    char path[PATH_MAX];
    struct blx_losses losses = {0};
    BLX_CLEANUP_FREE void *image = NULL;
    size_t bytes = 0;
    f->sda.info.generation.bytes[0]++;
    f->sda.seq = 0;
    blx_agent_writer_close(f->writer);
    f->writer = test_writer_open(&f->test, f->volumes, 1, &f->state);
    test_ok(blx_agent_writer_begin(f->writer, 0, BLX_PASS_FULL, &err), &err);
    for (uint64_t block = 0; block < BLOCKS; block++)
        if (block != 7)
            test_volume_send(&f->sda, f->writer, block, block + 1);
    assert_int_equal(lack(f, (struct blx_extent){6, 3}, (struct blx_extent){0}), 0);
    blx_timestamp timestamp = test_writer_commit(f->writer, f->volumes, 1, 1000000100);
    test_path(&f->test, path, "image");
    test_ok(restore(f, timestamp, path, &losses, &err), &err);
    assert_int_equal(losses.count, 3);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(losses.list[i].offset_bytes, (6 + i) * TEST_BLOCK_BYTES);
        assert_int_equal(losses.list[i].bytes, TEST_BLOCK_BYTES);
        assert_int_equal(losses.list[i].content, i == 1 ? BLX_LOSS_ZEROS : BLX_LOSS_OLDER);
    }
    blx_losses_done(&losses);
    test_ok(blx_file_read(path, SIZE_BYTES + 1, &image, &bytes, &err), &err);
    memset(f->sda.image + 7 * TEST_BLOCK_BYTES, 0, TEST_BLOCK_BYTES);
    assert_memory_equal(image, f->sda.image, SIZE_BYTES);
}

/* What the last checkpoint lacks. */
static uint64_t lacking(const struct fixture *f)
{
    return blx_manifest_unreadable_bytes(blx_agent_writer_get_last(f->writer));
}

static void only_its_own_checkpoint_is_damaged(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    BLX_CLEANUP_FREE uint8_t *before = malloc(SIZE_BYTES);
    assert_non_null(before);
    memcpy(before, f->sda.image, SIZE_BYTES);
    commit_damaged(f);
    assert_int_equal(lacking(f), 3 * TEST_BLOCK_BYTES);
    blx_agent_writer_close(f->writer);
    f->writer = test_writer_open(&f->test, f->volumes, 1, &f->state);
    assert_int_equal(lacking(f), 3 * TEST_BLOCK_BYTES);

    test_ok(blx_agent_writer_begin(f->writer, 0, BLX_PASS_RESUME, &err), &err);
    test_volume_send(&f->sda, f->writer, 3, 2003);
    test_volume_send(&f->sda, f->writer, 4, 2004);
    test_volume_send(&f->sda, f->writer, 30, 0);
    blx_timestamp whole = test_writer_commit(f->writer, f->volumes, 1, 1000000200);
    assert_int_equal(lacking(f), 0);
    test_restores_to(&f->test, whole, "sda", f->sda.image, SIZE_BYTES);
    test_restores_to(&f->test, 20010909014640, "sda", before, SIZE_BYTES);
}

static void nonsense_is_the_agents_fault_and_changes_nothing(void **state)
{
    struct fixture *f = *state;
    const struct blx_extent none = {0};
    assert_int_equal(lack(f, (struct blx_extent){BLOCKS - 1, 2}, none), -EPROTO);
    assert_int_equal(lack(f, (struct blx_extent){BLOCKS, 1}, none), -EPROTO);
    struct blx_unreadable other = {.volume = 1, .extent_count = 1, .extents = {{1, 1}}};
    assert_int_equal(blx_agent_writer_note_unreadable(f->writer, &other, NULL), -EPROTO);
    blx_timestamp whole = test_writer_commit(f->writer, f->volumes, 1, 1000000100);
    test_restores_to(&f->test, whole, "sda", f->sda.image, SIZE_BYTES);
    assert_int_equal(lack(f, (struct blx_extent){BLOCKS - 1, 1}, none), 0);
    assert_int_equal(lack(f, (struct blx_extent){2, 1}, none), -EPROTO);
}

static bool is_known(struct blx_image *image, uint64_t block)
{
    uint8_t buffer[TEST_BLOCK_BYTES];
    int rc = blx_image_read(image, block, 1, buffer, NULL);
    assert_true(rc == 0 || rc == -EBADMSG);
    return rc == 0;
}

/* The chain may hold anything there: a rescan must fetch it. A frame that came after the checkpoint
 * is as good as any. */
static void digest_block(const struct fixture *f, uint64_t block,
                         uint8_t digest[BLX_BLOCK_DIGEST_BYTES])
{
    struct blx_error err = {0};
    struct blx_block_digester *digester;
    const struct blx_volume_key keys = test_digest_keys("sda");
    test_ok(blx_block_digester_new(&keys, &digester, &err), &err);
    test_ok(blx_block_digest(digester, block, f->sda.image + block * TEST_BLOCK_BYTES,
                             TEST_BLOCK_BYTES, digest, &err),
            &err);
    blx_block_digester_free(digester);
}

static void a_rescans_image_does_not_know_what_the_checkpoint_lacks(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    commit_damaged(f);
    for (int round = 0; round < 2; round++) {
        struct blx_image *image = NULL;
        if (round == 1)
            test_volume_send(&f->sda, f->writer, 4, 3004);
        test_ok(blx_agent_writer_open_image(f->writer, 0, BLX_IMAGE_FROM_TABLES, &image, &err),
                &err);
        for (uint64_t block = 0; block < BLOCKS; block++)
            assert_int_equal(is_known(image, block),
                             block != 3 && (block != 4 || round == 1) && block != 30);
        uint8_t got[BLX_BLOCK_DIGEST_BYTES], wanted[BLX_BLOCK_DIGEST_BYTES];
        test_ok(blx_image_read(image, 5, 1, got, &err), &err);
        digest_block(f, 5, wanted);
        assert_memory_equal(got, wanted, BLX_BLOCK_DIGEST_BYTES);
        blx_image_close(image);
    }
}

static void verify_names_it_and_finds_no_damage(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    struct blx_verify_report report;
    commit_damaged(f);
    test_ok(blx_verify(&f->test.store, NULL, NULL, &report, &err), &err);
    assert_int_equal(report.damage_count, 0);
    assert_int_equal(report.hurt_count, 0);
    assert_int_equal(report.unreadable_count, 1);
    assert_string_equal(report.unreadable[0].agent_id, "web1");
    assert_int_equal(report.unreadable[0].checkpoint, 20010909014820);
    blx_verify_report_done(&report);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_damaged_checkpoint_is_refused_with_its_extents),
        TEST(a_forced_restore_gives_all_but_the_extents),
        TEST(a_forced_restore_gives_zeros_where_the_chain_has_nothing),
        TEST(only_its_own_checkpoint_is_damaged),
        TEST(nonsense_is_the_agents_fault_and_changes_nothing),
        TEST(a_rescans_image_does_not_know_what_the_checkpoint_lacks),
        TEST(verify_names_it_and_finds_no_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
