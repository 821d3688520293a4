/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The renewal of this agent's certificate. When less than a third of its time is left the agent
 * makes a new key, asks for its certificate over the running session, and replaces its credentials.
 * The old certificate stays valid until it expires. So a crash at any point leaves credentials that
 * work: before the rename the old ones, after it the new ones.
 *
 * A site's own certificates (`tls` in the configuration) are the site's to renew.
 *
 * Threads: the control thread's.
 */
#pragma once

#include "agent/session/session_private.h"

/*
 * Asks if it is time to, and takes the answer if there is one. Fails only if the connection does.
 * Any other failure is logged, and the renewal is tried again an hour later.
 */
int agent_renewal_step(struct agent_session *session, struct blx_error *err);

/* The session is over: forgets a request that was not answered. */
void agent_renewal_done(struct agent_session *session);
