/* SPDX-License-Identifier: Apache-2.0 */
/* batch.c, pipeline.c and unacked.c: from a claimed block to a frame, and back by its
 * acknowledgement. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/send/pipeline.h"
#include "agent/send/unacked.h"
#include "base/bitmap.h"
#include "fake_volume.h"

static uint8_t expected[FAKE_BLOCKS];

/* Unpacks a packed job and compares each block with what was written. */
static void check_frame(struct agent_job *job, uint8_t *seen)
{
    struct blx_frame frame;
    struct blx_error error = {0};
    assert_int_equal(job->rc, 0);
    blx_frame_seal(job->frame, 1);
    assert_int_equal(blx_frame_parse(job->frame, job->frame_bytes, &frame, &error), 0);
    uint8_t *data = malloc(BLX_FRAME_MAX_DATA_BYTES);
    assert_int_equal(blx_frame_unpack(&frame, data, &error), 0);
    const uint8_t *at = data;
    for (uint32_t i = 0; i < frame.extent_count; i++) {
        struct blx_frame_extent extent = blx_frame_extent_at(&frame, i);
        for (uint64_t b = extent.extent.start_block;
             b < extent.extent.start_block + extent.extent.block_count; b++) {
            assert_int_equal(extent.zero, expected[b] == 0);
            seen[b]++;
            if (extent.zero)
                continue;
            for (size_t byte = 0; byte < FAKE_BLOCK_BYTES; byte += 511)
                assert_int_equal(at[byte], b == FAKE_BLOCKS - 1 && byte >= FAKE_BLOCK_BYTES - 512
                                               ? 0
                                               : expected[b]);
            at += FAKE_BLOCK_BYTES;
        }
    }
    free(data);
}

/* Random blocks, near and far, zero and not, with a device that ends within its last block. */
static void every_marked_block_comes_out_once_and_right(void **state)
{
    (void)state;
    struct fake_volume fake;
    struct agent_pipeline *pipeline;
    fake_volume_make(&fake, 512);
    assert_int_equal(agent_pipeline_start(BLX_CODEC_ZSTD, &pipeline, NULL), 0);
    srandom(3);
    uint8_t wanted[FAKE_BLOCKS] = {0}, seen[FAKE_BLOCKS] = {0};
    for (int i = 0; i < 700; i++) {
        uint64_t block = i == 0 ? FAKE_BLOCKS - 1 : (uint64_t)random() % FAKE_BLOCKS;
        expected[block] = (uint8_t)(i == 0 ? 9 : random() % 3);
        fake_volume_write(&fake, block, expected[block]);
        wanted[block] = 1;
    }
    uint64_t cursor = 0;
    for (;;) {
        struct agent_job *job = agent_pipeline_take(pipeline, 10000);
        if (!agent_batch_claim(&job->batch, &fake.volume, AGENT_CLAIM_ALL, &cursor)) {
            agent_pipeline_release(pipeline, job);
            break;
        }
        agent_pipeline_submit(pipeline, job);
        job = agent_pipeline_pop(pipeline, 10000);
        assert_non_null(job);
        check_frame(job, seen);
        agent_pipeline_release(pipeline, job);
    }
    assert_memory_equal(wanted, seen, sizeof(seen));
    agent_pipeline_stop(pipeline);
    fake_volume_remove(&fake);
}

static void cut_jobs_are_read_in_place_by_all_workers(void **state)
{
    (void)state;
    enum { JOBS = 40 };
    struct fake_volume fake;
    struct agent_pipeline *pipeline;
    fake_volume_make(&fake, 0);
    assert_int_equal(agent_pipeline_start(BLX_CODEC_NONE, &pipeline, NULL), 0);
    struct agent_job *jobs = calloc(JOBS, sizeof(*jobs));
    uint8_t *data = aligned_alloc(4096, (size_t)JOBS * AGENT_BATCH_DATA_BYTES);
    uint64_t cursor = 0;
    for (uint64_t i = 0; i < JOBS; i++) {
        fake_volume_write(&fake, i * 20, (uint8_t)(i + 1));
        jobs[i].batch.data = data + i * AGENT_BATCH_DATA_BYTES;
    }
    for (size_t i = 0; i < JOBS; i++) {
        cursor = i * 20;
        jobs[i].batch.volume = &fake.volume;
        jobs[i].batch.extent_count =
            agent_volume_claim(&fake.volume, AGENT_CLAIM_ALL, &cursor, 1, 1, jobs[i].batch.extents);
    }
    assert_int_equal(agent_pipeline_read(pipeline, jobs, JOBS), 0);
    for (size_t i = 0; i < JOBS; i++)
        assert_int_equal(jobs[i].batch.data[4095], i + 1);
    free(jobs);
    free(data);
    agent_pipeline_stop(pipeline);
    fake_volume_remove(&fake);
}

