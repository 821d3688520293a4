/* SPDX-License-Identifier: Apache-2.0 */
/* A client of the control socket: receives its one request and answers it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/name.h"
#include "dispatcher/control_private.h"
#include "dispatcher/neighbours.h"
#include "dispatcher/overview.h"
#include "dispatcher/policy_book.h"
#include "dispatcher/sources.h"
#include "store/archive.h"
#include "store/checkpoint/pin.h"
#include "store/own_id.h"
#include "store/pause.h"
#include "store/rescan_order.h"
#include "tls/pki.h"
#include "wire/conn.h"

enum {
    CLIENT_TIMEOUT_MS = 10 * 1000,
    RETURN_MS = 5 * 1000, /* an agent that left just now is given as long to come back */
    RETURN_LOOK_MS = 100,
};

struct client {
    struct dispatcher *dispatcher;
    struct blx_conn *conn;
    int fd; /* a duplicate of the connection's, for poll() */
    int stop_fd;
};

static int send_done(struct client *client, const struct blx_control_done *done)
{
    const struct blx_message message = {.type = BLX_MESSAGE_CONTROL_DONE, .control_done = *done};
    return blx_conn_send(client->conn, &message,
                         NULL); /* nobody misses the answer if the client is gone */
}

static int send_failure(struct client *client, const struct blx_error *err)
{
    struct blx_control_done done = {.ok = false};
    snprintf(done.text, sizeof(done.text), "%.*s", (int)sizeof(done.text) - 1, err->message);
    return send_done(client, &done);
}

/* 0 when the request is over; -ECANCELED if the client hangs up before. */
static int wait_for_outcome(const struct client *client,
                            const struct dispatcher_registry_waiter *waiter)
{
    struct pollfd fds[] = {
        {.fd = waiter->event_fd, .events = POLLIN},
        {.fd = client->fd, .events = POLLRDHUP},
    };
    for (;;) {
        if (poll(fds, 2, -1) < 0) {
            if (errno != EINTR)
                return -errno;
            continue;
        }
        if (fds[0].revents != 0)
            return 0;
        if (fds[1].revents != 0)
            return -ECANCELED;
    }
}

static int check_agent(const struct client *client, const char *agent_id, struct blx_error *err)
{
    int rc = blx_name_check("agent ID", agent_id, err);
    if (rc == 0 && !blx_agent_store_exists(blx_store_agent(client->dispatcher->store, agent_id)))
        rc = blx_error_set(err, -ENOENT,
                           "the agent '%s' is not known here: it has never been connected",
                           agent_id);
    return rc;
}

/* Nothing is asked of an agent through another dispatcher. What that one told may be older than the
 * session here. */
static int check_place(const struct client *client, const char *agent_id, struct blx_error *err)
{
    struct blx_control_agent told = {0};
    char host[BLX_NAME_BYTES];
    dispatcher_neighbours_refresh(client->dispatcher->neighbours);
    if (dispatcher_registry_describe(&client->dispatcher->registry, agent_id, &told) ||
        !dispatcher_neighbours_find(client->dispatcher->neighbours, agent_id, &told, host))
        return 0;
    return blx_error_set(err, -EREMOTE,
                         "it is connected to the dispatcher '%s': run the command on that host",
                         host);
}

static int check_not_paused(const struct client *client, const char *agent_id,
                            struct blx_error *err)
{
    blx_timestamp since;
    int rc = blx_pause_look(blx_store_agent(client->dispatcher->store, agent_id), &since, err);
    return rc <= 0 ? rc : dispatcher_registry_refuse_paused(agent_id, err);
}

/* Whether the agent was here a moment ago. A session ends whenever its disks or its policy change,
 * and with the dispatcher's own restart; the next one follows. */
static bool left_lately(const struct client *client, const char *agent_id)
{
    struct dispatcher *dispatcher = client->dispatcher;
    struct blx_control_agent agent = {0};
    if (dispatcher_registry_describe(&dispatcher->registry, agent_id, &agent))
        return true;
    return dispatcher_roster_describe(&dispatcher->roster, dispatcher->store, agent_id, &agent,
                                      NULL) == 0 &&
           agent.away_ms < RETURN_MS;
}

/* Sleeps a moment. -ECANCELED if the client hangs up, or the dispatcher stops. */
static int wait_a_moment(const struct client *client)
{
    struct pollfd fds[] = {
        {.fd = client->fd, .events = POLLRDHUP},
        {.fd = client->stop_fd, .events = POLLIN},
    };
    return poll(fds, 2, RETURN_LOOK_MS) > 0 ? -ECANCELED : 0;
}

