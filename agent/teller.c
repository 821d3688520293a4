/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/teller.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "wire/control_socket.h"

enum {
    STACK_BYTES = 256 * 1024,
    CLIENT_MS = 2000, /* for its request, and again for taking the whole answer */
};

struct agent_teller {
    /* Constant while the thread runs. */
    struct agent *agent;
    struct blx_control_socket socket;
    int stop_fd; /* an eventfd that is written once and never read */
    pthread_t thread;

    pthread_mutex_t lock;  /* a leaf */
    struct blx_conn *conn; /* guarded by `lock`: of the client that is served; NULL: none */
};

/* Each message leaves at once, or the client has no time left. */
static int send_all(struct blx_conn *conn, const struct agent_self *self, uint64_t deadline_ns)
{
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_SELF, .control_self = self->more};
    int rc = blx_conn_send(conn, &message, NULL);
    message = (struct blx_message){.type = BLX_MESSAGE_CONTROL_AGENT, .control_agent = self->agent};
    if (rc == 0)
        rc = blx_conn_send(conn, &message, NULL);
    for (size_t i = 0; rc == 0 && i < self->disk_count && blx_clock_ns() < deadline_ns; i++) {
        message =
            (struct blx_message){.type = BLX_MESSAGE_CONTROL_DISK, .control_disk = self->disks[i]};
        rc = blx_conn_send(conn, &message, NULL);
    }
    message = (struct blx_message){.type = BLX_MESSAGE_CONTROL_DONE, .control_done = {.ok = true}};
    return rc == 0 && blx_clock_ns() < deadline_ns ? blx_conn_send(conn, &message, NULL) : rc;
}

static void refuse(struct blx_conn *conn, enum blx_message_type type)
{
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_DONE};
    snprintf(message.control_done.text, sizeof(message.control_done.text),
             "%s is nothing that an agent is asked for", blx_message_name(type));
    blx_conn_send(conn, &message, NULL);
}

static void answer(struct agent_teller *teller, struct blx_conn *conn)
{
    BLX_CLEANUP_FREE struct agent_self *self = malloc(sizeof(*self));
    struct blx_message request;
    if (self == NULL || blx_conn_recv(conn, CLIENT_MS, &request, NULL) < 0)
        return;
    if (request.type != BLX_MESSAGE_CONTROL_STATUS) {
        refuse(conn, request.type);
        return;
    }
    agent_self_copy(teller->agent, self);
    send_all(conn, self, blx_deadline_in_ms(CLIENT_MS));
}

/* The connection that agent_teller_stop() may cut. */
static void serve(struct agent_teller *teller, struct blx_conn *conn)
{
    pthread_mutex_lock(&teller->lock);
    teller->conn = conn;
    pthread_mutex_unlock(&teller->lock);
    struct pollfd stop = {.fd = teller->stop_fd, .events = POLLIN};
    if (poll(&stop, 1, 0) == 0)
        answer(teller, conn);
    pthread_mutex_lock(&teller->lock);
    teller->conn = NULL;
    pthread_mutex_unlock(&teller->lock);
}

static void take_client(void *arg, int accepted_fd)
{
    struct agent_teller *teller = arg;
    BLX_CLEANUP_FD int fd = accepted_fd;
    struct blx_conn *conn = NULL;
    if (blx_conn_new(fd, NULL, CLIENT_MS, &conn, NULL) < 0)
        return;
    (void)blx_take_fd(&fd);
    blx_conn_restrict(conn, 0, CLIENT_MS);
    serve(teller, conn);
    blx_conn_free(conn);
}

static void *teller_main(void *arg)
{
    struct agent_teller *teller = arg;
    blx_control_socket_serve(&teller->socket, teller->stop_fd, take_client, teller);
    return NULL;
}

/* Several agents may share a run-dir, as each volume has a file of its own there. The first one
 * answers. */
static int open_socket(const char *run_dir, struct blx_control_socket *socket,
                       struct blx_error *err)
{
    struct blx_conn *other = NULL;
    if (blx_control_socket_connect(run_dir, CLIENT_MS, &other, NULL) == 0) {
        blx_conn_free(other);
        return blx_error_set(err, -EADDRINUSE,
                             "another agent answers in '%s': give this one another run-dir",
                             run_dir);
    }
    return blx_control_socket_open(run_dir, socket, err);
}

static int start_thread(struct agent_teller *teller)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int rc = -pthread_create(&teller->thread, &attributes, teller_main, teller);
    pthread_attr_destroy(&attributes);
    return rc;
}

static void teller_free(struct agent_teller *teller)
{
    blx_cleanup_fd(&teller->stop_fd);
    pthread_mutex_destroy(&teller->lock);
    free(teller);
}

struct agent_teller *agent_teller_start(struct agent *agent)
{
    struct blx_error err = {0};
    struct agent_teller *teller = malloc(sizeof(*teller));
    if (teller == NULL)
        return NULL;
    *teller = (struct agent_teller){.agent = agent, .stop_fd = eventfd(0, EFD_CLOEXEC)};
    pthread_mutex_init(&teller->lock, NULL);
    int rc = teller->stop_fd < 0 ? blx_error_errno(&err, -EMFILE, "cannot wait")
                                 : open_socket(agent->config->run_dir, &teller->socket, &err);
    if (rc == 0 && (rc = start_thread(teller)) < 0) {
        blx_error_errno(&err, rc, "cannot start a thread");
        blx_control_socket_close(&teller->socket);
    }
    if (rc == 0)
        return teller;
    blx_log_warning("`blxrep status` cannot ask this agent: %s", err.message);
    teller_free(teller);
    return NULL;
}

void agent_teller_stop(struct agent_teller *teller)
{
    if (teller == NULL)
        return;
    (void)eventfd_write(teller->stop_fd, 1); /* the first write to an eventfd cannot fail */
    pthread_mutex_lock(&teller->lock);
    if (teller->conn != NULL)
        blx_conn_shutdown(teller->conn);
    pthread_mutex_unlock(&teller->lock);
    pthread_join(teller->thread, NULL);
    blx_control_socket_close(&teller->socket);
    teller_free(teller);
}
