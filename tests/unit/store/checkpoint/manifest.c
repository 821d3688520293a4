/* SPDX-License-Identifier: Apache-2.0 */
#include "store/checkpoint/manifest_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "store/checkpoint/manifest_codec_private.h"
#include "store/layout_private.h"

static const blx_timestamp first = 20261122203600, second = 20261122203630, third = 20261122204000;

static struct blx_manifest sample(blx_timestamp timestamp, blx_timestamp parent,
                                  struct blx_manifest_volume volumes[2])
{
    static uint32_t segments[] = {3, 4, 7};
    static struct blx_extent unreadable[] = {{0, 1}, {7, 20}, {30140, 1}};
    volumes[0] = (struct blx_manifest_volume){
        .name = "sda",
        .device = "/dev/sda",
        .identity = "serial \xc3\xa4",
        .size_bytes = 123456789,
        .block_shift = 12,
        .generation = {{1, 2, 3}},
        .last_seq = 99,
        .base = true,
        .changed_bytes = 8192,
        .stored_bytes = 777,
        .next_segment = 8,
        .segment_count = 3,
        .segments = segments,
        .unreadable_count = 3,
        .unreadable = unreadable,
    };
    volumes[1] = volumes[0];
    strcpy(volumes[1].name, "sdb");
    volumes[1].base = false;
    volumes[1].segment_count = 0;
    volumes[1].unreadable_count = 0;
    volumes[1].next_segment = 1;
    volumes[1].key_id = (struct blx_key_id){{9, 8, 7, 6, 5, 4, 3, 2}};
    return (struct blx_manifest){
        .timestamp = timestamp,
        .parent = parent,
        .agent_realtime_ns = 5,
        .committed_realtime_ns = 6,
        .consistency = BLX_CONSISTENCY_CRASH,
        .freeze_ns = 7,
        .note = "no freeze: 'vfat' has none",
        .cut_flags = BLX_CUT_FLAGS_TOLD | BLX_CUT_POST_THAW_FAILED,
        .volume_count = 2,
        .volumes = volumes,
    };
}

static int setup(void **state)
{
    struct test_store *test = malloc(sizeof(*test));
    assert_non_null(test);
    test_store_init(test);
    char path[PATH_MAX];
    test_path(test, path, "agents");
    assert_int_equal(mkdir(path, 0700), 0);
    test_path(test, path, "agents/web1");
    assert_int_equal(mkdir(path, 0700), 0);
    test_path(test, path, "agents/web1/checkpoints");
    assert_int_equal(mkdir(path, 0700), 0);
    *state = test;
    return 0;
}

static int teardown(void **state)
{
    test_store_done(*state);
    free(*state);
    return 0;
}

static void write_sample(const struct test_store *test, blx_timestamp timestamp)
{
    struct blx_error err = {0};
    struct blx_manifest_volume volumes[2];
    struct blx_manifest manifest = sample(timestamp, 0, volumes);
    test_ok(blx_manifest_write(blx_store_agent(&test->store, "web1"), &manifest, &err), &err);
}

