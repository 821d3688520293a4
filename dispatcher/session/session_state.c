/* SPDX-License-Identifier: Apache-2.0 */
/* The transitions of a session's state; session_private.h draws them. */
#include "base/assert.h"
#include "dispatcher/session/session_private.h"

static bool may_move(enum dispatcher_session_state from, enum dispatcher_session_state to)
{
    return from != DISPATCHER_SESSION_ENDED && (to == DISPATCHER_SESSION_ENDED || to == from + 1);
}

void dispatcher_session_move(struct dispatcher_session *session, enum dispatcher_session_state to)
{
    blx_assert(may_move(session->state, to));
    session->state = to;
}

bool dispatcher_session_is_lost(const struct dispatcher_session *session)
{
    return (session->failures & DISPATCHER_SESSION_LINK_LOST) != 0;
}

bool dispatcher_session_store_failed(const struct dispatcher_session *session)
{
    return (session->failures & DISPATCHER_SESSION_STORE_FAILED) != 0;
}
