/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talks to the running dispatcher over its socket in the data directory.
 *
 * Every function returns -ENOTCONN if no dispatcher runs on `data_dir` (the message says how to
 * start one), -EACCES if its socket belongs to another user, and -EIO if the dispatcher refuses,
 * with its reason.
 *
 * Threads: one. All functions block until the dispatcher has answered.
 */
#pragma once

#include "base/error.h"
#include "wire/conn.h"
#include "wire/message.h"

/* For a conversation of more than one answer. Free with blx_conn_free(). */
int cli_control_connect(const char *data_dir, struct blx_conn **conn, struct blx_error *err);

/* The same with the agent of this machine, whose run-dir has its socket. -ENOTCONN: none runs;
 * -EACCES: only root may ask. */
int cli_control_connect_agent(const char *run_dir, struct blx_conn **conn, struct blx_error *err);

/* -EPROTO: the dispatcher sent a message that does not answer the question. */
int cli_control_unexpected(const char *data_dir, enum blx_message_type type, struct blx_error *err);

/* What is done about every two seconds as long as no answer has come. NULL: nothing. */
struct cli_waiting {
    void (*tick)(void *arg);
    void *arg;
};

/* Has a checkpoint taken. Waits until it is durable, however long that takes: `outcome` then has
 * its timestamp, and a text if it is damaged. `waiting` may be NULL. */
int cli_control_checkpoint(const char *data_dir, const char *agent_id,
                           const struct cli_waiting *waiting, struct blx_control_done *outcome,
                           struct blx_error *err);

/* Orders a rescan, unless one is ordered already. The text of `outcome` says when the agent will
 * begin; "" means now. */
int cli_control_rescan(const char *data_dir, const char *agent_id, struct blx_control_done *outcome,
                       struct blx_error *err);

/* Ends the session of an agent that is revoked, and returns after it has ended. */
int cli_control_revoke(const char *data_dir, const char *agent_id, struct blx_error *err);

/* Ends the session of an agent that gets another name next, and returns after it has ended. */
int cli_control_rename(const char *data_dir, const char *agent_id, const char *to,
                       struct blx_error *err);

/* Has a checkpoint pinned, for a program that may not write to the store. */
int cli_control_pin(const char *data_dir, const char *agent_id, blx_timestamp timestamp,
                    struct blx_error *err);

/* Reports that the agent's folder was changed by hand: its pause or archive was set or removed, or
 * data of it was. */
int cli_control_pause(const char *data_dir, const char *agent_id, struct blx_error *err);

/* Reports that stored data of the agent is damaged; `text` says what was found. */
int cli_control_damage(const char *data_dir, const char *agent_id, const char *text,
                       struct blx_error *err);
