/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/control.h"

#include <errno.h>

#include "base/clock.h"
#include "base/text.h"
#include "wire/control_socket.h"

enum { SEND_TIMEOUT_MS = 30000, ANSWER_TIMEOUT_MS = 30000, TICK_MS = 2000 };

/* A question about an agent. */
struct question {
    const char *agent_id;
    const char *deed; /* completes "the dispatcher did not ... 'ID'" */
    uint64_t timeout_ms;
    const struct cli_waiting *waiting; /* then without a timeout; NULL: nobody */
    struct blx_message message;
};

int cli_control_connect(const char *data_dir, struct blx_conn **conn, struct blx_error *err)
{
    struct blx_error cause = {0};
    int rc = blx_control_socket_connect(data_dir, SEND_TIMEOUT_MS, conn, &cause);
    if (rc == -ENOTCONN)
        return blx_error_set(err, rc,
                             "no dispatcher runs on '%s': start it with `systemctl start "
                             "blxrep-dispatcher`; a start by hand is for a data directory of your "
                             "own",
                             data_dir);
    if (rc == -EPERM)
        return blx_error_errno(err, -EACCES,
                               "cannot reach the dispatcher on '%s' (run this as root or as the "
                               "dispatcher's user)",
                               data_dir);
    return rc < 0 ? blx_error_copy(err, rc, &cause) : 0;
}

int cli_control_connect_agent(const char *run_dir, struct blx_conn **conn, struct blx_error *err)
{
    struct blx_error cause = {0};
    int rc = blx_control_socket_connect(run_dir, SEND_TIMEOUT_MS, conn, &cause);
    if (rc == -ENOTCONN || rc == -ENOENT)
        return blx_error_set(err, -ENOTCONN,
                             "no agent runs here, or its run-dir is not '%s': start it with "
                             "`systemctl start blxrep-agent`",
                             run_dir);
    if (rc == -EPERM || rc == -EACCES)
        return blx_error_errno(err, -EACCES, "cannot reach the agent on '%s' (run this as root)",
                               run_dir);
    return rc < 0 ? blx_error_copy(err, rc, &cause) : 0;
}

int cli_control_unexpected(const char *data_dir, enum blx_message_type type, struct blx_error *err)
{
    return blx_error_set(err, -EPROTO,
                         "the dispatcher on '%s' answered with an unexpected %s: do blxrep and "
                         "blxrep-dispatcher have the same version?",
                         data_dir, blx_message_name(type));
}

static int receive(struct blx_conn *conn, const struct question *question,
                   struct blx_message *answer, struct blx_error *err)
{
    if (question->waiting == NULL)
        return blx_conn_recv(conn, question->timeout_ms, answer, err);
    struct blx_error none = {0};
    int rc;
    while ((rc = blx_conn_recv(conn, TICK_MS, answer, &none)) == -ETIMEDOUT) {
        blx_error_clear(&none);
        question->waiting->tick(question->waiting->arg);
    }
    return rc < 0 ? blx_error_copy(err, rc, &none) : 0;
}

/* Sends the message and receives the CONTROL_DONE that answers it. */
static int exchange(const char *data_dir, const struct question *question,
                    struct blx_control_done *outcome, struct blx_error *err)
{
    struct blx_message answer;
    struct blx_conn *conn = NULL;
    int rc = cli_control_connect(data_dir, &conn, err);
    if (rc < 0)
        return rc;
    rc = blx_conn_send(conn, &question->message, err);
    if (rc == 0)
        rc = receive(conn, question, &answer, err);
    blx_conn_free(conn);
    if (rc < 0) {
        blx_error_prefix(err, "the dispatcher on '%s' did not answer", data_dir);
        return rc;
    }
    if (answer.type != BLX_MESSAGE_CONTROL_DONE)
        return cli_control_unexpected(data_dir, answer.type, err);
    *outcome = answer.control_done;
    return 0;
}

