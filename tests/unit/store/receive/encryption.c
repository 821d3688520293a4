/* SPDX-License-Identifier: Apache-2.0 */
/* Encrypted frames in the store: it keeps, compares, checks and removes them without the key, and a
 * restore needs just the right one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "store/view/image.h"
#include "store/layout_private.h"
#include "store/verify/verify.h"

enum { BLOCKS = 24, SIZE_BYTES = BLOCKS * TEST_BLOCK_BYTES };

struct fixture {
    struct test_store test;
    struct test_volume sda;
    struct test_volume *volumes[1];
    struct blx_keyring rings[2]; /* each with one key */
    struct blx_volume_key keys[2];
    struct blx_agent_writer *writer;
    struct blx_volume_state state;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    test_store_init(&f->test);
    test_volume_init(&f->sda, "sda", SIZE_BYTES, 1);
    f->volumes[0] = &f->sda;
    for (size_t i = 0; i < 2; i++) {
        struct blx_key *key = &f->rings[i].keys[f->rings[i].count++];
        assert_int_equal(blx_key_create(key, NULL), 0);
        assert_int_equal(blx_volume_key_derive(key, "web1", "sda", &f->keys[i], NULL), 0);
    }
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

static void open_session(struct fixture *f, const struct blx_volume_key *key)
{
    blx_agent_writer_close(f->writer);
    f->sda.key = key;
    f->writer = test_writer_open(&f->test, f->volumes, 1, &f->state);
}

static void begin(struct fixture *f, enum blx_pass pass)
{
    struct blx_error err = {0};
    test_ok(blx_agent_writer_begin(f->writer, 0, pass, &err), &err);
}

/* A full pass under another generation, some blocks zero, and its checkpoint. */
static blx_timestamp take_base(struct fixture *f, const struct blx_volume_key *key, uint8_t number)
{
    test_volume_generation(&f->sda, number);
    open_session(f, key);
    begin(f, BLX_PASS_FULL);
    for (uint64_t block = 0; block < BLOCKS; block++)
        test_volume_write(&f->sda, block, block % 5 == 0 ? 0 : number * 100 + block);
    test_volume_send_all(&f->sda, f->writer, 7);
    return test_writer_commit(f->writer, f->volumes, 1, number * UINT64_C(1000));
}

static int restore(const struct fixture *f, blx_timestamp timestamp, const struct blx_keyring *keys,
                   struct blx_losses *losses, struct blx_error *err)
{
    char path[PATH_MAX];
    test_path(&f->test, path, "out.img");
    const struct blx_restore_target target = {.path = path,
                                              .keys = keys,
                                              .losses = losses,
                                              .flags = losses != NULL ? BLX_RESTORE_FORCE : 0};
    return blx_restore(blx_store_agent(&f->test.store, "web1"), timestamp, "sda", &target, NULL,
                       err);
}

static void check_image(const struct fixture *f, const uint8_t *expected)
{
    char path[PATH_MAX];
    uint8_t *got = malloc(SIZE_BYTES);
    assert_non_null(got);
    test_path(&f->test, path, "out.img");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, got, SIZE_BYTES, 0), SIZE_BYTES);
    assert_memory_equal(got, expected, SIZE_BYTES);
    close(fd);
    free(got);
    assert_int_equal(unlink(path), 0);
}

static void check_refused(const struct fixture *f, blx_timestamp timestamp,
                          const struct blx_keyring *keys, int rc, const char *reason)
{
    char path[PATH_MAX];
    struct stat st;
    struct blx_error err = {0};
    assert_int_equal(restore(f, timestamp, keys, NULL, &err), rc);
    if (strstr(err.message, reason) == NULL)
        fail_msg("'%s' was expected: %s", reason, err.message);
    test_path(&f->test, path, "out.img");
    assert_int_equal(stat(path, &st), -1);
    test_path(&f->test, path, "out.img.partial");
    assert_int_equal(stat(path, &st), -1);
}

static void a_chain_restores_with_its_key_alone(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    char id[BLX_KEY_ID_TEXT_BYTES];
    take_base(f, &f->keys[0], 1);
    test_volume_send(&f->sda, f->writer, 3, 77);
    blx_timestamp last = test_writer_commit(f->writer, f->volumes, 1, 2000);
    blx_key_id_format(&f->keys[0].id, id);
    check_refused(f, last, NULL, -ENOKEY, id);
    check_refused(f, last, &f->rings[1], -ENOKEY, id);
    test_ok(restore(f, last, &f->rings[0], NULL, &err), &err);
    check_image(f, f->sda.image);
}

