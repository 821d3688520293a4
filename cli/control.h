/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to a running dispatcher: its socket in the data directory.
 *
 * Threads: one.
 */
#pragma once

#include "base/error.h"
#include "wire/conn.h"
#include "wire/message.h"

/*
 * -ENOTCONN where no dispatcher runs on `data_dir` (the message says so); -EACCES where it is
 * another user's; others name the directory. Free with blx_conn_free().
 */
int cli_control_connect(const char *data_dir, struct blx_conn **conn, struct blx_error *err);

/*
 * Tells the dispatcher that the agent is ordered to rescan; where no order stands, it gives one.
 * `outcome` says when the agent will begin, "" for now. -ENOTCONN as above.
 */
int cli_control_rescan(const char *data_dir, const char *agent_id, struct blx_control_done *outcome,
                       struct blx_error *err);

/* Has the dispatcher end the session of an agent that is revoked; returns when it has ended.
 * -ENOTCONN as above. */
int cli_control_revoke(const char *data_dir, const char *agent_id, struct blx_error *err);

/* Tells the dispatcher that the agent was paused, or resumed. -ENOTCONN as above. */
int cli_control_pause(const char *data_dir, const char *agent_id, struct blx_error *err);

/* Tells the dispatcher that something stored of the agent is damaged. -ENOTCONN as above. */
int cli_control_damage(const char *data_dir, const char *agent_id, const char *text,
                       struct blx_error *err);