/* An answer that refuses is an error, too. */
static int ask(const char *data_dir, const struct question *question,
               struct blx_control_done *outcome, struct blx_error *err)
{
    struct blx_control_done done;
    int rc = exchange(data_dir, question, &done, err);
    if (rc < 0)
        return rc;
    if (!done.ok)
        return blx_error_set(err, -EIO, "the dispatcher did not %s '%s': %s", question->deed,
                             question->agent_id, done.text);
    *outcome = done;
    return 0;
}

static struct question about(enum blx_message_type type, const char *agent_id, const char *deed)
{
    return (struct question){
        .agent_id = agent_id, .deed = deed, .timeout_ms = ANSWER_TIMEOUT_MS, .message.type = type};
}

int cli_control_checkpoint(const char *data_dir, const char *agent_id,
                           const struct cli_waiting *waiting, struct blx_control_done *outcome,
                           struct blx_error *err)
{
    struct question question =
        about(BLX_MESSAGE_CONTROL_CHECKPOINT, agent_id, "take a checkpoint of");
    question.timeout_ms = BLX_FOR_EVER; /* a first sync may take days */
    question.waiting = waiting;
    blx_text_set(question.message.control_checkpoint.agent_id, agent_id);
    int rc = ask(data_dir, &question, outcome, err);
    if (rc != -EPIPE && rc != -ECONNRESET)
        return rc;
    blx_error_clear(err);
    return blx_error_set(err, rc,
                         "the dispatcher on '%s' ended before the checkpoint of '%s' was done: "
                         "look at its log and try again",
                         data_dir, agent_id);
}

int cli_control_rescan(const char *data_dir, const char *agent_id, struct blx_control_done *outcome,
                       struct blx_error *err)
{
    struct question question = about(BLX_MESSAGE_CONTROL_RESCAN, agent_id, "order a rescan of");
    blx_text_set(question.message.control_rescan.agent_id, agent_id);
    return ask(data_dir, &question, outcome, err);
}

int cli_control_revoke(const char *data_dir, const char *agent_id, struct blx_error *err)
{
    struct question question = about(BLX_MESSAGE_CONTROL_REVOKE, agent_id, "end the session of");
    struct blx_control_done outcome;
    blx_text_set(question.message.control_revoke.agent_id, agent_id);
    return ask(data_dir, &question, &outcome, err);
}

int cli_control_rename(const char *data_dir, const char *agent_id, const char *to,
                       struct blx_error *err)
{
    struct question question = about(BLX_MESSAGE_CONTROL_RENAME, agent_id, "end the session of");
    struct blx_control_done outcome;
    blx_text_set(question.message.control_rename.agent_id, agent_id);
    blx_text_set(question.message.control_rename.to, to);
    return ask(data_dir, &question, &outcome, err);
}

int cli_control_pin(const char *data_dir, const char *agent_id, blx_timestamp timestamp,
                    struct blx_error *err)
{
    struct question question = about(BLX_MESSAGE_CONTROL_PIN, agent_id, "pin a checkpoint of");
    struct blx_control_done outcome;
    blx_text_set(question.message.control_pin.agent_id, agent_id);
    question.message.control_pin.timestamp = timestamp;
    return ask(data_dir, &question, &outcome, err);
}

int cli_control_pause(const char *data_dir, const char *agent_id, struct blx_error *err)
{
    struct question question = about(BLX_MESSAGE_CONTROL_PAUSE, agent_id, "look at the pause of");
    struct blx_control_done outcome;
    blx_text_set(question.message.control_pause.agent_id, agent_id);
    return ask(data_dir, &question, &outcome, err);
}

int cli_control_damage(const char *data_dir, const char *agent_id, const char *text,
                       struct blx_error *err)
{
    struct question question = about(BLX_MESSAGE_CONTROL_DAMAGE, agent_id, "record the damage of");
    struct blx_control_damage *body = &question.message.control_damage;
    struct blx_control_done outcome;
    blx_text_set(body->agent_id, agent_id);
    blx_text_set(body->text, text);
    return ask(data_dir, &question, &outcome, err);
}