static void a_key_refuses_what_is_not_encrypted(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    blx_timestamp plain = take_base(f, NULL, 1);
    check_refused(f, plain, &f->rings[0], -ENOKEY, "not encrypted");
    test_ok(restore(f, plain, NULL, NULL, &err), &err);
    check_image(f, f->sda.image);
}

static void check_needs_full(struct fixture *f, const struct blx_volume_key *key,
                             const char *reason)
{
    test_volume_generation(&f->sda, 200);
    open_session(f, key);
    assert_true(blx_generation_is_none(&f->state.generation));
    assert_int_equal(f->state.image_bytes, 0);
    assert_non_null(strstr(f->state.reason, reason));
    assert_int_equal(blx_agent_writer_begin(f->writer, 0, BLX_PASS_RESCAN, NULL), -EPROTO);
    assert_int_equal(blx_agent_writer_begin(f->writer, 0, BLX_PASS_RESUME, NULL), -EPROTO);
}

static void another_key_begins_a_chain_of_its_own(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    uint8_t before[2][SIZE_BYTES];
    blx_timestamp plain = take_base(f, NULL, 1);
    memcpy(before[0], f->sda.image, SIZE_BYTES);
    check_needs_full(f, &f->keys[0], "it is encrypted from now on");
    blx_timestamp first = take_base(f, &f->keys[0], 2);
    memcpy(before[1], f->sda.image, SIZE_BYTES);
    check_needs_full(f, &f->keys[1], "its encryption key changed from");
    check_needs_full(f, NULL, "it is not encrypted any more");
    blx_timestamp second = take_base(f, &f->keys[1], 3);
    test_ok(restore(f, plain, NULL, NULL, &err), &err);
    check_image(f, before[0]);
    test_ok(restore(f, first, &f->rings[0], NULL, &err), &err);
    check_image(f, before[1]);
    test_ok(restore(f, second, &f->rings[1], NULL, &err), &err);
    check_image(f, f->sda.image);
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    test_ok(blx_manifest_read(blx_store_agent(&f->test.store, "web1"), second, &manifest, &err),
            &err);
    assert_true(manifest.volumes[0].base);
    assert_true(blx_key_id_equal(&manifest.volumes[0].key_id, &f->keys[1].id));
}

/* Whatever follows the last checkpoint counts: an open segment, a sealed one, none. */
static void the_key_of_uncommitted_frames_is_known_again(void **state)
{
    struct fixture *f = *state;
    struct blx_image *image = NULL;
    take_base(f, NULL, 1);
    test_volume_generation(&f->sda, 2);
    open_session(f, &f->keys[0]);
    begin(f, BLX_PASS_FULL);
    test_volume_send(&f->sda, f->writer, 3, 77);
    test_ok(blx_agent_writer_sync(f->writer, NULL, NULL, NULL), NULL);
    open_session(f, &f->keys[0]);
    assert_string_equal(f->state.reason, "");
    assert_int_equal(f->state.durable_seq, 1);
    begin(f, BLX_PASS_RESUME);
    test_ok(blx_agent_writer_open_image(f->writer, 0, BLX_IMAGE_FROM_TABLES, &image, NULL),
            NULL); /* which seals */
    blx_image_close(image);
    open_session(f, &f->keys[0]);
    assert_string_equal(f->state.reason, "");
    open_session(f, &f->keys[1]);
    assert_non_null(strstr(f->state.reason, "key changed"));
    open_session(f, NULL);
    assert_non_null(strstr(f->state.reason, "not encrypted any more"));
}

static void a_frame_of_another_key_than_the_session_is_refused(void **state)
{
    struct fixture *f = *state;
    const struct blx_volume_key *wrong[] = {NULL, &f->keys[1]};
    take_base(f, &f->keys[0], 1);
    for (size_t i = 0; i < 2; i++) {
        uint64_t block = 3;
        f->sda.key = wrong[i];
        test_volume_frame(&f->sda, &block, 1);
        f->sda.seq--;
        struct blx_error err = {0};
        assert_int_equal(
            blx_agent_writer_append(f->writer, 0, f->sda.frame, f->sda.frame_bytes, &err), -EPROTO);
        assert_non_null(strstr(err.message, "key that the session named"));
    }
    f->sda.key = &f->keys[0];
    test_volume_send(&f->sda, f->writer, 3, 78);
}