static int ask_for_checkpoint(const struct client *client, const char *agent_id,
                              struct dispatcher_registry_waiter *waiter, struct blx_error *err)
{
    uint64_t deadline_ns = blx_clock_ns() + RETURN_MS * UINT64_C(1000000);
    for (;;) {
        int rc = check_not_paused(client, agent_id, err);
        if (rc == 0)
            rc = dispatcher_registry_ask(&client->dispatcher->registry, agent_id, waiter, err);
        if (rc != -ENOTCONN || blx_clock_ns() >= deadline_ns || !left_lately(client, agent_id) ||
            wait_a_moment(client) < 0)
            return rc;
        blx_error_clear(err);
    }
}

static int serve_checkpoint(struct client *client, const char *agent_id)
{
    struct dispatcher_registry *registry = &client->dispatcher->registry;
    struct blx_error err = {0};
    BLX_CLEANUP_FD int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct dispatcher_registry_waiter waiter = {.event_fd = event_fd};

    int rc = check_agent(client, agent_id, &err);
    if (rc == 0)
        rc = check_place(client, agent_id, &err);
    if (rc == 0 && event_fd < 0)
        rc = blx_error_errno(&err, -EMFILE, "no descriptor to wait with");
    if (rc == 0)
        rc = ask_for_checkpoint(client, agent_id, &waiter, &err);
    if (rc < 0)
        return send_failure(client, &err);
    blx_log_info("agent '%s': a checkpoint was asked for by hand", agent_id);
    rc = wait_for_outcome(client, &waiter);
    bool finished = dispatcher_registry_unask(registry, &waiter);
    return rc == 0 && finished ? send_done(client, &waiter.outcome) : rc;
}

/* Answers when the order is given: the rescan itself may take hours, and `status` shows it. */
static int serve_rescan(struct client *client, const char *agent_id)
{
    struct blx_control_done done = {.ok = true};
    const struct blx_store *store = client->dispatcher->store;
    struct blx_error err = {0};
    int rc = check_agent(client, agent_id, &err);
    if (rc == 0)
        rc = blx_rescan_order_give(blx_store_agent(store, agent_id), "asked for by hand", &err);
    if (rc == 0)
        rc = blx_rescan_order_look(blx_store_agent(store, agent_id), done.text, &err);
    if (rc < 0)
        return send_failure(client, &err);
    blx_log_info("agent '%s': a rescan is ordered: %s", agent_id, done.text);
    memset(done.text, 0, sizeof(done.text));
    if (dispatcher_registry_order_rescan(&client->dispatcher->registry, agent_id, &err) < 0)
        snprintf(done.text, sizeof(done.text), "as soon as the agent is connected");
    return send_done(client, &done);
}

/* The revocation, or the end of a handover, is in DIR/pki already, so it holds even while no
 * dispatcher runs. */
static int serve_revoke(struct client *client, const char *agent_id)
{
    const struct blx_control_done done = {.ok = true};
    struct blx_error err = {0};
    bool revoked = true;
    char own_id[BLX_NAME_BYTES];
    if (blx_name_check("agent ID", agent_id, &err) < 0)
        return send_failure(client, &err);
    if (blx_own_id_read(blx_store_agent(client->dispatcher->store, agent_id), own_id, NULL) == 0)
        blx_pki_look_revoked(client->dispatcher->data_dir, own_id, &revoked, NULL);
    blx_log_notice("agent '%s' is %s", agent_id,
                   revoked ? "revoked" : "its old machine again, by hand");
    if (dispatcher_registry_expel(&client->dispatcher->registry, agent_id,
                                  DISPATCHER_ENDING_REVOKED, &err) < 0)
        return send_failure(client, &err);
    return send_done(client, &done);
}

/* For a program whose unit lets it only read the store. Nobody takes a pin off by this. */
static int serve_pin(struct client *client, const struct blx_control_pin *pin)
{
    const struct blx_control_done done = {.ok = true, .timestamp = pin->timestamp};
    struct blx_error err = {0};
    int rc = check_agent(client, pin->agent_id, &err);
    if (rc == 0)
        rc = blx_pin_write(blx_store_agent(client->dispatcher->store, pin->agent_id),
                           pin->timestamp, BLX_PIN_ON, &err);
    if (rc < 0)
        return send_failure(client, &err);
    blx_log_info("agent '%s': the checkpoint %" PRIu64 " is pinned, by hand", pin->agent_id,
                 pin->timestamp);
    return send_done(client, &done);
}

/* The command moves the folder as soon as no session has it. What is known by either name is
 * forgotten before that: the agent may come back before the command has said a word. */
