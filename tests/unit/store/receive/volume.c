/* SPDX-License-Identifier: Apache-2.0 */
#include "store/receive/agent_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "store/view/view.h"

enum { BLOCKS = 20, SIZE_BYTES = BLOCKS * TEST_BLOCK_BYTES - 100 };

struct fixture {
    struct test_store test;
    struct test_volume sda, sdb;
    struct test_volume *volumes[2]; /* sda, sdb */
    struct blx_agent_writer *writer;
    struct blx_volume_state states[2];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    test_store_init(&f->test);
    test_volume_init(&f->sda, "sda", SIZE_BYTES, 1);
    test_volume_init(&f->sdb, "sdb", SIZE_BYTES, 2);
    f->volumes[0] = &f->sda;
    f->volumes[1] = &f->sdb;
    for (uint64_t block = 0; block < BLOCKS; block++) {
        test_volume_write(&f->sda, block, block % 5);
        test_volume_write(&f->sdb, block, block % 3);
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    blx_agent_writer_close(f->writer);
    test_volume_done(&f->sda);
    test_volume_done(&f->sdb);
    test_store_done(&f->test);
    free(f);
    return 0;
}

static void open_session(struct fixture *f, size_t count)
{
    blx_agent_writer_close(f->writer);
    f->writer = test_writer_open(&f->test, f->volumes, count, f->states);
}

static void begin(struct fixture *f, uint32_t volume, enum blx_pass pass)
{
    struct blx_error err = {0};
    test_ok(blx_agent_writer_begin(f->writer, volume, pass, &err), &err);
}

/* A first checkpoint of `count` volumes; the session stays. */
static blx_timestamp first_checkpoint(struct fixture *f, size_t count)
{
    open_session(f, count);
    for (size_t i = 0; i < count; i++) {
        begin(f, (uint32_t)i, BLX_PASS_FULL);
        test_volume_send_all(f->volumes[i], f->writer, 6);
    }
    return test_writer_commit(f->writer, f->volumes, count, 1000000000);
}

static void sync_all(struct fixture *f)
{
    struct blx_error err = {0};
    test_ok(blx_agent_writer_sync(f->writer, NULL, NULL, &err), &err);
}

static int append(struct fixture *f, uint32_t volume, struct blx_error *err)
{
    return blx_agent_writer_append(f->writer, volume, f->volumes[volume]->frame,
                                   f->volumes[volume]->sent_bytes, err);
}

static struct blx_manifest read_manifest(const struct fixture *f, blx_timestamp timestamp)
{
    struct blx_error err = {0};
    struct blx_manifest manifest = {0};
    test_ok(blx_manifest_read(blx_store_agent(&f->test.store, "web1"), timestamp, &manifest, &err),
            &err);
    return manifest;
}

static void check_reason(const struct fixture *f, const char *part)
{
    assert_true(blx_generation_is_none(&f->states[0].generation));
    assert_int_equal(f->states[0].durable_seq, 0);
    const char *reason = blx_agent_writer_get_reason(f->writer, 0);
    if (strstr(reason, part) == NULL)
        fail_msg("'%s' is not in: %s", part, reason);
    assert_int_equal(blx_agent_writer_begin(f->writer, 0, BLX_PASS_RESUME, NULL), -EPROTO);
}

/* After doubt: a full pass gives a checkpoint that is right, and so do those before it. */
static void check_full_pass_heals(struct fixture *f)
{
    f->sda.seq = 0;
    begin(f, 0, BLX_PASS_FULL);
    test_volume_send_all(&f->sda, f->writer, 4);
    blx_timestamp timestamp = test_writer_commit(f->writer, f->volumes, 1, 1200000000);
    test_restores_to(&f->test, timestamp, "sda", f->sda.image, f->sda.info.size_bytes);
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = read_manifest(f, timestamp);
    assert_true(manifest.volumes[0].base);
}

/* The session wants a rescan of sda, which begins in a new generation. */
static void begin_rescan(struct fixture *f, const char *reason)
{
    check_reason(f, reason);
    assert_int_equal(f->states[0].image_bytes, f->volumes[0]->info.size_bytes);
    test_volume_generation(f->volumes[0], 77);
    open_session(f, 1);
    begin(f, 0, BLX_PASS_RESCAN);
}

static void flip(const struct fixture *f, const char *name, off_t offset)
{
    char path[PATH_MAX];
    uint8_t byte;
    test_path(&f->test, path, "agents/web1/%s", name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static bool exists(const struct fixture *f, const char *name)
{
    char path[PATH_MAX];
    test_path(&f->test, path, "agents/web1/%s", name);
    return access(path, F_OK) == 0;
}

static void a_new_volume_needs_a_full_pass(void **state)
{
    struct fixture *f = *state;
    open_session(f, 1);
    check_reason(f, "nothing of it is stored");
    blx_timestamp timestamp = first_checkpoint(f, 1);
    assert_int_equal(timestamp, 20010909014640);
    test_restores_to(&f->test, timestamp, "sda", f->sda.image, SIZE_BYTES);
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = read_manifest(f, timestamp);
    assert_true(blx_manifest_is_full(&manifest));
    assert_int_equal(manifest.parent, 0);
    assert_int_equal(manifest.freeze_ns, 7);
    assert_string_equal(manifest.note, "a test");
    assert_string_equal(manifest.volumes[0].device, "/dev/sda");
    assert_string_equal(manifest.volumes[0].identity, "serial-sda");
    assert_int_equal(manifest.volumes[0].changed_bytes, BLOCKS * TEST_BLOCK_BYTES);
    assert_int_equal(manifest.volumes[0].last_seq, f->sda.seq);
}

static void a_resumed_session_goes_on_where_the_disk_ends(void **state)
{
    struct fixture *f = *state;
    first_checkpoint(f, 2);
    open_session(f, 2);
    assert_int_equal(f->states[0].durable_seq, f->sda.seq);
    assert_true(blx_generation_equal(&f->states[0].generation, &f->sda.info.generation));
    assert_int_equal(blx_agent_writer_get_last(f->writer)->timestamp, 20010909014640);
    begin(f, 0, BLX_PASS_RESUME);
    begin(f, 1, BLX_PASS_RESUME);
    test_volume_send(&f->sda, f->writer, 3, 500);
    sync_all(f);
    open_session(f, 2);
    assert_int_equal(f->states[0].durable_seq, f->sda.seq);
    begin(f, 0, BLX_PASS_RESUME);
    begin(f, 1, BLX_PASS_RESUME);
    test_volume_send(&f->sda, f->writer, 4, 501);
    blx_timestamp timestamp = test_writer_commit(f->writer, f->volumes, 2, 1000000100);
    test_restores_to(&f->test, timestamp, "sda", f->sda.image, SIZE_BYTES);
    test_restores_to(&f->test, timestamp, "sdb", f->sdb.image, SIZE_BYTES);
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = read_manifest(f, timestamp);
    assert_int_equal(manifest.volumes[0].changed_bytes, 2 * TEST_BLOCK_BYTES);
    assert_int_equal(manifest.volumes[0].segment_count, 1);
    assert_int_equal(manifest.volumes[1].segment_count, 0);
    assert_int_equal(manifest.volumes[1].last_seq, f->sdb.seq);
    assert_false(manifest.volumes[0].base);
}

static void refuse(struct fixture *f, int code, const char *part)
{
    struct blx_error err = {0};
    uint64_t before = blx_agent_writer_count_unsynced(f->writer);
    assert_int_equal(append(f, 0, &err), code);
    if (strstr(err.message, part) == NULL)
        fail_msg("'%s' is not in: %s", part, err.message);
    assert_int_equal(blx_agent_writer_count_unsynced(f->writer), before);
    f->sda.seq = 0;
}

static void frames_that_do_not_fit_are_refused_and_change_nothing(void **state)
{
    struct fixture *f = *state;
    open_session(f, 1);
    test_volume_frame(&f->sda, &(uint64_t){1}, 1);
    refuse(f, -EPROTO, "before the volume");
    begin(f, 0, BLX_PASS_FULL);
    f->sda.seq = 1;
    test_volume_frame(&f->sda, &(uint64_t){1}, 1);
    refuse(f, -EPROTO, "frame 2 came for the volume 'sda'; 1 was expected");
    struct blx_generation generation = f->sda.info.generation;
    f->sda.info.generation.bytes[0] ^= 1;
    test_volume_frame(&f->sda, &(uint64_t){1}, 1);
    refuse(f, -EPROTO, "generation");
    f->sda.info.generation = generation;
    test_volume_frame(&f->sda, &(uint64_t){1}, 1);
    f->sda.frame[70] ^= 1;
    refuse(f, -EBADMSG, "");
    struct test_volume larger;
    test_volume_init(&larger, "sda", SIZE_BYTES * 2, 1);
    test_volume_frame(&larger, &(uint64_t){BLOCKS}, 1);
    memcpy(f->sda.frame, larger.frame, larger.frame_bytes);
    f->sda.frame_bytes = larger.frame_bytes;
    test_volume_done(&larger);
    refuse(f, -EBADMSG, "");
    assert_int_equal(blx_agent_writer_append(f->writer, 1, f->sda.frame, 64, NULL), -EPROTO);
    test_volume_send_all(&f->sda, f->writer, 6);
    blx_timestamp timestamp = test_writer_commit(f->writer, f->volumes, 1, 1000000000);
    test_restores_to(&f->test, timestamp, "sda", f->sda.image, SIZE_BYTES);
}

static void count_ack(void *arg, uint32_t volume, uint64_t durable_seq)
{
    uint64_t *acked = arg;
    acked[volume] = durable_seq;
    acked[2]++;
}

static void sync_reports_each_volume_that_has_news_once(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    uint64_t acked[3] = {0};
    open_session(f, 2);
    begin(f, 0, BLX_PASS_FULL);
    begin(f, 1, BLX_PASS_FULL);
    test_volume_send(&f->sdb, f->writer, 1, 5);
    assert_int_equal(blx_agent_writer_count_unsynced(f->writer), f->sdb.frame_bytes);
    test_ok(blx_agent_writer_sync(f->writer, count_ack, acked, &err), &err);
    assert_int_equal(blx_agent_writer_count_unsynced(f->writer), 0);
    test_ok(blx_agent_writer_sync(f->writer, count_ack, acked, &err), &err);
    assert_int_equal(acked[0], 0);
    assert_int_equal(acked[1], 1);
    assert_int_equal(acked[2], 1);
}

static void a_cut_that_does_not_match_is_refused(void **state)
{
    struct fixture *f = *state;
    blx_timestamp timestamp;
    struct blx_checkpoint_message cut = {.volume_count = 1, .cut_realtime_ns = 1};
    const struct blx_commit_times times = {1, 1};
    open_session(f, 1);
    assert_int_equal(blx_agent_writer_commit(f->writer, &cut, &times, &timestamp, NULL), -EPROTO);
    begin(f, 0, BLX_PASS_FULL);
    test_volume_send_all(&f->sda, f->writer, 6);
    assert_int_equal(blx_agent_writer_commit(f->writer, &cut, &times, &timestamp, NULL), -EPROTO);
    cut.last_seq[0] = f->sda.seq;
    cut.volume_count = 2;
    assert_int_equal(blx_agent_writer_commit(f->writer, &cut, &times, &timestamp, NULL), -EPROTO);
    cut.volume_count = 1;
    cut.note[0] = '\n';
    assert_int_equal(blx_agent_writer_commit(f->writer, &cut, &times, &timestamp, NULL), -EPROTO);
    cut.note[0] = '\0';
    assert_int_equal(blx_agent_writer_commit(f->writer, &cut, &times, &timestamp, NULL), 0);
}

static void a_second_that_is_taken_or_past_gives_the_next_free_one(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(first_checkpoint(f, 1), 20010909014640);
    assert_int_equal(test_writer_commit(f->writer, f->volumes, 1, 1000000000), 20010909014641);
    assert_int_equal(test_writer_commit(f->writer, f->volumes, 1, 900000000), 20010909014642);
    assert_int_equal(test_writer_commit(f->writer, f->volumes, 1, 1000000020), 20010909014700);
}

static void two_volumes_of_one_name_are_refused(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    struct blx_volume_state ignored;
    open_session(f, 1);
    struct blx_volume_info again = f->sda.info;
    again.volume = 1;
    assert_int_equal(blx_agent_writer_add_volume(f->writer, &again, &ignored, &err), -EEXIST);
    assert_non_null(strstr(err.message, "/dev/sda"));
    again.volume = 5;
    strcpy(again.name, "sdx");
    assert_int_equal(blx_agent_writer_add_volume(f->writer, &again, &ignored, NULL), -EPROTO);
}

static void a_volume_that_joins_is_a_base_next_to_increments(void **state)
{
    struct fixture *f = *state;
    blx_timestamp one = first_checkpoint(f, 1);
    uint8_t *old = malloc(SIZE_BYTES);
    assert_non_null(old);
    memcpy(old, f->sda.image, SIZE_BYTES);
    open_session(f, 2);
    begin(f, 0, BLX_PASS_RESUME);
    begin(f, 1, BLX_PASS_FULL);
    test_volume_send(&f->sda, f->writer, 0, 600);
    test_volume_send_all(&f->sdb, f->writer, 6);
    blx_timestamp two = test_writer_commit(f->writer, f->volumes, 2, 1000000100);
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = read_manifest(f, two);
    assert_false(manifest.volumes[0].base);
    assert_true(manifest.volumes[1].base);
    assert_false(blx_manifest_is_full(&manifest));
    test_restores_to(&f->test, two, "sda", f->sda.image, SIZE_BYTES);
    test_restores_to(&f->test, two, "sdb", f->sdb.image, SIZE_BYTES);
    test_restores_to(&f->test, one, "sda", old, SIZE_BYTES);
    free(old);
}

/* The checkpoints meanwhile carry its chain on, and have nothing of it themselves. */
static void a_volume_that_was_away_goes_on_in_its_chain(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    char path[PATH_MAX];
    blx_timestamp both = first_checkpoint(f, 2);
    open_session(f, 1);
    begin(f, 0, BLX_PASS_RESUME);
    blx_timestamp middle = test_writer_commit(f->writer, f->volumes, 1, 1000000100);
    test_writer_commit(f->writer, f->volumes, 1, 1000000150);
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = read_manifest(f, middle);
    assert_int_equal(manifest.volume_count, 1);
    assert_int_equal(manifest.carried_count, 1);
    assert_false(blx_manifest_has(&manifest, "sdb"));
    test_path(&f->test, path, "sdb.img");
    const struct blx_restore_target target = {.path = path};
    assert_int_equal(
        blx_restore(blx_store_agent(&f->test.store, "web1"), middle, "sdb", &target, NULL, &err),
        -ENOENT);
    assert_non_null(strstr(err.message, "without the volume 'sdb'"));
    struct blx_frame_cache *cache = blx_frame_cache_new(BLX_FRAME_CACHE_DEFAULT_BYTES);
    struct blx_view *view = NULL;
    const struct blx_view_request request = {.agent = blx_store_agent(&f->test.store, "web1"),
                                             .checkpoint = middle,
                                             .volume = "sdb",
                                             .cache = cache};
    assert_int_equal(blx_view_open(&request, &view, &err), -ENOENT);
    assert_non_null(strstr(err.message, "without the volume 'sdb'"));
    blx_frame_cache_free(cache);
    uint8_t *before = malloc(SIZE_BYTES);
    assert_non_null(before);
    memcpy(before, f->sdb.image, SIZE_BYTES);
    open_session(f, 2);
    assert_true(blx_generation_equal(&f->states[1].generation, &f->sdb.info.generation));
    assert_int_equal(f->states[1].durable_seq, f->sdb.seq);
    begin(f, 0, BLX_PASS_RESUME);
    begin(f, 1, BLX_PASS_RESUME);
    test_volume_send(&f->sdb, f->writer, 2, 900);
    blx_timestamp last = test_writer_commit(f->writer, f->volumes, 2, 1000000200);
    test_restores_to(&f->test, last, "sdb", f->sdb.image, SIZE_BYTES);
    test_restores_to(&f->test, both, "sdb", before, SIZE_BYTES);
    test_restores_to(&f->test, middle, "sda", f->sda.image, SIZE_BYTES);
    free(before);
    BLX_CLEANUP_MANIFEST struct blx_manifest newest = read_manifest(f, last);
    assert_int_equal(newest.carried_count, 0);
    assert_false(blx_manifest_find(&newest, "sdb")->base);
}

/* Before checkpoints carried chains on, they had nothing of such a volume. */
static void a_volume_that_an_old_checkpoint_lacks_needs_a_full_pass(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    blx_timestamp both = first_checkpoint(f, 2);
    open_session(f, 1);
    begin(f, 0, BLX_PASS_RESUME);
    blx_timestamp middle = test_writer_commit(f->writer, f->volumes, 1, 1000000100);
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = read_manifest(f, middle);
    manifest.carried_count = 0;
    test_ok(blx_manifest_replace(blx_store_agent(&f->test.store, "web1"), &manifest, &err), &err);
    manifest.carried_count = 1;
    open_session(f, 2);
    assert_true(blx_generation_is_none(&f->states[1].generation));
    assert_non_null(strstr(blx_agent_writer_get_reason(f->writer, 1), "last checkpoint"));
    f->sdb.seq = 0;
    begin(f, 0, BLX_PASS_RESUME);
    begin(f, 1, BLX_PASS_FULL);
    test_volume_send_all(&f->sdb, f->writer, 6);
    blx_timestamp last = test_writer_commit(f->writer, f->volumes, 2, 1000000200);
    test_restores_to(&f->test, last, "sdb", f->sdb.image, SIZE_BYTES);
    test_restores_to(&f->test, both, "sdb", f->sdb.image, SIZE_BYTES);
}

static void another_size_or_disk_needs_a_full_pass(void **state)
{
    struct fixture *f = *state;
    first_checkpoint(f, 1);
    f->sda.info.size_bytes -= TEST_BLOCK_BYTES;
    open_session(f, 1);
    check_reason(f, "shrank");
    f->sda.info.size_bytes += TEST_BLOCK_BYTES;
    strcpy(f->sda.info.identity, "another");
    open_session(f, 1);
    check_reason(f, "replaced by 'another'");
    strcpy(f->sda.info.identity, "");
    open_session(f, 1);
    assert_int_equal(f->states[0].durable_seq, f->sda.seq);
    f->sda.info.size_bytes -= TEST_BLOCK_BYTES;
    f->sda.blocks--;
    open_session(f, 1);
    check_full_pass_heals(f);
}

static void a_full_pass_that_was_cut_off_becomes_a_base_when_resumed(void **state)
{
    struct fixture *f = *state;
    first_checkpoint(f, 1);
    test_volume_generation(&f->sda, 9);
    open_session(f, 1);
    assert_false(blx_generation_equal(&f->states[0].generation, &f->sda.info.generation));
    assert_int_equal(blx_agent_writer_begin(f->writer, 0, BLX_PASS_RESUME, NULL), -EPROTO);
    begin(f, 0, BLX_PASS_FULL);
    test_volume_send(&f->sda, f->writer, 0, 700);
    sync_all(f);
    open_session(f, 1);
    assert_true(blx_generation_equal(&f->states[0].generation, &f->sda.info.generation));
    assert_int_equal(f->states[0].durable_seq, 1);
    begin(f, 0, BLX_PASS_RESUME);
    test_volume_send_all(&f->sda, f->writer, 6);
    blx_timestamp timestamp = test_writer_commit(f->writer, f->volumes, 1, 1000000100);
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = read_manifest(f, timestamp);
    assert_true(manifest.volumes[0].base);
    assert_int_equal(manifest.volumes[0].segment_count, 1);
    test_restores_to(&f->test, timestamp, "sda", f->sda.image, SIZE_BYTES);
}

static void a_full_pass_leaves_nothing_of_what_came_before_it(void **state)
{
    struct fixture *f = *state;
    blx_timestamp one = first_checkpoint(f, 1);
    uint8_t *old = malloc(SIZE_BYTES);
    assert_non_null(old);
    memcpy(old, f->sda.image, SIZE_BYTES);
    test_volume_send(&f->sda, f->writer, 2, 800);
    sync_all(f);
    test_volume_generation(&f->sda, 9);
    open_session(f, 1);
    begin(f, 0, BLX_PASS_FULL);
    memset(f->sda.image, 0, BLOCKS * TEST_BLOCK_BYTES);
    test_volume_send(&f->sda, f->writer, 7, 801); /* everything else is free now */
    blx_timestamp two = test_writer_commit(f->writer, f->volumes, 1, 1000000100);
    test_restores_to(&f->test, two, "sda", f->sda.image, SIZE_BYTES);
    test_restores_to(&f->test, one, "sda", old, SIZE_BYTES);
    free(old);
}

static void damage_in_the_open_segment_costs_what_lies_after_it(void **state)
{
    struct fixture *f = *state;
    first_checkpoint(f, 1);
    uint64_t committed = f->sda.seq;
    test_volume_send(&f->sda, f->writer, 2, 800);
    test_volume_send(&f->sda, f->writer, 3, 801);
    sync_all(f);
    flip(f, "volumes/sda/open.seg", 60);
    open_session(f, 1);
    assert_non_null(strstr(blx_agent_writer_get_cut(f->writer, 0), "damaged at byte 32"));
    assert_string_equal(blx_agent_writer_get_reason(f->writer, 0), "");
    assert_int_equal(f->states[0].durable_seq, committed);
    open_session(f, 1);
    assert_string_equal(blx_agent_writer_get_cut(f->writer, 0), "");
    begin(f, 0, BLX_PASS_RESUME);
    f->sda.seq = committed;
    test_volume_send(&f->sda, f->writer, 2, 800);
    test_volume_send(&f->sda, f->writer, 3, 801);
    blx_timestamp two = test_writer_commit(f->writer, f->volumes, 1, 1000000100);
    test_restores_to(&f->test, two, "sda", f->sda.image, SIZE_BYTES);
}

static void an_open_segment_with_a_damaged_header_is_set_aside(void **state)
{
    struct fixture *f = *state;
    blx_timestamp one = first_checkpoint(f, 1);
    uint8_t *old = malloc(SIZE_BYTES);
    assert_non_null(old);
    memcpy(old, f->sda.image, SIZE_BYTES);
    test_volume_send(&f->sda, f->writer, 2, 800);
    sync_all(f);
    flip(f, "volumes/sda/open.seg", 10);
    open_session(f, 1);
    check_reason(f, "open.seg' is damaged");
    assert_true(exists(f, "volumes/sda/open.damaged-00000002"));
    assert_false(exists(f, "volumes/sda/open.seg"));
    open_session(f, 1);
    begin_rescan(f, "found damaged");
    test_volume_send(&f->sda, f->writer, 2, 800);
    blx_timestamp two = test_writer_commit(f->writer, f->volumes, 1, 1000000100);
    test_restores_to(&f->test, two, "sda", f->sda.image, SIZE_BYTES);
    test_restores_to(&f->test, one, "sda", old, SIZE_BYTES);
    free(old);
}

/* Many scattered zero extents fill a segment's index with few bytes. */
static void send_scattered(struct fixture *f, struct test_volume *large, unsigned frames)
{
    uint64_t *blocks = calloc(BLX_FRAME_MAX_EXTENTS, sizeof(blocks[0]));
    assert_non_null(blocks);
    for (uint64_t i = 0; i < BLX_FRAME_MAX_EXTENTS; i++)
        blocks[i] = 2 * i;
    for (unsigned i = 0; i < frames; i++) {
        struct blx_error err = {0};
        test_volume_frame(large, blocks, BLX_FRAME_MAX_EXTENTS);
        test_ok(blx_agent_writer_append(f->writer, 0, large->frame, large->sent_bytes, &err), &err);
    }
    free(blocks);
}

/* A session with one sealed, uncommitted segment (number 1) and an open one. */
static void fill_two_segments(struct fixture *f, struct test_volume *large)
{
    test_volume_init(large, "sda", 2ULL * BLX_FRAME_MAX_EXTENTS * TEST_BLOCK_BYTES, 1);
    f->volumes[0] = large;
    open_session(f, 1);
    begin(f, 0, BLX_PASS_FULL);
    send_scattered(f, large, 65);
    test_volume_send(large, f->writer, 1, 900);
    test_volume_send(large, f->writer, 2, 901);
    sync_all(f);
    assert_true(exists(f, "volumes/sda/00000001.seg"));
    assert_true(exists(f, "volumes/sda/open.seg"));
}

static void a_segment_whose_index_is_full_is_sealed_on_the_way(void **state)
{
    struct fixture *f = *state;
    struct test_volume large;
    fill_two_segments(f, &large);
    open_session(f, 1);
    assert_int_equal(f->states[0].durable_seq, large.seq);
    begin(f, 0, BLX_PASS_RESUME);
    blx_timestamp timestamp = test_writer_commit(f->writer, f->volumes, 1, 1000000000);
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = read_manifest(f, timestamp);
    assert_int_equal(manifest.volumes[0].segment_count, 2);
    assert_int_equal(manifest.volumes[0].changed_bytes,
                     (BLX_FRAME_MAX_EXTENTS + 1) * TEST_BLOCK_BYTES);
    assert_true(manifest.volumes[0].base);
    test_restores_to(&f->test, timestamp, "sda", large.image, large.info.size_bytes);
    test_volume_done(&large);
}

/* The rescan sends what the lost segment held; what the others hold stays. */
static void check_rescan_heals(struct fixture *f, struct test_volume *large)
{
    begin_rescan(f, "");
    assert_true(exists(f, "volumes/sda/00000001.seg"));
    assert_true(exists(f, "volumes/sda/00000002.seg"));
    open_session(f, 1); /* all that the rescan keeps is there */
    assert_true(blx_generation_equal(&f->states[0].generation, &large->info.generation));
    begin(f, 0, BLX_PASS_RESUME);
    send_scattered(f, large, 1);
    blx_timestamp timestamp = test_writer_commit(f->writer, f->volumes, 1, 1000000000);
    test_restores_to(&f->test, timestamp, "sda", large->image, large->info.size_bytes);
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = read_manifest(f, timestamp);
    assert_true(manifest.volumes[0].base);
    assert_int_equal(manifest.volumes[0].segment_count, 3);
}

static void a_damaged_uncommitted_segment_leads_to_a_rescan(void **state)
{
    struct fixture *f = *state;
    struct test_volume large;
    fill_two_segments(f, &large);
    flip(f, "volumes/sda/00000001.seg", 8);
    open_session(f, 1);
    check_reason(f, "00000001.seg");
    assert_true(exists(f, "volumes/sda/00000001.damaged"));
    open_session(f, 1);
    check_reason(f, "found damaged");
    check_rescan_heals(f, &large);
    test_volume_done(&large);
}

static void a_missing_uncommitted_segment_leads_to_a_rescan(void **state)
{
    struct fixture *f = *state;
    struct test_volume large;
    char path[PATH_MAX];
    fill_two_segments(f, &large);
    test_path(&f->test, path, "agents/web1/volumes/sda/00000001.seg");
    assert_int_equal(unlink(path), 0);
    open_session(f, 1);
    check_reason(f, "frames before segment 2 are missing");
    check_rescan_heals(f, &large);
    test_volume_done(&large);
}

/* Frames of an earlier generation stay, whether or not a checkpoint has them; a crash of either
 * side changes nothing. */
static void another_generation_continues_where_the_disk_ends(void **state)
{
    struct fixture *f = *state;
    first_checkpoint(f, 1);
    for (int session = 0; session < 3; session++) {
        open_session(f, 1);
        assert_int_equal(f->states[0].durable_seq, f->sda.seq);
        assert_true(blx_generation_equal(&f->states[0].generation, &f->sda.info.generation));
        test_volume_generation(&f->sda, (uint8_t)(80 + session));
        open_session(f, 1);
        begin(f, 0, BLX_PASS_CONTINUE);
        test_volume_send(&f->sda, f->writer, 3, 500 + (unsigned)session);
        test_volume_send(&f->sda, f->writer, 4 + (unsigned)session, 600);
        sync_all(f);
    }
    blx_timestamp timestamp = test_writer_commit(f->writer, f->volumes, 1, 1000000100);
    test_restores_to(&f->test, timestamp, "sda", f->sda.image, SIZE_BYTES);
}

/* A full pass that was cut off goes on under another generation, and becomes a base. */
static void a_full_pass_continues_under_another_generation(void **state)
{
    struct fixture *f = *state;
    open_session(f, 1);
    begin(f, 0, BLX_PASS_FULL);
    test_volume_send(&f->sda, f->writer, 0, 1);
    sync_all(f);
    test_volume_generation(&f->sda, 81);
    open_session(f, 1);
    begin(f, 0, BLX_PASS_CONTINUE);
    test_volume_send_all(&f->sda, f->writer, 4);
    blx_timestamp timestamp = test_writer_commit(f->writer, f->volumes, 1, 1000000100);
    test_restores_to(&f->test, timestamp, "sda", f->sda.image, SIZE_BYTES);
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = read_manifest(f, timestamp);
    assert_true(manifest.volumes[0].base);
}

static void what_cannot_go_on_does_not_continue(void **state)
{
    struct fixture *f = *state;
    first_checkpoint(f, 1);
    open_session(f, 1); /* the generation that is stored is not new */
    assert_int_equal(blx_agent_writer_begin(f->writer, 0, BLX_PASS_CONTINUE, NULL), -EPROTO);
    flip(f, "volumes/sda/volume", 40);
    test_volume_generation(&f->sda, 82);
    open_session(f, 1); /* a rescan is wanted */
    assert_int_equal(f->states[0].image_bytes, SIZE_BYTES);
    assert_int_equal(blx_agent_writer_begin(f->writer, 0, BLX_PASS_CONTINUE, NULL), -EPROTO);
}

static void what_a_rescan_kept_must_stay(void **state)
{
    struct fixture *f = *state;
    struct test_volume large;
    char path[PATH_MAX];
    fill_two_segments(f, &large);
    open_session(f, 1);
    test_volume_generation(&large, 76);
    open_session(f, 1);
    begin(f, 0, BLX_PASS_RESCAN);
    test_path(&f->test, path, "agents/web1/volumes/sda/00000002.seg");
    assert_int_equal(unlink(path), 0);
    open_session(f, 1);
    begin_rescan(f, "segment 2 is missing");
    test_volume_send(&large, f->writer, 1, 900);
    test_volume_send(&large, f->writer, 2, 901);
    blx_timestamp timestamp = test_writer_commit(f->writer, f->volumes, 1, 1000000000);
    test_restores_to(&f->test, timestamp, "sda", large.image, large.info.size_bytes);
    test_volume_done(&large);
}

static void a_damaged_volume_file_leads_to_a_rescan(void **state)
{
    struct fixture *f = *state;
    first_checkpoint(f, 1);
    test_volume_send(&f->sda, f->writer, 2, 800);
    sync_all(f);
    flip(f, "volumes/sda/volume", 40);
    open_session(f, 1);
    begin_rescan(f, "volume' is damaged");
    test_volume_send(&f->sda, f->writer, 3, 801);
    blx_timestamp two = test_writer_commit(f->writer, f->volumes, 1, 1000000100);
    test_restores_to(&f->test, two, "sda", f->sda.image, SIZE_BYTES);
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = read_manifest(f, two);
    assert_false(manifest.volumes[0].base);
}

/* The content's identity tells disks apart if neither has one of its own, and says nothing beside
 * one that the disk has. */
static void the_contents_identity_counts_among_its_own_kind(void **state)
{
    struct fixture *f = *state;
    strcpy(f->sda.info.identity, "content:ext:aaaa");
    first_checkpoint(f, 1);
    f->sda.info.identity[0] = '\0'; /* the generation vouches for it, and it is not forgotten */
    test_volume_generation(&f->sda, 90);
    open_session(f, 1);
    begin(f, 0, BLX_PASS_CONTINUE);
    test_volume_send(&f->sda, f->writer, 3, 500);
    blx_timestamp two = test_writer_commit(f->writer, f->volumes, 1, 1000000100);
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = read_manifest(f, two);
    assert_string_equal(manifest.volumes[0].identity, "content:ext:aaaa");
    strcpy(f->sda.info.identity, "a serial number");
    open_session(f, 1);
    assert_string_equal(blx_agent_writer_get_reason(f->writer, 0), "");
    strcpy(f->sda.info.identity, "content:ext:bbbb");
    open_session(f, 1);
    check_reason(f, "'content:ext:aaaa' was replaced by 'content:ext:bbbb'");
    assert_int_equal(f->states[0].image_bytes, 0);
    check_full_pass_heals(f);
}

static void a_lost_volume_file_keeps_another_disk_out(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];
    first_checkpoint(f, 1);
    test_path(&f->test, path, "agents/web1/volumes/sda/volume");
    assert_int_equal(unlink(path), 0);
    strcpy(f->sda.info.identity, "another");
    open_session(f, 1);
    check_reason(f, "replaced by 'another'");
    assert_int_equal(f->states[0].image_bytes, 0);
    check_full_pass_heals(f);
}

static void a_first_sync_outlives_its_volume_file(void **state)
{
    struct fixture *f = *state;
    open_session(f, 1);
    begin(f, 0, BLX_PASS_FULL);
    test_volume_send(&f->sda, f->writer, 2, 800);
    sync_all(f);
    flip(f, "volumes/sda/volume", 40);
    open_session(f, 1);
    begin_rescan(f, "volume' is damaged");
    for (uint64_t block = 0; block < BLOCKS; block++)
        if (block != 2)
            test_volume_send(&f->sda, f->writer, block, block % 5);
    blx_timestamp one = test_writer_commit(f->writer, f->volumes, 1, 1000000000);
    test_restores_to(&f->test, one, "sda", f->sda.image, SIZE_BYTES);
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = read_manifest(f, one);
    assert_true(manifest.volumes[0].base);
}

/* What is stored cannot be read: only a full pass helps, also after a crash. */
static void a_distrusted_volume_needs_a_full_pass(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    first_checkpoint(f, 1);
    test_ok(blx_agent_writer_distrust(f->writer, 0, &err), &err);
    open_session(f, 1);
    check_reason(f, "cannot be read");
    assert_int_equal(f->states[0].image_bytes, 0);
    check_full_pass_heals(f);
    open_session(f, 1);
    assert_int_equal(f->states[0].durable_seq, f->sda.seq);
}

static void a_damaged_last_checkpoint_hurts_no_other(void **state)
{
    struct fixture *f = *state;
    blx_timestamp one = first_checkpoint(f, 1);
    uint8_t *old = malloc(SIZE_BYTES);
    assert_non_null(old);
    memcpy(old, f->sda.image, SIZE_BYTES);
    test_volume_send(&f->sda, f->writer, 2, 800);
    test_writer_commit(f->writer, f->volumes, 1, 1000000100);
    flip(f, "checkpoints/20010909014820", 100);
    open_session(f, 1);
    check_reason(f, "20010909014820");
    assert_int_equal(blx_agent_writer_get_last(f->writer)->timestamp, 20010909014820);
    f->sda.seq = 0;
    begin(f, 0, BLX_PASS_FULL);
    test_volume_send(&f->sda, f->writer, 4, 810);
    sync_all(f);
    open_session(f, 1); /* the pass that began after the damaged one goes on */
    assert_int_equal(f->states[0].durable_seq, 1);
    begin(f, 0, BLX_PASS_RESUME);
    test_volume_send_all(&f->sda, f->writer, 6);
    blx_timestamp three = test_writer_commit(f->writer, f->volumes, 1, 1000000200);
    test_restores_to(&f->test, three, "sda", f->sda.image, SIZE_BYTES);
    test_restores_to(&f->test, one, "sda", old, SIZE_BYTES);
    assert_true(exists(f, "volumes/sda/00000002.seg"));
    free(old);
}

static void after_a_disk_error_a_writer_does_nothing_more(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    first_checkpoint(f, 1);
    test_volume_send(&f->sda, f->writer, 2, 800);
    test_fault_arm(TEST_FAULT_ONCE, 0);
    assert_int_equal(blx_agent_writer_sync(f->writer, NULL, NULL, &err), -EIO);
    assert_true(test_fault_disarm());
    assert_non_null(strstr(err.message, "open.seg"));
    blx_error_clear(&err);
    test_volume_frame(&f->sda, &(uint64_t){3}, 1);
    assert_int_equal(append(f, 0, &err), -EIO);
    assert_non_null(strstr(err.message, "web1"));
    assert_int_equal(blx_agent_writer_sync(f->writer, NULL, NULL, NULL), -EIO);
    assert_int_equal(blx_agent_writer_begin(f->writer, 0, BLX_PASS_FULL, NULL), -EIO);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_volume_needs_a_full_pass),
        TEST(a_resumed_session_goes_on_where_the_disk_ends),
        TEST(another_generation_continues_where_the_disk_ends),
        TEST(a_full_pass_continues_under_another_generation),
        TEST(what_cannot_go_on_does_not_continue),
        TEST(frames_that_do_not_fit_are_refused_and_change_nothing),
        TEST(sync_reports_each_volume_that_has_news_once),
        TEST(a_cut_that_does_not_match_is_refused),
        TEST(a_second_that_is_taken_or_past_gives_the_next_free_one),
        TEST(two_volumes_of_one_name_are_refused),
        TEST(a_volume_that_joins_is_a_base_next_to_increments),
        TEST(a_volume_that_was_away_goes_on_in_its_chain),
        TEST(a_volume_that_an_old_checkpoint_lacks_needs_a_full_pass),
        TEST(another_size_or_disk_needs_a_full_pass),
        TEST(a_full_pass_that_was_cut_off_becomes_a_base_when_resumed),
        TEST(a_full_pass_leaves_nothing_of_what_came_before_it),
        TEST(damage_in_the_open_segment_costs_what_lies_after_it),
        TEST(an_open_segment_with_a_damaged_header_is_set_aside),
        TEST(a_segment_whose_index_is_full_is_sealed_on_the_way),
        TEST(a_damaged_uncommitted_segment_leads_to_a_rescan),
        TEST(a_missing_uncommitted_segment_leads_to_a_rescan),
        TEST(what_a_rescan_kept_must_stay),
        TEST(a_damaged_volume_file_leads_to_a_rescan),
        TEST(the_contents_identity_counts_among_its_own_kind),
        TEST(a_lost_volume_file_keeps_another_disk_out),
        TEST(a_first_sync_outlives_its_volume_file),
        TEST(a_distrusted_volume_needs_a_full_pass),
        TEST(a_damaged_last_checkpoint_hurts_no_other),
        TEST(after_a_disk_error_a_writer_does_nothing_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
