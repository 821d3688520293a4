/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's quota: measured when its session begins, counted on with each frame, and measured
 * again before anything is refused, since a prune may have made room. A refusal ends this agent's
 * session; its next one is let in as soon as there is room.
 */
#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "base/units.h"
#include "dispatcher/pruner.h"
#include "dispatcher/session/session_private.h"

/* The UTC day of the dispatcher's clock. */
static uint64_t today(void)
{
    return blx_clock_realtime_ns() / 1000000000 / 86400;
}

static int measure(struct dispatcher_session *session, struct blx_error *err)
{
    struct blx_agent_store agent = blx_store_agent(session->dispatcher->store, session->agent_id);
    session->used.of[BLX_QUOTA_BYTES_A_DAY] =
        dispatcher_roster_read_day(&session->dispatcher->roster, session->record, today());
    session->measured_ns = blx_clock_ns();
    return blx_quota_measure(agent, &session->used, err);
}

/* A measurement that is younger than this is believed: a look costs as much as a small prune. */
enum { OLD_MS = 1000 };

static enum blx_quota_state judge(struct dispatcher_session *session,
                                  char text[BLX_QUOTA_TEXT_BYTES])
{
    enum blx_quota_state state = blx_quota_judge(&session->quota, &session->used, text);
    dispatcher_roster_note_quota(&session->dispatcher->roster, session->record, state, text);
    return state;
}

void dispatcher_session_set_quota(struct dispatcher_session *session,
                                  const struct blx_quota *limits)
{
    char text[BLX_QUOTA_TEXT_BYTES];
    session->quota = *limits;
    if (!blx_quota_is_none(limits) && session->measured_ns == 0)
        measure(session, NULL); /* otherwise it is measured before anything is refused */
    session->quota_state = judge(session, text);
}

static int refuse(struct dispatcher_session *session, const char *text, struct blx_error *err)
{
    return blx_error_set(
        err, -EDQUOT,
        "the quota of the agent '%s' on the dispatcher is used up (%s): it goes on "
        "when there is room",
        session->agent_id, text);
}

int dispatcher_session_open_quota(struct dispatcher_session *session, struct blx_error *err)
{
    char text[BLX_QUOTA_TEXT_BYTES];
    enum blx_quota_state state = session->quota_state;
    if (state != BLX_QUOTA_REACHED)
        return 0;
    /* Only agents with a session are pruned otherwise. */
    dispatcher_pruner_relieve(session->dispatcher->pruner, session->agent_id);
    int rc = measure(session, err);
    if (rc == 0)
        state = judge(session, text);
    return rc == 0 && state == BLX_QUOTA_REACHED ? refuse(session, text, err) : rc;
}

/* As counted since the last measurement; measured again before it is an error. */
static int check(struct dispatcher_session *session, struct blx_error *err)
{
    char text[BLX_QUOTA_TEXT_BYTES];
    enum blx_quota_state before = session->quota_state;
    session->quota_state = blx_quota_judge(&session->quota, &session->used, text);
    int rc = 0;
    if (session->quota_state == BLX_QUOTA_REACHED &&
        blx_clock_ns() > session->measured_ns + OLD_MS * UINT64_C(1000000)) {
        rc = measure(session, err);
        session->quota_state = blx_quota_judge(&session->quota, &session->used, text);
    }
    if (rc == 0 && session->quota_state != before)
        judge(session, text);
    return rc == 0 && session->quota_state == BLX_QUOTA_REACHED ? refuse(session, text, err) : rc;
}

int dispatcher_session_count_frame(struct dispatcher_session *session, uint64_t bytes,
                                   struct blx_error *err)
{
    uint64_t day_bytes =
        dispatcher_roster_add_day(&session->dispatcher->roster, session->record, today(), bytes);
    if (blx_quota_is_none(&session->quota))
        return 0;
    session->used.of[BLX_QUOTA_BYTES] += bytes;
    session->used.of[BLX_QUOTA_BYTES_A_DAY] = day_bytes;
    return check(session, err);
}

int dispatcher_session_count_volume(struct dispatcher_session *session, const char *name,
                                    struct blx_error *err)
{
    struct blx_agent_store agent = blx_store_agent(session->dispatcher->store, session->agent_id);
    if (session->quota.of[BLX_QUOTA_VOLUMES] == 0 || blx_agent_store_has_volume(agent, name))
        return 0;
    session->used.of[BLX_QUOTA_VOLUMES]++;
    return check(session, err);
}

int dispatcher_session_count_commit(struct dispatcher_session *session, struct blx_error *err)
{
    if (blx_quota_is_none(&session->quota))
        return 0;
    int rc = check(session, err);
    session->used.of[BLX_QUOTA_CHECKPOINTS] += rc == 0;
    session->used.of[BLX_QUOTA_SEGMENTS] += rc == 0 ? session->volume_count : 0;
    return rc;
}
