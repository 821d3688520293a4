/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's policy and pause: looked up, given to the registry, sent to the agent. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/units.h"
#include "dispatcher/policy_book.h"
#include "dispatcher/session/session_private.h"
#include "store/archive.h"
#include "store/pause.h"

/* An older release does not know POLICY. If it is paused its session ends; its tracking goes on. */
static int check_old_agent(const struct dispatcher_session *session,
                           const struct blx_policy_message *policy, struct blx_error *err)
{
    if (policy->paused)
        return blx_error_set(err, -ENOTSUP,
                             "this agent is paused, and its release is too old to wait in a "
                             "session: resume it, or install the dispatcher's release on it");
    if (policy->bandwidth_limit[0] != '\0' || policy->exclude_bytes > 0)
        dispatcher_session_log(
            session, BLX_LOG_WARNING,
            "agent '%s': its release is too old for the bandwidth-limit and exclude of "
            "a policy: install the dispatcher's",
            session->agent_id);
    return 0;
}

int dispatcher_session_check_archived(const struct dispatcher_session *session,
                                      struct blx_error *err)
{
    blx_timestamp since;
    int rc = blx_archive_look(blx_store_agent(session->dispatcher->store, session->agent_id),
                              &since, err);
    if (rc <= 0)
        return rc;
    return blx_error_set(err, -EACCES,
                         "the agent '%s' is archived on the dispatcher: stop it here, or undo that "
                         "there with `blxrep dispatcher archive --undo --agent=%s`",
                         session->agent_id, session->agent_id);
}

int dispatcher_session_check_encryption(struct dispatcher_session *session,
                                        const struct blx_policy_verdict *verdict,
                                        struct blx_error *err)
{
    bool lacks = verdict->encryption == BLX_POLICY_ENCRYPTION_REQUIRED &&
                 (session->features & BLX_FEATURE_ENCRYPTION) == 0;
    dispatcher_roster_note_encryption(&session->dispatcher->roster, session->record,
                                      lacks ? DISPATCHER_ROSTER_ENCRYPTION_LACKS
                                            : DISPATCHER_ROSTER_ENCRYPTION_FITS);
    if (!lacks)
        return 0;
    return blx_error_set(
        err, -EACCES,
        "the policy of the agent '%s' on the dispatcher demands encryption, and it "
        "sends its data in the clear: give `encryption-key` here, or change "
        "`encryption` there",
        session->agent_id);
}

static int find_policy(struct dispatcher_session *session, struct blx_policy_message *policy,
                       struct blx_error *err)
{
    struct blx_policy_verdict verdict;
    blx_timestamp since;
    dispatcher_policy_book_look(session->dispatcher->book, session->agent_id, &verdict);
    int rc = dispatcher_session_check_encryption(session, &verdict, err);
    if (rc < 0)
        return rc;
    rc =
        blx_pause_look(blx_store_agent(session->dispatcher->store, session->agent_id), &since, err);
    if (rc < 0)
        return dispatcher_session_store_result(session, rc);
    dispatcher_session_set_quota(session, &verdict.quota);
    *policy = (struct blx_policy_message){.sync_freq_ms = verdict.sync_freq_ms,
                                          .paused = rc == 1,
                                          .exclude_bytes = (uint32_t)verdict.exclude_bytes};
    memcpy(policy->bandwidth_limit, verdict.bandwidth_limit, sizeof(policy->bandwidth_limit));
    memcpy(policy->exclude, verdict.exclude, verdict.exclude_bytes);
    return 0;
}

int dispatcher_session_tell_policy(struct dispatcher_session *session, struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_POLICY};
    const struct blx_policy_message *policy = &message.policy;
    int rc = dispatcher_session_check_archived(session, err);
    if (rc == 0)
        rc = find_policy(session, &message.policy, err);
    if (rc < 0)
        return rc;
    dispatcher_registry_set_policy(&session->dispatcher->registry, &session->entry, policy);
    if (!policy->paused)
        session->paused_ns = 0;
    else if (session->paused_ns == 0)
        session->paused_ns = blx_clock_ns();
    if ((session->features & BLX_FEATURE_POLICY) == 0)
        return check_old_agent(session, policy, err);
    return dispatcher_session_send(session, &message, err);
}