static void an_encrypted_image_has_digests_in_place_of_blocks(void **state)
{
    struct fixture *f = *state;
    struct blx_image *image = NULL;
    struct blx_block_digester *digester = NULL;
    uint8_t found[BLOCKS + 2][BLX_BLOCK_DIGEST_BYTES], expected[BLX_BLOCK_DIGEST_BYTES];
    struct blx_error err = {0};
    take_base(f, &f->keys[0], 1);
    test_volume_send(&f->sda, f->writer, 5, 99);
    test_volume_send(&f->sda, f->writer, 6, 0);
    test_ok(blx_agent_writer_open_image(f->writer, 0, BLX_IMAGE_FROM_TABLES, &image, &err), &err);
    assert_int_equal(blx_image_block_shift(image), TEST_BLOCK_SHIFT);
    assert_int_equal(blx_image_unit_shift(image), BLX_BLOCK_DIGEST_SHIFT);
    test_ok(blx_image_read(image, 0, BLOCKS + 2, found, &err), &err);
    test_ok(blx_block_digester_new(&f->keys[0], &digester, &err), &err);
    for (uint64_t block = 0; block < BLOCKS; block++) {
        test_ok(blx_block_digest(digester, block, f->sda.image + block * TEST_BLOCK_BYTES,
                                 TEST_BLOCK_BYTES, expected, &err),
                &err);
        assert_memory_equal(found[block], expected, sizeof(expected));
    }
    assert_memory_equal(found[BLOCKS + 1], blx_block_digest_zero, sizeof(expected));
    blx_block_digester_free(digester);
    blx_image_close(image);
}

/* Changes a byte of the first frame of the first segment and makes its checksum right, as somebody
 * does who can write the store. */
static void tamper(const struct fixture *f, size_t offset)
{
    char path[PATH_MAX];
    uint8_t bytes[64 * 1024];
    size_t frame_bytes = 0;
    test_path(&f->test, path, "agents/web1/volumes/sda/00000001.seg");
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    off_t at = sizeof(struct blx_segment_header_disk);
    assert_true(pread(fd, bytes, sizeof(bytes), at) > 200);
    assert_int_equal(blx_frame_peek(bytes, &frame_bytes, NULL), 0);
    assert_true(offset < frame_bytes && frame_bytes <= sizeof(bytes));
    bytes[offset] ^= 1;
    struct blx_frame_header_disk header;
    memcpy(&header, bytes, sizeof(header));
    blx_frame_seal(bytes, blx_le64_get(header.seq));
    assert_int_equal(pwrite(fd, bytes, frame_bytes, at), frame_bytes);
    close(fd);
}

static void what_was_tampered_with_is_named_as_damage(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    BLX_CLEANUP(blx_losses_done) struct blx_losses losses = {0};
    blx_timestamp base = take_base(f, &f->keys[0], 1);
    uint8_t expected[SIZE_BYTES];
    memcpy(expected, f->sda.image, SIZE_BYTES);
    /* The first frame has blocks 0 to 6: 0 and 5 are zero, so that it has four extents. */
    tamper(f, 64 + 4 * 16 + 48 + 5 * 16 + 9);
    check_refused(f, base, &f->rings[0], -EBADMSG, "not what the agent encrypted");
    check_refused(f, base, &f->rings[0], -EBADMSG, "segment 1, byte 32");
    check_refused(f, base, &f->rings[0], -EBADMSG, "bytes 4096-20479, 24576-28671");
    test_ok(restore(f, base, &f->rings[0], &losses, &err), &err);
    assert_int_equal(losses.count, 2);
    memset(expected, 0, 7 * (size_t)TEST_BLOCK_BYTES);
    check_image(f, expected);
}

static void verify_needs_no_key_and_finds_a_flipped_byte(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    struct blx_verify_report report = {0};
    take_base(f, &f->keys[0], 1);
    test_ok(blx_verify(&f->test.store, NULL, NULL, &report, &err), &err);
    assert_int_equal(report.damage_count, 0);
    blx_verify_report_done(&report);
    char path[PATH_MAX];
    test_path(&f->test, path, "agents/web1/volumes/sda/00000001.seg");
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, 300), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, 300), 1);
    close(fd);
    test_ok(blx_verify(&f->test.store, NULL, NULL, &report, &err), &err);
    assert_int_equal(report.damage_count, 1);
    blx_verify_report_done(&report);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_chain_restores_with_its_key_alone),
        TEST(a_key_refuses_what_is_not_encrypted),
        TEST(another_key_begins_a_chain_of_its_own),
        TEST(the_key_of_uncommitted_frames_is_known_again),
        TEST(a_frame_of_another_key_than_the_session_is_refused),
        TEST(an_encrypted_image_has_digests_in_place_of_blocks),
        TEST(what_was_tampered_with_is_named_as_damage),
        TEST(verify_needs_no_key_and_finds_a_flipped_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
