/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/io.h"

enum { SEND_TIMEOUT_MS = 30000, ANSWER_TIMEOUT_MS = 30000 };

static int connect_error(const char *data_dir, int rc, struct blx_error *err)
{
    if (rc == -ENOENT || rc == -ECONNREFUSED)
        return blx_error_set(err, -ENOTCONN,
                             "no dispatcher runs on '%s': start it with "
                             "`blxrep start --mode=dispatcher --data-dir=%s --sync-freq=N`",
                             data_dir, data_dir);
    if (rc == -EACCES || rc == -EPERM)
        return blx_error_errno(err, -EACCES,
                               "cannot reach the dispatcher on '%s' (run this as root or as the "
                               "dispatcher's user)",
                               data_dir);
    return blx_error_errno(err, rc, "cannot reach the dispatcher on '%s'", data_dir);
}

/* A socket's path may have 107 bytes, a data directory's more; so the way leads through the open
 * directory. */
static int connect_in(int dir_fd, int socket_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path),
             "/proc/self/fd/%d/" BLX_CONTROL_SOCKET_NAME, dir_fd);
    return connect(socket_fd, (const struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : -errno;
}

int cli_control_connect(const char *data_dir, struct blx_conn **conn, struct blx_error *err)
{
    BLX_CLEANUP_FD int dir_fd = blx_open(data_dir, O_PATH | O_DIRECTORY, 0, err);
    if (dir_fd < 0)
        return dir_fd;
    BLX_CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return blx_error_errno(err, -errno, "cannot make a socket");
    int rc = connect_in(dir_fd, fd);
    if (rc < 0)
        return connect_error(data_dir, rc, err);
    rc = blx_conn_new(fd, NULL, SEND_TIMEOUT_MS, conn, err);
    if (rc == 0)
        blx_take_fd(&fd);
    return rc;
}

/* Sends the question, and takes the CONTROL_DONE that answers it. */
static int ask(struct blx_conn *conn, const struct blx_message *question,
               struct blx_control_done *outcome, struct blx_error *err)
{
    struct blx_message answer;
    int rc = blx_conn_send(conn, question, err);
    if (rc == 0)
        rc = blx_conn_recv(conn, ANSWER_TIMEOUT_MS, &answer, err);
    if (rc < 0) {
        blx_error_prefix(err, "the dispatcher does not answer");
        return rc;
    }
    if (answer.type != BLX_MESSAGE_CONTROL_DONE)
        return blx_error_set(err, -EPROTO, "the dispatcher answered with an unexpected %s",
                             blx_message_name(answer.type));
    *outcome = answer.control_done;
    return 0;
}

static int ask_for_rescan(struct blx_conn *conn, const char *agent_id,
                          struct blx_control_done *outcome, struct blx_error *err)
{
    struct blx_message question = {.type = BLX_MESSAGE_CONTROL_RESCAN};
    struct blx_control_done done;
    snprintf(question.control_rescan.agent_id, sizeof(question.control_rescan.agent_id), "%s",
             agent_id);
    int rc = ask(conn, &question, &done, err);
    if (rc == 0 && !done.ok)
        rc = blx_error_set(err, -EIO, "no rescan of '%s': %s", agent_id, done.text);
    if (rc == 0)
        *outcome = done;
    return rc;
}

static int ask_for_expulsion(struct blx_conn *conn, const char *agent_id, struct blx_error *err)
{
    struct blx_message question = {.type = BLX_MESSAGE_CONTROL_REVOKE};
    struct blx_control_done done;
    snprintf(question.control_revoke.agent_id, sizeof(question.control_revoke.agent_id), "%s",
             agent_id);
    int rc = ask(conn, &question, &done, err);
    if (rc == 0 && !done.ok)
        rc = blx_error_set(err, -EIO, "its session has not ended: %s", done.text);
    return rc;
}

int cli_control_rescan(const char *data_dir, const char *agent_id, struct blx_control_done *outcome,
                       struct blx_error *err)
{
    struct blx_conn *conn = NULL;
    int rc = cli_control_connect(data_dir, &conn, err);
    if (rc == 0)
        rc = ask_for_rescan(conn, agent_id, outcome, err);
    blx_conn_free(conn);
    return rc;
}

int cli_control_revoke(const char *data_dir, const char *agent_id, struct blx_error *err)
{
    struct blx_conn *conn = NULL;
    int rc = cli_control_connect(data_dir, &conn, err);
    if (rc == 0)
        rc = ask_for_expulsion(conn, agent_id, err);
    blx_conn_free(conn);
    return rc;
}

static int ask_to_look_at_pause(struct blx_conn *conn, const char *agent_id, struct blx_error *err)
{
    struct blx_message question = {.type = BLX_MESSAGE_CONTROL_PAUSE};
    struct blx_control_done done;
    snprintf(question.control_pause.agent_id, sizeof(question.control_pause.agent_id), "%s",
             agent_id);
    int rc = ask(conn, &question, &done, err);
    if (rc == 0 && !done.ok)
        rc = blx_error_set(err, -EIO, "the dispatcher does not act on it: %s", done.text);
    return rc;
}

int cli_control_pause(const char *data_dir, const char *agent_id, struct blx_error *err)
{
    struct blx_conn *conn = NULL;
    int rc = cli_control_connect(data_dir, &conn, err);
    if (rc == 0)
        rc = ask_to_look_at_pause(conn, agent_id, err);
    blx_conn_free(conn);
    return rc;
}

static int ask_to_note_damage(struct blx_conn *conn, const char *agent_id, const char *text,
                              struct blx_error *err)
{
    struct blx_message question = {.type = BLX_MESSAGE_CONTROL_DAMAGE};
    struct blx_control_damage *damage = &question.control_damage;
    struct blx_control_done outcome;
    snprintf(damage->agent_id, sizeof(damage->agent_id), "%s", agent_id);
    snprintf(damage->text, sizeof(damage->text), "%s", text);
    int rc = ask(conn, &question, &outcome, err);
    if (rc == 0 && !outcome.ok)
        rc = blx_error_set(err, -EIO, "the damage of '%s' is not taken down: %s", agent_id,
                           outcome.text);
    return rc;
}

int cli_control_damage(const char *data_dir, const char *agent_id, const char *text,
                       struct blx_error *err)
{
    struct blx_conn *conn = NULL;
    int rc = cli_control_connect(data_dir, &conn, err);
    if (rc == 0)
        rc = ask_to_note_damage(conn, agent_id, text, err);
    blx_conn_free(conn);
    return rc;
}
