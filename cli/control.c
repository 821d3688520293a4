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
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/control.sock", dir_fd);
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

static int ask_for_rescan(struct blx_conn *conn, const char *agent_id,
                          struct blx_control_done *outcome, struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_RESCAN};
    snprintf(message.control_rescan.agent_id, sizeof(message.control_rescan.agent_id), "%s",
             agent_id);
    int rc = blx_conn_send(conn, &message, err);
    if (rc == 0)
        rc = blx_conn_recv(conn, ANSWER_TIMEOUT_MS, &message, err);
    if (rc < 0) {
        blx_error_prefix(err, "the dispatcher does not answer");
        return rc;
    }
    if (message.type != BLX_MESSAGE_CONTROL_DONE)
        return blx_error_set(err, -EPROTO, "the dispatcher answered with an unexpected %s",
                             blx_message_name(message.type));
    if (!message.control_done.ok)
        return blx_error_set(err, -EIO, "no rescan of '%s': %s", agent_id,
                             message.control_done.text);
    *outcome = message.control_done;
    return 0;
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