static void a_manifest_reads_back_as_it_was_written(void **state)
{
    const struct test_store *test = *state;
    struct blx_error err = {0};
    struct blx_manifest_volume volumes[2];
    struct blx_manifest manifest = sample(second, first, volumes);
    BLX_CLEANUP_MANIFEST struct blx_manifest read = {0};
    test_ok(blx_manifest_write(blx_store_agent(&test->store, "web1"), &manifest, &err), &err);
    test_ok(blx_manifest_read(blx_store_agent(&test->store, "web1"), second, &read, &err), &err);
    assert_int_equal(read.timestamp, second);
    assert_int_equal(read.parent, first);
    assert_int_equal(read.consistency, BLX_CONSISTENCY_CRASH);
    assert_int_equal(read.agent_realtime_ns, 5);
    assert_int_equal(read.committed_realtime_ns, 6);
    assert_int_equal(read.freeze_ns, 7);
    assert_string_equal(read.note, manifest.note);
    assert_int_equal(read.cut_flags, BLX_CUT_FLAGS_TOLD | BLX_CUT_POST_THAW_FAILED);
    assert_int_equal(read.volume_count, 2);
    const struct blx_manifest_volume *sda = blx_manifest_find(&read, "sda");
    assert_string_equal(sda->device, "/dev/sda");
    assert_string_equal(sda->identity, "serial \xc3\xa4");
    assert_int_equal(sda->size_bytes, 123456789);
    assert_int_equal(sda->block_shift, 12);
    assert_true(blx_generation_equal(&sda->generation, &volumes[0].generation));
    assert_true(blx_key_id_is_none(&sda->key_id));
    assert_true(blx_key_id_equal(&read.volumes[1].key_id, &volumes[1].key_id));
    assert_int_equal(sda->last_seq, 99);
    assert_true(sda->base);
    assert_int_equal(sda->changed_bytes, 8192);
    assert_int_equal(sda->stored_bytes, 777);
    assert_int_equal(sda->next_segment, 8);
    assert_int_equal(sda->segment_count, 3);
    assert_int_equal(sda->segments[2], 7);
    assert_int_equal(sda->unreadable_count, 3);
    assert_int_equal(sda->unreadable[1].start_block, 7);
    assert_int_equal(sda->unreadable[1].block_count, 20);
    assert_int_equal(blx_manifest_unreadable_bytes(&read), 22 * 4096);
    assert_false(blx_manifest_find(&read, "sdb")->base);
    assert_null(blx_manifest_find(&read, "sd"));
    assert_false(blx_manifest_is_full(&read));
}

static void flags_of_a_newer_program_are_passed_over(void **state)
{
    (void)state;
    static const struct {
        uint8_t stored[2];
        uint32_t read;
    } cases[] = {
        {{0, 0}, 0},
        {{BLX_CUT_FLAGS_TOLD, 0}, BLX_CUT_FLAGS_TOLD},
        {{0xf0 | BLX_CUT_FLAGS_TOLD, 0xff}, BLX_CUT_FLAGS_TOLD},
        {{BLX_CUT_LACKS_FIRST_PASS, 0}, 0}, /* nobody has told */
    };
    enum { FLAGS_AT = 6, CHECKSUM_AT = 312 };
    struct blx_error err = {0};
    struct blx_manifest_volume volumes[2];
    struct blx_manifest manifest = sample(second, first, volumes);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        BLX_CLEANUP_MANIFEST struct blx_manifest read = {0};
        BLX_CLEANUP_FREE void *content = NULL;
        size_t bytes;
        test_ok(blx_manifest_encode(&manifest, &content, &bytes, &err), &err);
        memcpy((uint8_t *)content + FLAGS_AT, cases[i].stored, 2);
        blx_le64 checksum = blx_le64_of(blx_layout_checksum(content, bytes, CHECKSUM_AT));
        memcpy((uint8_t *)content + CHECKSUM_AT, &checksum, sizeof(checksum));
        test_ok(blx_manifest_decode(content, bytes, &read, &err), &err);
        assert_int_equal(read.cut_flags, cases[i].read);
    }
}

/* It has version 2, which older programs refuse: to them it would have the volume. */
static void carried_volumes_read_back_and_are_no_volumes(void **state)
{
    const struct test_store *test = *state;
    struct blx_error err = {0};
    struct blx_manifest_volume volumes[2];
    struct blx_manifest manifest = sample(second, first, volumes);
    BLX_CLEANUP_MANIFEST struct blx_manifest read = {0}, copy = {0};
    manifest.volume_count = manifest.carried_count = 1;
    test_ok(blx_manifest_write(blx_store_agent(&test->store, "web1"), &manifest, &err), &err);
    test_ok(blx_manifest_read(blx_store_agent(&test->store, "web1"), second, &read, &err), &err);
    assert_int_equal(read.volume_count, 1);
    assert_int_equal(read.carried_count, 1);
    assert_true(blx_manifest_has(&read, "sda"));
    assert_false(blx_manifest_has(&read, "sdb"));
    assert_string_equal(blx_manifest_find(&read, "sdb")->device, "/dev/sda");
    assert_true(blx_manifest_is_full(&read));
    test_ok(blx_manifest_copy(&read, &copy, &err), &err);
    assert_int_equal(copy.carried_count, 1);
    char path[PATH_MAX], head[5];
    test_path(test, path, "agents/web1/checkpoints/%" PRIu64, second);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fread(head, 1, sizeof(head), file), sizeof(head));
    fclose(file);
    assert_memory_equal(head, "BLXM\x02", sizeof(head));
    write_sample(test, third);
    test_path(test, path, "agents/web1/checkpoints/%" PRIu64, third);
    file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fread(head, 1, sizeof(head), file), sizeof(head));
    fclose(file);
    assert_memory_equal(head, "BLXM\x01", sizeof(head));
}

