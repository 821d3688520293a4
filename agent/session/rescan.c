/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/session/rescan_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/session/apart_private.h"
#include "agent/session/rescan_question_private.h"
#include "agent/wanted.h"
#include "base/assert.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/units.h"

enum { STATE_NS = 1000 * 1000 * 1000, QUESTIONS = 2, FINE_QUESTIONS = 6 };
_Static_assert((int)QUESTIONS + (int)FINE_QUESTIONS <= (int)AGENT_SESSION_QUESTIONS,
               "each question that is asked has a place for its answer");

struct rescan {
    struct agent_session *session;
    struct agent_volume *volume;
    uint64_t *wanted; /* owned; the blocks that are to be compared */
    uint64_t cursor;  /* after the last block that was asked for */
    bool asked;       /* the first request has gone out */
    bool stops;       /* a checkpoint is wanted: what is asked for is still compared */
    enum agent_round_end end;
    uint64_t compared_blocks; /* of `wanted`, below the ledger's cursor */
    uint64_t total_blocks;
    struct agent_question_reader *reader;       /* owned */
    struct agent_question questions[QUESTIONS]; /* the one being compared, and the one ahead */
    struct agent_question fine[FINE_QUESTIONS];
    struct blx_progress progress;
    uint64_t told_ns;
};

static bool is_to_yield(struct agent_session *session)
{
    return agent_round_is_wanted_elsewhere(session) && agent_apart_can_leave_out(session);
}

bool agent_rescan_is_active(const struct agent_session *session)
{
    const struct agent *agent = session->agent;
    for (size_t i = 0; i < agent->volume_count; i++) {
        if (agent->volumes[i].ledger.head->rescan_active && !agent_apart_is(session, i))
            return true;
    }
    return false;
}

int agent_rescan_answer_locked(struct agent_session *session, const struct blx_digests *digests,
                               struct blx_error *err)
{
    blx_assert_held(&session->agent->lock);
    for (size_t i = 0; i < AGENT_SESSION_QUESTIONS; i++) {
        struct agent_session_answer *answer = &session->answers[i];
        if (answer->request != digests->request || answer->request == 0 || answer->is_here)
            continue;
        answer->digests = *digests;
        answer->is_here = true;
        return 0;
    }
    return blx_error_set(
        err, -EPROTO, "the dispatcher answered the digest request %" PRIu64 ", which was not asked",
        digests->request);
}

static int ask(struct rescan *rescan, struct agent_question *question, struct blx_error *err)
{
    struct agent_session *session = rescan->session;
    struct blx_message message = {.type = BLX_MESSAGE_DIGEST_REQUEST};
    pthread_mutex_lock(&session->agent->lock);
    struct agent_session_answer *place = NULL;
    for (size_t i = 0; place == NULL && i < AGENT_SESSION_QUESTIONS; i++)
        place = session->answers[i].request == 0 ? &session->answers[i] : NULL;
    question->request.request = ++session->last_question;
    question->request.fresh = !rescan->asked;
    question->answer = place;
    place->request = question->request.request;
    place->is_here = false;
    int rc = agent_session_check_locked(session, err);
    pthread_mutex_unlock(&session->agent->lock);
    if (rc < 0)
        return rc;
    rescan->asked = true;
    message.digest_request = question->request;
    return blx_conn_send(session->conn, &message, err);
}

/* Waits for the answer and gives its place back. */
static int take_answer(struct rescan *rescan, struct agent_question *question,
                       struct blx_digests *theirs, struct blx_error *err)
{
    struct agent_session *session = rescan->session;
    struct agent_session_answer *place = question->answer;
    pthread_mutex_lock(&session->agent->lock);
    int rc = agent_session_check_locked(session, err);
    blx_watchdog_turn(&session->agent->watchdog, 0);
    while (rc == 0 && !place->is_here) {
        blx_watchdog_turn(&session->agent->watchdog, 0);
        agent_wait_locked(session->agent, 1000);
        rc = agent_session_check_locked(session, err);
    }
    if (rc == 0) {
        *theirs = place->digests;
        place->request = 0;
        rc = agent_question_check(question, theirs, err);
    }
    pthread_mutex_unlock(&session->agent->lock);
    return rc;
}

