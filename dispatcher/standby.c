/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/standby.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/text.h"
#include "base/units.h"
#include "base/watchdog.h"
#include "dispatcher/neighbours.h"
#include "wire/control_socket.h"

enum {
    LOOK_MS = 500,
    REQUEST_MS = 1000, /* a client that says nothing holds up everything else */
};

struct standby {
    const struct blx_config *config;
    struct blx_store store; /* for reading */
    struct blx_member member;
    struct blx_control_host self;
    struct blx_control_socket control; /* listen_fd -1: none */
    struct blx_watchdog watchdog;
    char first[BLX_NAME_BYTES]; /* whom it waits for; "": one that has not told */
};

/* Those that it waits for: the one that has the directory alone, or all that share it. */
static bool has_directory(const struct blx_control_host *host)
{
    return host->role != BLX_HOST_STANDBY;
}

static int send_done(struct blx_conn *conn, bool ok, const char *text)
{
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_DONE, .control_done = {.ok = ok}};
    blx_text_set(message.control_done.text, text);
    return blx_conn_send(conn, &message, NULL);
}

static int send_host(struct blx_conn *conn, const struct blx_control_host *host)
{
    const struct blx_message message = {.type = BLX_MESSAGE_CONTROL_HOST, .control_host = *host};
    return blx_conn_send(conn, &message, NULL);
}

static int send_agents(struct blx_conn *conn, const struct blx_member_report *report)
{
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_DISPATCHER,
                                  .control_dispatcher = report->dispatcher};
    int rc = report->has_dispatcher ? blx_conn_send(conn, &message, NULL) : 0;
    message = (struct blx_message){.type = BLX_MESSAGE_CONTROL_AGENT};
    for (size_t i = 0; rc == 0 && i < report->agent_count; i++) {
        message.control_agent = report->agents[i];
        rc = blx_conn_send(conn, &message, NULL);
    }
    return rc;
}

static int answer_status(const struct standby *standby, struct blx_conn *conn)
{
    BLX_CLEANUP(blx_member_list_done) struct blx_member_list list = {0};
    struct blx_error err = {0};
    if (blx_member_list_read(&standby->store, &list, &err) < 0)
        return send_done(conn, false, err.message);
    int rc = send_host(conn, &standby->self);
    for (size_t i = 0; rc == 0 && i < list.count; i++)
        if (strcmp(list.reports[i].host.name, standby->self.name) != 0)
            rc = send_host(conn, &list.reports[i].host);
    for (size_t i = 0; rc == 0 && i < list.count; i++)
        if (has_directory(&list.reports[i].host))
            rc = send_agents(conn, &list.reports[i]);
    return rc == 0 ? send_done(conn, true, "") : rc;
}

static void answer(const struct standby *standby, struct blx_conn *conn)
{
    struct blx_message message;
    char text[BLX_TEXT_BYTES];
    if (blx_conn_recv(conn, REQUEST_MS, &message, NULL) < 0)
        return;
    if (message.type == BLX_MESSAGE_CONTROL_STATUS) {
        answer_status(standby, conn);
        return;
    }
    snprintf(text, sizeof(text),
             "this dispatcher is a standby: run the command on the host '%s', which has the data "
             "directory",
             standby->first[0] != '\0' ? standby->first : "of the other one");
    send_done(conn, false, text);
}

