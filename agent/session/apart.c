/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/session/apart_private.h"

#include <stdio.h>
#include <string.h>

#include "base/units.h"

enum { PATIENCE_MIN_MS = 500, PATIENCE_MAX_MS = 10 * 1000, SHARE_MIN_MS = 500 };

static bool knows_it(const struct agent_session *session)
{
    const uint64_t needed = BLX_FEATURE_LEAVE_OUT | BLX_FEATURE_CUT_AGE;
    return (session->welcome.features & needed) == needed;
}

/* A pass counts as sent as soon as a round has gone through all of it: what was written meanwhile
 * is a cut's affair. */
static bool is_passing(const struct agent_volume *volume)
{
    const struct agent_ledger_head *head = volume->ledger.head;
    return head->rescan_active || (head->pass_total_blocks > 0 && !volume->pass_is_swept &&
                                   agent_volume_has_marked(volume, 0));
}

static uint64_t every_one(const struct agent *agent)
{
    return agent->volume_count == 0 ? 0 : UINT64_MAX >> (64 - agent->volume_count);
}

/* The volumes that are passing, and have been for `patience_ns`. */
static uint64_t find_passing(const struct agent *agent, uint64_t patience_ns)
{
    uint64_t passing = 0, now_ns = blx_clock_ns();
    for (size_t i = 0; i < agent->volume_count; i++) {
        const struct agent_volume *volume = &agent->volumes[i];
        bool counts = now_ns >= volume->pass_since_ns + patience_ns && is_passing(volume);
        passing |= (uint64_t)counts << i;
    }
    return passing;
}

/* Half a period is short enough that no checkpoint is missed for it. */
static uint64_t patience_ns(const struct agent_session *session)
{
    pthread_mutex_lock(&session->agent->lock);
    uint64_t ms = session->sync_freq_ms / 2;
    pthread_mutex_unlock(&session->agent->lock);
    ms = ms < PATIENCE_MIN_MS ? PATIENCE_MIN_MS : ms > PATIENCE_MAX_MS ? PATIENCE_MAX_MS : ms;
    return ms * 1000000;
}

bool agent_apart_is(const struct agent_session *session, size_t volume)
{
    return (session->apart >> volume & 1) != 0;
}

bool agent_apart_can_begin(const struct agent_session *session)
{
    const struct agent *agent = session->agent;
    if (agent->volume_count < 2 || !knows_it(session))
        return true;
    uint64_t passing = find_passing(agent, 0);
    return passing == 0 || (passing != every_one(agent) && !agent_apart_has_share(session) &&
                            passing == find_passing(agent, patience_ns(session)));
}

bool agent_apart_has_share(const struct agent_session *session)
{
    return blx_clock_ns() < session->share_ends_ns;
}

bool agent_apart_can_leave_out(const struct agent_session *session)
{
    return session->agent->volume_count > 1 && knows_it(session) && agent_apart_can_begin(session);
}

static void line_up(struct agent_session *session)
{
    const struct agent *agent = session->agent;
    session->in_step_count = 0;
    for (size_t i = 0; i < agent->volume_count; i++)
        if (!agent_apart_is(session, i))
            session->in_step[session->in_step_count++] = agent->devices[i];
}

void agent_apart_choose(struct agent_session *session)
{
    uint64_t passing = knows_it(session) ? find_passing(session->agent, patience_ns(session)) : 0;
    if (session->apart == 0)
        session->apart_since_ns = blx_clock_ns();
    session->apart = passing == every_one(session->agent) ? 0 : passing;
    line_up(session);
}

void agent_apart_end(struct agent_session *session)
{
    uint64_t now_ns = blx_clock_ns(), share_ns = now_ns - session->apart_since_ns;
    const uint64_t least_ns = SHARE_MIN_MS * UINT64_C(1000000);
    const uint64_t most_ns = PATIENCE_MAX_MS * UINT64_C(1000000);
    share_ns = share_ns < least_ns ? least_ns : share_ns > most_ns ? most_ns : share_ns;
    session->share_ends_ns = session->apart != 0 ? now_ns + share_ns : 0;
    session->apart = 0;
}

uint64_t agent_apart_measure_pass(const struct agent_volume *volume, uint64_t marked_blocks,
                                  uint64_t *done_blocks)
{
    const struct agent_ledger_head *head = volume->ledger.head;
    uint64_t total = head->pass_total_blocks;
    *done_blocks = total > marked_blocks ? total - marked_blocks : 0;
    if (head->rescan_active) {
        total = volume->rescan_total_blocks;
        *done_blocks = volume->rescan_done_blocks;
        if (total == 0) { /* not counted yet */
            total = head->rescan_end_block;
            *done_blocks = head->rescan_cursor_block;
        }
    }
    return total;
}

uint32_t agent_apart_note(const struct agent_session *session, char note[BLX_TEXT_BYTES])
{
    const struct agent *agent = session->agent;
    uint32_t flags = 0;
    for (size_t i = 0; i < agent->volume_count; i++) {
        const struct agent_volume *volume = &agent->volumes[i];
        const struct agent_ledger_head *head = volume->ledger.head;
        bool compares = head->rescan_active || head->pass_is_rescan;
        if (!agent_apart_is(session, i))
            continue;
        flags |= compares ? 0 : BLX_CUT_LACKS_FIRST_PASS;
        uint64_t done = 0;
        uint64_t marked = agent_volume_count_marked(volume) + agent_volume_count_in_flight(volume);
        uint64_t total = agent_apart_measure_pass(volume, marked, &done);
        size_t used = strlen(note);
        snprintf(note + used, BLX_TEXT_BYTES - used, "%swithout '%s', whose %s is at %u %%",
                 used > 0 ? "; " : "", volume->device.path, compares ? "comparison" : "first pass",
                 total == 0 ? 0 : (unsigned)((double)done * 100 / (double)total));
    }
    return flags;
}