/* The questions of a batch are all asked before the first is waited for: one round trip for all. */
static int refine_batch(struct rescan *rescan, uint32_t count, struct blx_error *err)
{
    for (uint32_t i = 0; i < count; i++) {
        int rc = ask(rescan, &rescan->fine[i], err);
        if (rc < 0)
            return rc;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct agent_question *question = &rescan->fine[i];
        struct blx_digests theirs;
        int rc = agent_question_read_apart(rescan->reader, question, err);
        if (rc == 0)
            rc = take_answer(rescan, question, &theirs, err);
        if (rc < 0)
            return rc;
        rescan->volume->rescan_found_blocks += agent_question_mark(question, &theirs);
    }
    return 0;
}

/* The pieces that differ, block by block. */
static int refine(struct rescan *rescan, const struct agent_question *question,
                  const struct blx_digests *theirs, struct blx_error *err)
{
    struct agent_question_cursor cursor = {0};
    uint32_t count = 0;
    int rc = 0;
    while (rc == 0 && agent_question_refine(question, theirs, &cursor, &rescan->fine[count])) {
        if (++count < FINE_QUESTIONS)
            continue;
        rc = refine_batch(rescan, count, err);
        count = 0;
    }
    return rc == 0 ? refine_batch(rescan, count, err) : rc;
}

static void report(struct rescan *rescan)
{
    uint64_t now = blx_clock_ns();
    if (now - rescan->told_ns < STATE_NS)
        return;
    rescan->told_ns = now;
    agent_session_update_status(rescan->session, BLX_AGENT_RESCAN);
    blx_progress_update(&rescan->progress, rescan->compared_blocks << rescan->volume->block_shift);
}

static int compare(struct rescan *rescan, struct agent_question *question,
                   struct agent_question *ahead, struct blx_error *err)
{
    struct blx_digests theirs;
    int rc = agent_question_read(rescan->reader, question, ahead, err);
    if (rc == 0)
        rc = take_answer(rescan, question, &theirs, err);
    if (rc == 0 && question->request.blocks_per_digest == 1)
        rescan->volume->rescan_found_blocks += agent_question_mark(question, &theirs);
    else if (rc == 0)
        rc = refine(rescan, question, &theirs, err);
    if (rc < 0)
        return rc;
    rescan->compared_blocks += blx_digest_request_blocks(&question->request);
    rescan->volume->rescan_done_blocks = rescan->compared_blocks;
    rescan->volume->ledger.head->rescan_cursor_block = blx_digest_request_end(&question->request);
    report(rescan);
    return 0;
}

/* Asks the next question into `question`; `*has` is false at the end. */
static int ask_next(struct rescan *rescan, struct agent_question *question, bool *has,
                    struct blx_error *err)
{
    uint64_t end = rescan->volume->ledger.head->rescan_end_block;
    *has = agent_question_make_next(rescan->volume, rescan->wanted, end, &rescan->cursor, question);
    return *has ? ask(rescan, question, err) : 0;
}

static int compare_all(struct rescan *rescan, struct blx_error *err)
{
    bool has, has_ahead = false;
    unsigned at = 0;
    int rc = ask_next(rescan, &rescan->questions[at], &has, err);
    while (rc == 0 && has) {
        has_ahead = false;
        rescan->stops |= rescan->end == AGENT_ROUND_YIELDS && is_to_yield(rescan->session);
        if (!rescan->stops)
            rc = ask_next(rescan, &rescan->questions[1 - at], &has_ahead, err);
        if (rc == 0)
            rc = compare(rescan, &rescan->questions[at],
                         has_ahead ? &rescan->questions[1 - at] : NULL, err);
        has = has_ahead;
        at = 1 - at;
    }
    return rc;
}

/* Blocks that are marked are sent whatever the dispatcher has: they need not be compared. */
static void leave_out_marked(const struct agent_volume *volume, uint64_t *wanted)
{
    for (uint64_t i = 0; i < blx_bitmap_words(volume->blocks); i++)
        wanted[i] &= ~(__atomic_load_n(&volume->ledger.pending[i], __ATOMIC_SEQ_CST) |
                       __atomic_load_n(&volume->dirty[i], __ATOMIC_SEQ_CST));
}