static void take_client(const struct standby *standby)
{
    struct blx_conn *conn = NULL;
    int fd = accept4(standby->control.listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (blx_conn_new(fd, NULL, REQUEST_MS, &conn, NULL) < 0) {
        close(fd);
        return;
    }
    answer(standby, conn);
    blx_conn_free(conn);
}

/* True: it ends. */
static bool follow_signal(int signal_fd)
{
    struct signalfd_siginfo info;
    if (read(signal_fd, &info, sizeof(info)) != sizeof(info))
        return false;
    if (info.ssi_signo == SIGHUP)
        blx_log_notice("SIGHUP changes nothing while this dispatcher is a standby: it reads its "
                       "policies when it takes over");
    return info.ssi_signo != SIGHUP;
}

/* Logged, and told to the service manager, when it changes. */
static void find_first(struct standby *standby)
{
    BLX_CLEANUP(blx_member_list_done) struct blx_member_list list = {0};
    char first[BLX_NAME_BYTES] = "", state[2 * BLX_TEXT_BYTES];
    if (blx_member_list_read(&standby->store, &list, NULL) < 0)
        return;
    for (size_t i = 0; i < list.count && first[0] == '\0'; i++)
        if (has_directory(&list.reports[i].host))
            blx_text_set(first, list.reports[i].host.name);
    if (strcmp(first, standby->first) == 0)
        return;
    blx_text_set(standby->first, first);
    blx_log_info("a standby: the dispatcher '%s' has '%s'", first, standby->config->data_dir);
    snprintf(state, sizeof(state), "STATUS=Standby: '%s' has the data directory", first);
    blx_notify_at_once(state);
}

static void tell(struct standby *standby)
{
    const struct blx_member_report report = {.host = standby->self};
    struct blx_error err = {0};
    if (blx_member_tell(&standby->store, &standby->member, &report, &err) < 0)
        blx_log_warning("`status` of the other dispatchers will not show this standby: %s",
                        err.message);
}

/* 0 for the lock, 1 for a signal. */
static int wait_for_lock(struct standby *standby, int signal_fd, struct blx_store *store,
                         struct blx_error *err)
{
    const enum blx_store_mode mode = standby->config->shared ? BLX_STORE_SHARE : BLX_STORE_WRITE;
    uint64_t looked_ns = 0;
    for (;;) {
        struct blx_error why = {0};
        int rc = blx_store_open(standby->config->data_dir, mode, store, &why);
        if (rc != -EBUSY)
            return rc < 0 ? blx_error_copy(err, rc, &why) : 0;
        if (looked_ns == 0 ||
            blx_clock_ns() - looked_ns >= DISPATCHER_NEIGHBOURS_LOOK_MS * UINT64_C(1000000)) {
            looked_ns = blx_clock_ns();
            find_first(standby);
        }
        struct pollfd fds[] = {
            {.fd = signal_fd, .events = POLLIN},
            {.fd = standby->control.listen_fd, .events = POLLIN},
        };
        blx_watchdog_turn(&standby->watchdog, 0);
        if (poll(fds, 2, LOOK_MS) <= 0)
            continue;
        if (fds[0].revents != 0 && follow_signal(signal_fd))
            return 1;
        if (fds[1].revents != 0)
            take_client(standby);
    }
}

/* One that cannot listen when it must is worth a line now. */
static void try_to_listen(const struct blx_config *config)
{
    struct blx_error err = {0};
    int fd = blx_address_listen(config->listen, &err);
    if (fd < 0)
        blx_log_warning("this standby could not take over now: %s", err.message);
    else
        close(fd);
}

static void open_control(struct standby *standby)
{
    char name[BLX_CONTROL_NAME_BYTES];
    struct blx_error err = {0};
    blx_control_socket_name(standby->member.name, name);
    if (blx_control_socket_open_as(standby->store.data_dir, name, &standby->control, &err) == 0)
        return;
    standby->control.listen_fd = -1;
    blx_log_warning("`status` cannot ask this standby: %s", err.message);
}

int dispatcher_standby_wait(const struct blx_config *config, int signal_fd, struct blx_store *store,
                            struct blx_member *member, struct blx_error *err)
{
    struct standby standby = {
        .config = config, .store.lock_fd = -1, .member.lock_fd = -1, .control.listen_fd = -1};
    const uint64_t begun_ns = blx_clock_ns();
    char waited[BLX_UNIT_TEXT_BYTES];
    int rc = blx_store_open(config->data_dir, BLX_STORE_READ, &standby.store, err);
    if (rc == 0)
        rc = blx_member_enter(&standby.store, &standby.member, err);
    if (rc < 0)
        return rc;
    dispatcher_neighbours_describe(&standby.member, BLX_HOST_STANDBY, config->listen,
                                   &standby.self);
    try_to_listen(config);
    tell(&standby);
    open_control(&standby);
    blx_watchdog_init(&standby.watchdog, 1);
    blx_log_info("a standby on '%s', under the name '%s': waiting until no dispatcher has it",
                 config->data_dir, standby.member.name);
    blx_notify("READY=1\nSTATUS=Standby");
    rc = wait_for_lock(&standby, signal_fd, store, err);
    if (standby.control.listen_fd >= 0)
        blx_control_socket_close(&standby.control);
    if (rc != 0) {
        blx_member_leave(&standby.store, &standby.member);
        return rc;
    }
    *member = standby.member;
    blx_log_notice("taking over '%s'%s%s%s, after %s as a standby", config->data_dir,
                   standby.first[0] != '\0' ? " from '" : "", standby.first,
                   standby.first[0] != '\0' ? "'" : "",
                   blx_duration_format((blx_clock_ns() - begun_ns) / 1000000, waited));
    return 0;
}
