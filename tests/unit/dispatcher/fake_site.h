/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A dispatcher in this process, on a loopback port and a data directory of its own. All its threads
 * run, except the scheduler's and the chores'.
 */
#pragma once

#include <limits.h>

#include "dispatcher/control.h"
#include "dispatcher/dispatcher.h"
#include "dispatcher/policy_book.h"

enum { FAKE_PAUSE_MS = 300 };

struct fake_site {
    char dir[32]; /* the data directory is dir/data, credentials are dir/ID.pem */
    char data_dir[64];
    char address[BLX_TEXT_BYTES];
    struct blx_store store;
    struct blx_tls_context *tls;
    struct dispatcher dispatcher;
    struct dispatcher_policy_book book;
    struct dispatcher_control *control;
    uint64_t heartbeat_ms;
    int listen_fd;
    int stop_fd;
    pthread_t server;
};

/* Credentials are made for "web1" and "web10". */
struct fake_site *fake_site_start(uint64_t heartbeat_ms);

/* Stops it as SIGTERM does; the data stays. */
void fake_site_halt(struct fake_site *site);

/* Starts a halted one again on the same data, on another port. */
void fake_site_resume(struct fake_site *site);

/* Halts and removes everything. */
void fake_site_stop(struct fake_site *site);

/* DIR/control.sock of the site, as a client's connection. */
struct blx_conn *fake_site_control(const struct fake_site *site);

/* Puts one policy in force, or none if `text` is NULL. */
void fake_site_put_policy(struct fake_site *site, const char *text);

/* Asks for a checkpoint as a client of the control socket does. fake_site_outcome() waits for the
 * result. */
void fake_site_ask(struct fake_site *site, const char *agent_id,
                   struct dispatcher_registry_waiter *waiter);
struct blx_control_done fake_site_outcome(struct fake_site *site,
                                          struct dispatcher_registry_waiter *waiter);
