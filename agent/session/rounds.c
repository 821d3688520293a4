/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/session/rounds_private.h"

#include "agent/session/apart_private.h"
#include "base/progress.h"
#include "base/units.h"

enum {
    STATE_NS = 1000 * 1000 * 1000,
    RETRY_BLOCKS = 8, /* at first: each may cost the disk seconds */
    RETRY_REST = 9,   /* times as long as the retry took */
};
static const uint64_t retry_slow_ns = UINT64_C(1000000000); /* one that takes longer is slow */
static const uint64_t retry_interval_ns = 30 * UINT64_C(1000000000);

/* The progress of a long round, for the dispatcher's status and for a terminal. */
struct report {
    struct agent_session *session;
    struct blx_progress progress;
    uint64_t told_ns;
};

static void report_init(struct report *report, struct agent_session *session)
{
    *report = (struct report){.session = session, .told_ns = blx_clock_ns()};
    blx_progress_init(&report->progress, "sending", agent_round_count_marked_bytes(session));
}

static void report_update(struct report *report)
{
    uint64_t now = blx_clock_ns();
    if (now - report->told_ns < STATE_NS)
        return;
    report->told_ns = now;
    struct agent_session *session = report->session;
    agent_session_update_status(session, session->status.state);
    uint64_t left = agent_round_count_marked_bytes(session);
    uint64_t total = report->progress.total_bytes;
    blx_progress_update(&report->progress, total > left ? total - left : 0);
}

bool agent_round_is_wanted_elsewhere(struct agent_session *session)
{
    pthread_mutex_lock(&session->agent->lock);
    bool wanted = session->request != 0 && session->committing == 0;
    pthread_mutex_unlock(&session->agent->lock);
    return wanted || (session->held_request != 0 && agent_apart_can_begin(session));
}

static void send_volume(struct agent_session *session, struct agent_volume *volume,
                        enum agent_claim kind, enum agent_round_end end, struct report *report)
{
    struct agent_pipeline *pipeline = session->agent->pipeline;
    uint64_t cursor = 0;
    while (agent_session_is_alive(session) &&
           !(end == AGENT_ROUND_YIELDS && agent_round_is_wanted_elsewhere(session))) {
        blx_watchdog_turn(&session->agent->watchdog, 0);
        struct agent_job *job = agent_session_take_job(session);
        if (job == NULL)
            break;
        if (!agent_batch_claim(&job->batch, volume, kind, &cursor)) {
            agent_pipeline_release(pipeline, job);
            volume->pass_is_swept = true;
            break;
        }
        agent_session_submit(session, job);
        report_update(report);
    }
}

/* A volume that a checkpoint leaves out is left out here, too. So is one whose rescan waits for a
 * checkpoint to end: nothing of it is claimed before all of it is compared. */
static bool takes_part(const struct agent_session *session, size_t volume)
{
    return !agent_apart_is(session, volume) &&
           !session->agent->volumes[volume].ledger.head->rescan_active;
}

/* The volumes by their number of marked blocks, so that a small disk does not wait for the first
 * pass of a large one. Returns how many take part. */
static size_t order_volumes(const struct agent_session *session, size_t order[BLX_MAX_VOLUMES])
{
    uint64_t marked[BLX_MAX_VOLUMES];
    size_t count = 0;
    for (size_t i = 0; i < session->agent->volume_count; i++) {
        if (!takes_part(session, i))
            continue;
        uint64_t blocks = agent_volume_count_marked(&session->agent->volumes[i]);
        size_t at = count++;
        for (; at > 0 && marked[at - 1] > blocks; at--) {
            marked[at] = marked[at - 1];
            order[at] = order[at - 1];
        }
        marked[at] = blocks;
        order[at] = i;
    }
    return count;
}

