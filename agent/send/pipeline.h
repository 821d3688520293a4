/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bounded pipeline: control thread -> work queue -> workers (read, pack) -> packed queue ->
 * sender. Its jobs are a fixed number, made at the start: agent_pipeline_take() waits until one is
 * free. That is how a slow network slows down the reading of the disk.
 *
 *     limit                what happens when it is reached
 *     AGENT_PIPELINE_JOBS  agent_pipeline_take() waits
 *     work queue           holds every job there is and those of a cut, so that
 *                          agent_pipeline_submit() never waits long
 *     packed queue         holds every job: workers never wait
 *     digesting            a worker that has read waits
 *
 * Jobs may overtake each other. That is allowed because no two jobs under way hold the same block
 * (track/volume.h).
 *
 * Threads: one control thread takes and submits, one sender pops and releases.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/send/batch.h"
#include "base/error.h"
#include "wire/frame.h"

enum { AGENT_PIPELINE_JOBS = 24, AGENT_PIPELINE_WORKERS_MAX = 8 };

struct agent_reading;

struct agent_job {
    struct agent_batch batch;
    uint8_t *frame;     /* BLX_FRAME_MAX_BYTES; NULL in a job that is only read */
    size_t frame_bytes; /* with the digests that follow it */
    uint8_t *digests;   /* only read: room for agent_batch_digest(); NULL: no digests */
    bool is_read;       /* the data are there, without bad blocks: only pack */
    int rc;             /* of reading, digesting or packing */
    struct blx_error error;
    struct agent_reading *reading; /* only read: what it is part of */
};

/* Jobs that are only read, for a cut or a rescan, by all workers at once. */
struct agent_reading {
    struct agent_job *jobs; /* borrowed; their `frame` is NULL */
    size_t count;
    size_t unread; /* guarded by the pipeline's lock */
};

struct agent_pipeline;

int agent_pipeline_start(enum blx_codec codec, struct agent_pipeline **pipeline,
                         struct blx_error *err);

/* At most `most` workers make digests at the same time; 0: all. Call it before the first job. */
void agent_pipeline_limit_digesting(struct agent_pipeline *pipeline, unsigned most);

/* From now on the level of compression adapts (effort.c). Call it before the first job. */
void agent_pipeline_adapt(struct agent_pipeline *pipeline);

/* How the sender has spent its time since it popped the last job: waiting for the network, and
 * waiting for this job while jobs were under way. */
void agent_pipeline_report(struct agent_pipeline *pipeline, uint64_t blocked_ns,
                           uint64_t starved_ns);

/* All jobs must have been released. NULL is allowed. */
void agent_pipeline_stop(struct agent_pipeline *pipeline);

/* A free job, or NULL after `timeout_ms`. */
struct agent_job *agent_pipeline_take(struct agent_pipeline *pipeline, uint64_t timeout_ms);
void agent_pipeline_submit(struct agent_pipeline *pipeline, struct agent_job *job);

/* The next packed (or failed: job->rc) job, or NULL after `timeout_ms`. If none of its blocks could
 * be read it has no extents, and no frame. */
struct agent_job *agent_pipeline_pop(struct agent_pipeline *pipeline, uint64_t timeout_ms);
void agent_pipeline_release(struct agent_pipeline *pipeline, struct agent_job *job);

/*
 * Begins to read. Does not wait, and allocates nothing unless digests are asked for. The reading
 * and its jobs are the workers' until agent_pipeline_wait() is true. Several readings may be under
 * way; their jobs are taken in the order in which they were begun.
 */
void agent_pipeline_begin(struct agent_pipeline *pipeline, struct agent_reading *reading);

/* Waits for its last job, up to `timeout_ms` (BLX_FOR_EVER: as long as it takes). */
bool agent_pipeline_wait(struct agent_pipeline *pipeline, const struct agent_reading *reading,
                         uint64_t timeout_ms);

/* 0, or the first failure; -ETIME: a disk does not answer. Bad blocks are left in the batches. */
int agent_pipeline_get_failure(const struct agent_reading *reading);

/* All three, for as long as it takes. */
int agent_pipeline_read(struct agent_pipeline *pipeline, struct agent_job *jobs, size_t count);