static int serve_rename(struct client *client, const struct blx_control_rename *rename)
{
    const struct blx_control_done done = {.ok = true};
    struct dispatcher_roster *roster = &client->dispatcher->roster;
    struct blx_error err = {0};
    int rc = check_agent(client, rename->agent_id, &err);
    if (rc == 0)
        rc = dispatcher_registry_expel(&client->dispatcher->registry, rename->agent_id,
                                       DISPATCHER_ENDING_RENAMED, &err);
    if (rc < 0)
        return send_failure(client, &err);
    dispatcher_roster_forget(roster, rename->agent_id);
    dispatcher_roster_forget(roster, rename->to);
    blx_log_notice("agent '%s' gets the name '%s'", rename->agent_id, rename->to);
    return send_done(client, &done);
}

/* A command has changed something in the agent's folder, or removed it: it is looked at again. */
static int serve_pause(struct client *client, const char *agent_id)
{
    const struct blx_control_done done = {.ok = true};
    struct dispatcher *dispatcher = client->dispatcher;
    struct blx_control_agent live = {0};
    struct blx_error err = {0};
    const struct blx_agent_store agent = blx_store_agent(dispatcher->store, agent_id);
    blx_timestamp since, archived;
    int rc = blx_name_check("agent ID", agent_id, &err);
    if (rc == 0 && !dispatcher_registry_describe(&dispatcher->registry, agent_id, &live))
        dispatcher_roster_forget(&dispatcher->roster, agent_id);
    if (rc == 0 && !blx_agent_store_exists(agent))
        return send_done(client, &done);
    if (rc == 0)
        rc = blx_pause_look(agent, &since, &err);
    if (rc >= 0)
        rc = blx_archive_look(agent, &archived, &err);
    if (rc < 0)
        return send_failure(client, &err);
    blx_log_notice("agent '%s' is %s", agent_id,
                   archived != 0 ? "archived"
                   : since != 0  ? "paused"
                                 : "not paused");
    dispatcher_registry_order_policy(&client->dispatcher->registry, agent_id);
    dispatcher_neighbours_send_away(dispatcher, agent_id);
    return send_done(client, &done);
}

/* What the files say and is not in force, if there is anything. */
static int send_stale(struct client *client)
{
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_STALE};
    if (client->dispatcher->sources == NULL)
        return 0;
    dispatcher_sources_explain(client->dispatcher->sources, message.control_stale.text);
    return message.control_stale.text[0] != '\0' ? blx_conn_send(client->conn, &message, NULL) : 0;
}

/* The settings that hold for an agent, whether it is known or not. */
static int serve_policy(struct client *client, const char *agent_id)
{
    const struct dispatcher *dispatcher = client->dispatcher;
    const char *config_path = dispatcher->sources != NULL ? dispatcher->sources->config_path : NULL;
    int rc = 0;
    for (unsigned key = 0; rc == 0 && key < BLX_POLICY_KEYS; key++) {
        struct blx_message message = {.type = BLX_MESSAGE_CONTROL_VERDICT};
        dispatcher_policy_book_tell(dispatcher->book, agent_id, key, config_path,
                                    &message.control_verdict);
        rc = blx_conn_send(client->conn, &message, NULL);
    }
    if (rc == 0)
        rc = send_stale(client);
    return rc == 0 ? send_done(client, &(struct blx_control_done){.ok = true}) : rc;
}

/* The dispatchers of the data directory, if there are more than this one. */
static int send_hosts(struct client *client)
{
    size_t count = 0;
    BLX_CLEANUP_FREE struct blx_control_host *hosts =
        dispatcher_neighbours_list(client->dispatcher->neighbours, &count);
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        const struct blx_message message = {.type = BLX_MESSAGE_CONTROL_HOST,
                                            .control_host = hosts[i]};
        rc = blx_conn_send(client->conn, &message, NULL);
    }
    return rc;
}