/* Around the size that is read with one call. */
static void a_manifest_of_any_length_is_read(void **state)
{
    enum { FEWEST = 400, MOST = 1000 };
    struct test_store *test = *state;
    struct blx_error err = {0};
    static uint32_t segments[MOST];
    for (uint32_t i = 0; i < MOST; i++)
        segments[i] = i + 1;
    blx_timestamp timestamp = first;
    for (uint32_t count = FEWEST; count <= MOST; count++) {
        struct blx_manifest_volume volumes[2];
        BLX_CLEANUP_MANIFEST struct blx_manifest read = {0};
        struct blx_manifest manifest = sample(timestamp, 0, volumes);
        volumes[0].segment_count = count;
        volumes[0].segments = segments;
        volumes[0].next_segment = MOST + 1;
        test_ok(blx_manifest_write(blx_store_agent(&test->store, "web1"), &manifest, &err), &err);
        test_ok(blx_manifest_read(blx_store_agent(&test->store, "web1"), timestamp, &read, &err),
                &err);
        assert_int_equal(read.volumes[0].segment_count, count);
        assert_int_equal(read.volumes[0].segments[count - 1], count);
        timestamp = blx_timestamp_from_unix(blx_timestamp_to_unix(timestamp) + 1);
    }
    char path[PATH_MAX];
    struct stat shortest, longest;
    test_path(test, path, "agents/web1/checkpoints/20261122203600");
    assert_int_equal(stat(path, &shortest), 0);
    test_path(test, path, "agents/web1/checkpoints/%llu",
              (unsigned long long)blx_timestamp_from_unix(blx_timestamp_to_unix(timestamp) - 1));
    assert_int_equal(stat(path, &longest), 0);
    assert_true(shortest.st_size < 4096 && longest.st_size > 4096);
}

static void a_taken_timestamp_is_refused(void **state)
{
    const struct test_store *test = *state;
    struct blx_error err = {0};
    struct blx_manifest_volume volumes[2];
    struct blx_manifest manifest = sample(first, 0, volumes);
    write_sample(test, first);
    assert_int_equal(blx_manifest_write(blx_store_agent(&test->store, "web1"), &manifest, &err),
                     -EEXIST);
}

static void a_manifest_that_could_not_be_read_is_not_written(void **state)
{
    const struct test_store *test = *state;
    struct blx_manifest_volume volumes[2];
    uint32_t unordered[] = {4, 3, 7};
    struct blx_manifest manifest = sample(first, 0, volumes);
    volumes[0].segments = unordered;
    assert_int_equal(blx_manifest_write(blx_store_agent(&test->store, "web1"), &manifest, NULL),
                     -EINVAL);
    manifest = sample(first, first, volumes);
    assert_int_equal(blx_manifest_write(blx_store_agent(&test->store, "web1"), &manifest, NULL),
                     -EINVAL);
    manifest = sample(first, 0, volumes);
    strcpy(volumes[1].name, "sda");
    assert_int_equal(blx_manifest_write(blx_store_agent(&test->store, "web1"), &manifest, NULL),
                     -EINVAL);
    static const struct blx_extent wrong[][2] = {
        {{7, 20}, {26, 1}}, {{7, 0}, {8, 1}}, {{9, 1}, {7, 1}}, {{0, 1}, {30140, 2}}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct blx_extent extents[2] = {wrong[i][0], wrong[i][1]};
        manifest = sample(first, 0, volumes);
        volumes[0].unreadable = extents;
        volumes[0].unreadable_count = 2;
        assert_int_equal(blx_manifest_write(blx_store_agent(&test->store, "web1"), &manifest, NULL),
                         -EINVAL);
    }
    manifest = sample(20261322203600, 0, volumes);
    assert_int_equal(blx_manifest_write(blx_store_agent(&test->store, "web1"), &manifest, NULL),
                     -EINVAL);
}

