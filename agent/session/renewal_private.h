/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The renewal of this agent's certificate: when less than a third of its time is left the agent
 * makes a new key, asks for a certificate of it over the session that it has, and replaces its
 * credentials. The old certificate stays valid until it expires, so that a crash at any point
 * leaves credentials that work: before the rename the old ones, behind it the new.
 *
 * A site's own certificates (`tls` in the configuration) are the site's to renew.
 *
 * Threads: the control thread's.
 */
#pragma once

#include "agent/session/session_private.h"

/*
 * Asks where it is time to, and takes the answer where there is one. Fails only where the
 * connection does; what else goes wrong is logged and tried again an hour later.
 */
int agent_renewal_step(struct agent_session *session, struct blx_error *err);

/* The session is over: forgets what was not answered. */
void agent_renewal_done(struct agent_session *session);