static int send_overview(struct client *client, const struct dispatcher_overview *overview)
{
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_DISPATCHER,
                                  .control_dispatcher = overview->dispatcher};
    int rc = blx_conn_send(client->conn, &message, NULL);
    if (rc == 0)
        rc = send_hosts(client);
    if (rc == 0)
        rc = send_stale(client);
    for (size_t i = 0; i < overview->agent_count && rc == 0; i++) {
        message.type = BLX_MESSAGE_CONTROL_AGENT;
        message.control_agent = overview->agents[i];
        rc = blx_conn_send(client->conn, &message, NULL);
    }
    for (size_t i = 0; i < overview->agent_count && rc == 0; i++) {
        if (overview->places[i].host[0] == '\0')
            continue;
        message.type = BLX_MESSAGE_CONTROL_PLACE;
        message.control_place = overview->places[i];
        rc = blx_conn_send(client->conn, &message, NULL);
    }
    for (size_t i = 0; i < overview->handover_count && rc == 0; i++) {
        message.type = BLX_MESSAGE_CONTROL_HANDOVER;
        message.control_handover = overview->handovers[i];
        rc = blx_conn_send(client->conn, &message, NULL);
    }
    for (size_t i = 0; i < overview->copy_count && rc == 0; i++) {
        message.type = BLX_MESSAGE_CONTROL_COPY;
        message.control_copy = overview->copies[i];
        rc = blx_conn_send(client->conn, &message, NULL);
    }
    for (size_t i = 0; i < overview->pulled_count && rc == 0; i++) {
        message.type = BLX_MESSAGE_CONTROL_PULLED;
        message.control_pulled = overview->pulled[i];
        rc = blx_conn_send(client->conn, &message, NULL);
    }
    for (size_t i = 0; i < overview->restore_count && rc == 0; i++) {
        message.type = BLX_MESSAGE_CONTROL_RESTORE;
        message.control_restore = overview->restores[i];
        rc = blx_conn_send(client->conn, &message, NULL);
    }
    const struct blx_control_done done = {.ok = true};
    return rc == 0 ? send_done(client, &done) : rc;
}

static int serve_status(struct client *client)
{
    struct blx_error err = {0};
    struct dispatcher_overview overview = {0};
    if (dispatcher_overview_take(client->dispatcher, &overview, &err) < 0)
        return send_failure(client, &err);
    int rc = send_overview(client, &overview);
    dispatcher_overview_done(&overview);
    return rc;
}

/* Damage that `verify` has found, in a process of its own. */
static int serve_damage(struct client *client, const struct blx_control_damage *damage)
{
    const struct blx_control_done done = {.ok = true};
    struct dispatcher *dispatcher = client->dispatcher;
    struct blx_error err = {0};
    int rc = check_agent(client, damage->agent_id, &err);
    if (rc == 0)
        rc = dispatcher_roster_note_damage(&dispatcher->roster, dispatcher->store, damage->agent_id,
                                           damage->text, &err);
    if (rc < 0)
        return send_failure(client, &err);
    blx_log_error("agent '%s': damage was found in the store: %s", damage->agent_id, damage->text);
    return send_done(client, &done);
}

/* The request must come soon, as each client occupies a thread. */
static int wait_for_request(const struct client *client)
{
    struct pollfd fds[] = {
        {.fd = client->fd, .events = POLLIN},
        {.fd = client->stop_fd, .events = POLLIN},
    };
    int ready = poll(fds, 2, CLIENT_TIMEOUT_MS);
    return ready > 0 && fds[1].revents == 0 ? 0 : -ETIMEDOUT;
}

static void serve(struct client *client)
{
    struct blx_message message;
    struct blx_error err = {0};

    if (wait_for_request(client) < 0 ||
        blx_conn_recv(client->conn, CLIENT_TIMEOUT_MS, &message, &err) < 0)
        return;
    if (message.type == BLX_MESSAGE_CONTROL_CHECKPOINT) {
        serve_checkpoint(client, message.control_checkpoint.agent_id);
    } else if (message.type == BLX_MESSAGE_CONTROL_RESCAN) {
        serve_rescan(client, message.control_rescan.agent_id);
    } else if (message.type == BLX_MESSAGE_CONTROL_REVOKE) {
        serve_revoke(client, message.control_revoke.agent_id);
    } else if (message.type == BLX_MESSAGE_CONTROL_RENAME) {
        serve_rename(client, &message.control_rename);
    } else if (message.type == BLX_MESSAGE_CONTROL_PIN) {
        serve_pin(client, &message.control_pin);
    } else if (message.type == BLX_MESSAGE_CONTROL_PAUSE) {
        serve_pause(client, message.control_pause.agent_id);
    } else if (message.type == BLX_MESSAGE_CONTROL_DAMAGE) {
        serve_damage(client, &message.control_damage);
    } else if (message.type == BLX_MESSAGE_CONTROL_POLICY) {
        serve_policy(client, message.control_policy.agent_id);
    } else if (message.type == BLX_MESSAGE_CONTROL_STATUS) {
        serve_status(client);
    } else {
        blx_error_set(&err, -EPROTO, "%s is no request of the control socket",
                      blx_message_name(message.type));
        send_failure(client, &err);
    }
}

void dispatcher_control_serve(struct dispatcher *dispatcher, int fd, int stop_fd)
{
    BLX_CLEANUP_FD int poll_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    struct client client = {.dispatcher = dispatcher, .fd = poll_fd, .stop_fd = stop_fd};

    if (poll_fd < 0 || blx_conn_new(fd, NULL, CLIENT_TIMEOUT_MS, &client.conn, NULL) < 0) {
        close(fd);
        return;
    }
    serve(&client);
    blx_conn_free(client.conn);
}