static void failed_read_is_reported_and_never_packed(void **state)
{
    (void)state;
    struct fake_volume fake;
    struct agent_pipeline *pipeline;
    fake_volume_make(&fake, 0);
    assert_int_equal(agent_pipeline_start(BLX_CODEC_ZSTD, &pipeline, NULL), 0);
    fake_volume_write(&fake, 900, 1);
    assert_int_equal(ftruncate(fake.fd, 4096), 0); /* the device became smaller */
    struct agent_job *job = agent_pipeline_take(pipeline, 10000);
    uint64_t cursor = 0;
    assert_true(agent_batch_claim(&job->batch, &fake.volume, AGENT_CLAIM_ALL, &cursor));
    agent_pipeline_submit(pipeline, job);
    job = agent_pipeline_pop(pipeline, 10000);
    assert_non_null(job);
    assert_true(job->rc < 0);
    agent_pipeline_release(pipeline, job);
    agent_pipeline_stop(pipeline);
    fake_volume_remove(&fake);
}

/* As a SCSI disk that the kernel has given up. A socket's name gives the same error. */
static void blocks_of_a_disk_that_cannot_be_opened_are_bad(void **state)
{
    (void)state;
    struct fake_volume fake;
    struct agent_pipeline *pipeline;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    fake_volume_make(&fake, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", fake.folder);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    strcpy(fake.volume.device.node, address.sun_path);
    assert_int_equal(agent_pipeline_start(BLX_CODEC_ZSTD, &pipeline, NULL), 0);
    blx_bitmap_set(fake.dirty, (struct blx_extent){100, 64});
    struct agent_job *job = agent_pipeline_take(pipeline, 10000);
    uint64_t cursor = 0;
    assert_true(agent_batch_claim(&job->batch, &fake.volume, AGENT_CLAIM_ALL, &cursor));
    agent_pipeline_submit(pipeline, job);
    job = agent_pipeline_pop(pipeline, 10000);
    assert_non_null(job);
    assert_int_equal(job->rc, 0);
    assert_int_equal(job->batch.extent_count, 0);
    for (uint64_t block = 100; block < 164; block++)
        assert_true(blx_bitmap_test(fake.volume.ledger.pending, block));
    agent_pipeline_release(pipeline, job);
    agent_pipeline_stop(pipeline);
    unlink(address.sun_path);
    close(fd);
    fake_volume_remove(&fake);
}

static void acknowledgement_clears_all_frames_up_to_it_and_no_later_one(void **state)
{
    (void)state;
    struct fake_volume fake;
    struct agent_unacked unacked = {0};
    fake_volume_make(&fake, 0);
    fake.volume.next_seq = 4;
    for (uint64_t seq = 1; seq <= 3; seq++) {
        struct agent_batch batch = {0};
        uint64_t cursor = 0;
        fake_volume_write(&fake, seq * 100, 1);
        assert_true(agent_batch_claim(&batch, &fake.volume, AGENT_CLAIM_ALL, &cursor));
        assert_int_equal(agent_unacked_add(&unacked, &batch, seq, 1000), 0);
    }
    assert_int_equal(unacked.bytes, 3000);
    agent_unacked_settle(&unacked, &fake.volume, 2);
    assert_int_equal(unacked.frames, 1);
    assert_int_equal(unacked.bytes, 1000);
    assert_int_equal(agent_volume_count_in_flight(&fake.volume), 1);
    assert_int_equal(fake.volume.ledger.head->acked_seq, 2);
    agent_unacked_done(&unacked);
    assert_int_equal(unacked.frames, 0);
    assert_int_equal(agent_volume_count_in_flight(&fake.volume), 1);
    fake_volume_remove(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_marked_block_comes_out_once_and_right),
        cmocka_unit_test(cut_jobs_are_read_in_place_by_all_workers),
        cmocka_unit_test(failed_read_is_reported_and_never_packed),
        cmocka_unit_test(blocks_of_a_disk_that_cannot_be_opened_are_bad),
        cmocka_unit_test(acknowledgement_clears_all_frames_up_to_it_and_no_later_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
