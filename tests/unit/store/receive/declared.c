/* SPDX-License-Identifier: Apache-2.0 */
/* An agent that declares more than it sends: the cost follows what it sends. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/prune/prune.h"
#include "store/prune/rewrite.h"
#include "store/receive/received_volume_private.h"

enum { SHIFT = BLX_BLOCK_SHIFT_MAX, MOST_MIB = 64, MOST_CPU_MS = 2000 };

/* The largest volume that is taken: 256 TiB. */
static void declare(struct test_volume *volume, uint8_t generation)
{
    volume->info.block_shift = SHIFT;
    volume->info.size_bytes = (uint64_t)BLX_VOLUME_MAX_BLOCKS << SHIFT;
    test_volume_generation(volume, generation);
}

/* One frame: the whole disk is zero. */
static void send_nothing(struct test_volume *volume, struct blx_agent_writer *writer)
{
    struct blx_error err = {0};
    struct blx_frame_extent extent = {{0, BLX_VOLUME_MAX_BLOCKS}, true};
    struct blx_frame_content content = {
        .codec = BLX_CODEC_NONE,
        .block_shift = SHIFT,
        .generation = volume->info.generation,
        .extents = &extent,
        .extent_count = 1,
        .data = "",
    };
    test_ok(blx_frame_pack(&content, volume->frame, &volume->frame_bytes, &err), &err);
    blx_frame_seal(volume->frame, ++volume->seq);
    test_ok(blx_agent_writer_append(writer, 0, volume->frame, volume->frame_bytes, &err), &err);
}

/* A session that begins with that pass, one frame, and no checkpoint. */
static struct blx_agent_writer *send_pass(const struct test_store *test, struct test_volume *volume,
                                          enum blx_pass pass, uint8_t generation)
{
    struct blx_error err = {0};
    struct test_volume *volumes[] = {volume};
    declare(volume, generation);
    volume->seq = 0;
    struct blx_agent_writer *writer = test_writer_open(test, volumes, 1, NULL);
    test_ok(blx_agent_writer_begin(writer, 0, pass, &err), &err);
    send_nothing(volume, writer);
    return writer;
}

static uint64_t cpu_ms(const struct rusage *usage)
{
    return (uint64_t)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000 +
           (uint64_t)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1000;
}

/* Three checkpoints of two such passes each, and the middle one is pruned. */
static void commit_and_prune(const struct test_store *test, struct test_volume *volume)
{
    struct blx_error err = {0};
    struct test_volume *volumes[] = {volume};
    blx_timestamp timestamps[3];
    for (uint8_t i = 0; i < 3; i++) {
        enum blx_pass pass = i == 0 ? BLX_PASS_FULL : BLX_PASS_RESCAN;
        blx_agent_writer_close(send_pass(test, volume, pass, (uint8_t)(2 * i + 1)));
        struct blx_agent_writer *writer =
            send_pass(test, volume, BLX_PASS_RESCAN, (uint8_t)(2 * i + 2));
        timestamps[i] = test_writer_commit(writer, volumes, 1, 1000000000 + i);
        const struct blx_manifest *last = blx_agent_writer_get_last(writer);
        assert_int_equal(last->volumes[0].segment_count, 2);
        assert_int_equal(last->volumes[0].changed_bytes, volume->info.size_bytes);
        blx_agent_writer_close(writer);
    }
    struct blx_agent_store agent = blx_store_agent(&test->store, "web1");
    struct blx_prune_report report = {0};
    struct blx_prune_request request = {.checkpoints = &timestamps[1], .count = 1};
    test_ok(blx_prune(agent, &request, &report, &err), &err);
}

static void a_huge_empty_volume_costs_next_to_nothing(void **state)
{
    (void)state;
    struct test_store test;
    struct test_volume volume;
    test_fsync_off();
    test_store_init(&test);
    test_volume_init(&volume, "sda", 1 << 20, 1);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rusage before, after;
        getrusage(RUSAGE_SELF, &before);
        commit_and_prune(&test, &volume);
        getrusage(RUSAGE_SELF, &after);
        long mib = (after.ru_maxrss - before.ru_maxrss) / 1024;
        long ms = (long)(cpu_ms(&after) - cpu_ms(&before));
        printf("three commits and a prune took %ld MiB and %ld ms of CPU\n", mib, ms);
        fflush(stdout);
        _exit(mib <= MOST_MIB && ms <= MOST_CPU_MS ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    test_volume_done(&volume);
    test_store_done(&test);
}

static void a_size_that_no_agent_has_is_refused(void **state)
{
    (void)state;
    struct blx_error err = {0};
    struct test_store test;
    struct test_volume volume;
    struct blx_volume_state ignored;
    test_store_init(&test);
    test_volume_init(&volume, "sda", 1 << 20, 1);
    struct blx_agent_writer *writer = test_writer_open(&test, NULL, 0, NULL);
    for (unsigned shift = BLX_BLOCK_SHIFT_MIN; shift <= BLX_BLOCK_SHIFT_MAX; shift++) {
        volume.info.block_shift = shift;
        volume.info.size_bytes = ((uint64_t)BLX_VOLUME_MAX_BLOCKS + 1) << shift;
        assert_int_equal(blx_agent_writer_add_volume(writer, &volume.info, &ignored, &err),
                         -EPROTO);
        assert_non_null(strstr(err.message, "no agent has more than"));
    }
    /* The agent rounds up: a disk may end within one more block. */
    volume.info.size_bytes = ((uint64_t)BLX_VOLUME_MAX_BLOCKS << SHIFT) + 512;
    test_ok(blx_agent_writer_add_volume(writer, &volume.info, &ignored, &err), &err);
    blx_agent_writer_close(writer);
    test_volume_done(&volume);
    test_store_done(&test);
}

static void segments_without_a_checkpoint_are_bounded(void **state)
{
    (void)state;
    struct blx_received_volume volume = {.info = {.size_bytes = 1 << 20}};
    volume.pending_count = 4099;
    assert_false(blx_received_volume_is_crowded(&volume));
    volume.pending_count = 4100;
    assert_true(blx_received_volume_is_crowded(&volume));
    /* A full pass over the largest volume, and as much again while it runs. */
    volume.info.size_bytes = (uint64_t)BLX_VOLUME_MAX_BLOCKS << SHIFT;
    volume.pending_count = 2 << (48 - 30);
    assert_false(blx_received_volume_is_crowded(&volume));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_huge_empty_volume_costs_next_to_nothing),
        cmocka_unit_test(a_size_that_no_agent_has_is_refused),
        cmocka_unit_test(segments_without_a_checkpoint_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