static int prepare(struct rescan *rescan, struct blx_error *err)
{
    struct agent_session *session = rescan->session;
    struct agent_volume *volume = rescan->volume;
    struct agent_ledger_head *head = volume->ledger.head;
    agent_session_update_status(session, BLX_AGENT_RESCAN);
    int rc = agent_session_drain(session, AGENT_DRAIN_SENT, err);
    if (rc == 0)
        rc = agent_find_wanted(session->agent, volume, &rescan->wanted, err);
    if (rc == 0)
        rc = agent_question_reader_new(session->agent->pipeline,
                                       session->agent->config->rescan_priority, &rescan->reader,
                                       err);
    if (rc < 0)
        return rc;
    leave_out_marked(volume, rescan->wanted);
    rescan->cursor = head->rescan_cursor_block;
    rescan->total_blocks = blx_bitmap_count(rescan->wanted, head->rescan_end_block);
    rescan->compared_blocks = blx_bitmap_count(rescan->wanted, rescan->cursor);
    rescan->told_ns = blx_clock_ns();
    volume->rescan_total_blocks = rescan->total_blocks;
    volume->rescan_done_blocks = rescan->compared_blocks;
    blx_progress_init(&rescan->progress, "comparing", rescan->total_blocks << volume->block_shift);
    return 0;
}

static void log_done(const struct rescan *rescan, uint64_t elapsed_ns)
{
    char compared[BLX_UNIT_TEXT_BYTES], found[BLX_UNIT_TEXT_BYTES], took[BLX_UNIT_TEXT_BYTES];
    unsigned shift = rescan->volume->block_shift;
    blx_log_info("'%s': rescan done: %s compared in %s, %s differ", rescan->volume->device.path,
                 blx_size_format(rescan->compared_blocks << shift, compared),
                 blx_duration_format(elapsed_ns / 1000000, took),
                 blx_size_format(rescan->volume->rescan_found_blocks << shift, found));
}

static int run_volume(struct agent_session *session, struct agent_volume *volume,
                      enum agent_round_end end, struct blx_error *err)
{
    BLX_CLEANUP_FREE struct rescan *rescan = calloc(1, sizeof(*rescan));
    if (rescan == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot begin a rescan of '%s'", volume->device.path);
    uint64_t started_ns = blx_clock_ns();
    rescan->session = session;
    rescan->volume = volume;
    rescan->end = end;
    blx_log_info("'%s': rescan from block %" PRIu64 ": %s", volume->device.path,
                 volume->ledger.head->rescan_cursor_block, volume->ledger.head->rescan_reason);
    int rc = prepare(rescan, err);
    if (rc == 0)
        rc = compare_all(rescan, err);
    blx_progress_done(&rescan->progress);
    if (rc == 0 && !rescan->stops) {
        log_done(rescan, blx_clock_ns() - started_ns);
        agent_volume_end_rescan(volume);
    }
    agent_question_reader_free(rescan->reader);
    free(rescan->wanted);
    return rc;
}

int agent_rescan_run(struct agent_session *session, enum agent_round_end end, struct blx_error *err)
{
    struct agent *agent = session->agent;
    if (agent_has_changed_device(agent, err))
        return -ESTALE;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < agent->volume_count; i++) {
        if (agent->volumes[i].ledger.head->rescan_active && !agent_apart_is(session, i) &&
            !(end == AGENT_ROUND_YIELDS && is_to_yield(session)))
            rc = run_volume(session, &agent->volumes[i], end, err);
    }
    return rc;
}

void agent_rescan_take_order(struct agent_session *session)
{
    static const struct blx_bucket_size size = {.burst = 16, .period_ns = 1800 * BLX_NS_PER_S};
    struct agent *agent = session->agent;
    char reason[BLX_TEXT_BYTES];
    unsigned held_back = 0;
    pthread_mutex_lock(&agent->lock);
    bool asked = session->wants_rescan || session->rescan_is_held;
    session->wants_rescan = false;
    memcpy(reason, session->rescan_reason, sizeof(reason));
    bool held = asked && !blx_bucket_take(&agent->rescans, &size, blx_clock_ns(), &held_back);
    pthread_mutex_unlock(&agent->lock);
    if (held && !session->rescan_is_held)
        blx_log_warning("the dispatcher has ordered %u rescans within a short time: the next one "
                        "(%s) waits for up to half an hour",
                        size.burst, reason);
    session->rescan_is_held = held;
    asked = asked && !held;
    for (size_t i = 0; asked && i < agent->volume_count; i++)
        agent_volume_begin_rescan(&agent->volumes[i], agent->volumes[i].blocks, reason);
}