int agent_round_send(struct agent_session *session, enum agent_claim kind, enum agent_round_end end,
                     struct blx_error *err)
{
    struct agent *agent = session->agent;
    struct report report;
    size_t order[BLX_MAX_VOLUMES], count = order_volumes(session, order);
    report_init(&report, session);
    for (size_t i = 0; i < count; i++)
        send_volume(session, &agent->volumes[order[i]], kind, end, &report);
    blx_progress_done(&report.progress);

    pthread_mutex_lock(&agent->lock);
    int rc = session->rc;
    if (rc < 0)
        *err = session->error;
    pthread_mutex_unlock(&agent->lock);
    return rc;
}

static bool may_retry(const struct agent_bad_blocks *bad, enum agent_retry retry)
{
    if (atomic_load(&bad->count) == 0)
        return false;
    uint64_t took_ns = bad->retry_ended_ns - bad->retry_begun_ns;
    uint64_t rest_ns = took_ns >= retry_slow_ns ? RETRY_REST * took_ns : 0;
    if (retry == AGENT_RETRY_IN_BACKGROUND && rest_ns < retry_interval_ns)
        rest_ns = retry_interval_ns;
    return bad->retry_ended_ns == 0 || blx_clock_ns() - bad->retry_ended_ns >= rest_ns;
}

/* Claims up to `max_blocks` from where the last retry stopped; after the end from the first block
 * again. */
static bool claim_bad(struct agent_volume *volume, uint32_t max_blocks, struct agent_batch *batch)
{
    uint64_t from = volume->bad.cursor;
    batch->volume = volume;
    for (int pass = 0; pass < 2; pass++) {
        batch->extent_count =
            agent_volume_claim(volume, AGENT_CLAIM_BAD, &volume->bad.cursor, max_blocks,
                               AGENT_BATCH_MAX_EXTENTS, batch->extents);
        if (volume->bad.cursor == volume->blocks)
            volume->bad.cursor = 0;
        if (batch->extent_count > 0 || from == 0)
            break;
    }
    return batch->extent_count > 0;
}

static int retry_volume(struct agent_session *session, struct agent_volume *volume,
                        struct blx_error *err)
{
    struct agent_bad_blocks *bad = &volume->bad;
    uint32_t most = AGENT_BATCH_DATA_BYTES >> volume->block_shift;
    uint32_t max_blocks = RETRY_BLOCKS < most ? RETRY_BLOCKS : most;
    uint64_t before;
    int rc = 0;
    bad->retry_begun_ns = blx_clock_ns();
    do {
        before = atomic_load(&bad->count);
        struct agent_job *job = agent_session_take_job(session);
        if (job == NULL)
            break;
        if (!claim_bad(volume, max_blocks, &job->batch)) {
            agent_pipeline_release(session->agent->pipeline, job);
            break;
        }
        agent_session_submit(session, job);
        rc = agent_session_drain(session, AGENT_DRAIN_SENT, err);
        max_blocks = most;
    } while (rc == 0 && atomic_load(&bad->count) < before);
    bad->retry_ended_ns = blx_clock_ns();
    return rc;
}

int agent_round_retry(struct agent_session *session, enum agent_retry retry, bool *tried,
                      struct blx_error *err)
{
    struct agent *agent = session->agent;
    int rc = 0;
    if (tried != NULL)
        *tried = false;
    for (size_t i = 0; rc == 0 && i < agent->volume_count; i++) {
        struct agent_volume *volume = &agent->volumes[i];
        if (may_retry(&volume->bad, retry)) {
            rc = retry_volume(session, volume, err);
            if (tried != NULL)
                *tried = true;
        }
        agent_bad_blocks_report(&volume->bad, volume->device.path, volume->block_shift);
    }
    return rc;
}

uint64_t agent_round_count_marked_bytes(const struct agent_session *session)
{
    const struct agent *agent = session->agent;
    uint64_t bytes = 0;
    for (size_t i = 0; i < agent->volume_count; i++)
        bytes += agent_apart_is(session, i) ? 0
                                            : agent_volume_count_marked(&agent->volumes[i])
                                                  << agent->volumes[i].block_shift;
    return bytes;
}