static void any_flipped_byte_and_any_cut_of_a_manifest_is_found(void **state)
{
    const struct test_store *test = *state;
    char path[PATH_MAX];
    struct stat st;
    struct blx_manifest manifest;
    write_sample(test, first);
    test_path(test, path, "agents/web1/checkpoints/20261122203600");
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    for (off_t offset = 0; offset < st.st_size; offset++) {
        struct blx_error err = {0};
        uint8_t byte, flipped;
        assert_int_equal(pread(fd, &byte, 1, offset), 1);
        flipped = byte ^ 1;
        assert_int_equal(pwrite(fd, &flipped, 1, offset), 1);
        assert_int_equal(
            blx_manifest_read(blx_store_agent(&test->store, "web1"), first, &manifest, &err),
            -EBADMSG);
        assert_non_null(strstr(err.message, path));
        assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    }
    for (off_t bytes = st.st_size - 1; bytes >= 0; bytes--) {
        assert_int_equal(ftruncate(fd, bytes), 0);
        assert_int_equal(
            blx_manifest_read(blx_store_agent(&test->store, "web1"), first, &manifest, NULL),
            -EBADMSG);
    }
    close(fd);
}

static void a_manifest_under_another_name_is_refused(void **state)
{
    const struct test_store *test = *state;
    char from[PATH_MAX], to[PATH_MAX];
    struct blx_manifest manifest;
    write_sample(test, first);
    test_path(test, from, "agents/web1/checkpoints/20261122203600");
    test_path(test, to, "agents/web1/checkpoints/20261122203630");
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(
        blx_manifest_read(blx_store_agent(&test->store, "web1"), second, &manifest, NULL),
        -EBADMSG);
    assert_int_equal(
        blx_manifest_read(blx_store_agent(&test->store, "web1"), first, &manifest, NULL), -ENOENT);
}

static void list_is_sorted_keeps_both_ends_and_ignores_other_names(void **state)
{
    const struct test_store *test = *state;
    struct blx_error err = {0};
    static const char *const others[] = {"20261122203600.tmp", "2026", "99999999999999", "x"};
    char path[PATH_MAX];
    blx_timestamp *all = NULL;
    size_t count;
    write_sample(test, third);
    write_sample(test, first);
    write_sample(test, second);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        test_path(test, path, "agents/web1/checkpoints/%s", others[i]);
        close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    }
    test_ok(
        blx_manifest_list(blx_store_agent(&test->store, "web1"), 0, UINT64_MAX, &all, &count, &err),
        &err);
    assert_int_equal(count, 3);
    assert_true(all[0] == first && all[1] == second && all[2] == third);
    free(all);
    test_ok(
        blx_manifest_list(blx_store_agent(&test->store, "web1"), second, third, &all, &count, &err),
        &err);
    assert_int_equal(count, 2);
    free(all);
}

static void resolve_takes_latest_whole_and_minute(void **state)
{
    const struct test_store *test = *state;
    struct blx_error err = {0};
    blx_timestamp found;
    write_sample(test, first);
    write_sample(test, second);
    write_sample(test, third);
    test_ok(blx_manifest_resolve(blx_store_agent(&test->store, "web1"), "latest", &found, &err),
            &err);
    assert_int_equal(found, third);
    test_ok(
        blx_manifest_resolve(blx_store_agent(&test->store, "web1"), "20261122203630", &found, &err),
        &err);
    assert_int_equal(found, second);
    test_ok(
        blx_manifest_resolve(blx_store_agent(&test->store, "web1"), "202611222040", &found, &err),
        &err);
    assert_int_equal(found, third);
}

enum { MANY = 700, DELETED = 13, DAMAGED = 650 };

struct visits {
    const blx_timestamp *timestamps;
    size_t count, stop_at;
};

static int visit(void *arg, const struct blx_manifest *manifest, const struct blx_error *damage,
                 struct blx_error *err)
{
    struct visits *visits = arg;
    visits->count += visits->count == DELETED;
    if (visits->count == visits->stop_at)
        return blx_error_set(err, -ECANCELED, "enough");
    if (visits->count == DAMAGED) {
        assert_null(manifest);
        assert_int_equal(damage->code, -EBADMSG);
    } else {
        assert_null(damage);
        assert_int_equal(manifest->timestamp, visits->timestamps[visits->count]);
    }
    visits->count++;
    return 0;
}

static void each_visits_many_in_order_and_passes_over_what_was_deleted(void **state)
{
    const struct test_store *test = *state;
    struct blx_error err = {0};
    blx_timestamp timestamps[MANY];
    char path[PATH_MAX];
    for (unsigned i = 0; i < MANY; i++) {
        timestamps[i] = 20261122000000ULL + i / 60 * 100 + i % 60;
        write_sample(test, timestamps[i]);
    }
    test_path(test, path, "agents/web1/checkpoints/%llu", (unsigned long long)timestamps[DELETED]);
    assert_int_equal(unlink(path), 0);
    test_path(test, path, "agents/web1/checkpoints/%llu", (unsigned long long)timestamps[DAMAGED]);
    assert_int_equal(truncate(path, 100), 0);
    struct visits all = {.timestamps = timestamps, .stop_at = MANY};
    test_ok(blx_manifest_each(blx_store_agent(&test->store, "web1"), timestamps, MANY, visit, &all,
                              &err),
            &err);
    assert_int_equal(all.count, MANY);
    struct visits some = {.timestamps = timestamps, .stop_at = 20};
    assert_int_equal(blx_manifest_each(blx_store_agent(&test->store, "web1"), timestamps, MANY,
                                       visit, &some, &err),
                     -ECANCELED);
    assert_string_equal(err.message, "enough");
    test_ok(blx_manifest_each(blx_store_agent(&test->store, "web1"), NULL, 0, visit, &some, NULL),
            NULL);
}

static void resolve_expect(const struct test_store *test, const char *agent, const char *text,
                           int code, const char *part)
{
    struct blx_error err = {0};
    blx_timestamp found;
    assert_int_equal(blx_manifest_resolve(blx_store_agent(&test->store, agent), text, &found, &err),
                     code);
    if (strstr(err.message, part) == NULL)
        fail_msg("'%s' is not in: %s", part, err.message);
}

static void resolve_says_what_there_is_instead(void **state)
{
    const struct test_store *test = *state;
    resolve_expect(test, "web1", "latest", -ENOENT, "no checkpoint yet");
    resolve_expect(test, "web10", "latest", -ENOENT, "it knows 'web1'");
    write_sample(test, first);
    write_sample(test, second);
    write_sample(test, third);
    resolve_expect(test, "web1", "202611222036", -EINVAL, "20261122203600, 20261122203630");
    resolve_expect(test, "web1", "202611222038", -ENOENT, "20261122203630 and 20261122204000");
    resolve_expect(test, "web1", "20200101000000", -ENOENT, "nearest: 20261122203600");
    resolve_expect(test, "web1", "20300101000000", -ENOENT, "nearest: 20261122204000");
    resolve_expect(test, "web1", "noonish", -EINVAL, "yesterday");
    resolve_expect(test, "../x", "latest", -EINVAL, "../x");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_manifest_reads_back_as_it_was_written),
        cmocka_unit_test(flags_of_a_newer_program_are_passed_over),
        TEST(carried_volumes_read_back_and_are_no_volumes),
        TEST(a_manifest_of_any_length_is_read),
        TEST(a_taken_timestamp_is_refused),
        TEST(a_manifest_that_could_not_be_read_is_not_written),
        TEST(any_flipped_byte_and_any_cut_of_a_manifest_is_found),
        TEST(a_manifest_under_another_name_is_refused),
        TEST(list_is_sorted_keeps_both_ends_and_ignores_other_names),
        TEST(each_visits_many_in_order_and_passes_over_what_was_deleted),
        TEST(resolve_takes_latest_whole_and_minute),
        TEST(resolve_says_what_there_is_instead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
