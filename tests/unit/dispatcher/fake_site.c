/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/io.h"
#include "base/units.h"
#include "dispatcher/address.h"
#include "dispatcher/server.h"
#include "fake_site.h"
#include "tls/pki.h"

static void *server_main(void *arg)
{
    struct fake_site *site = arg;
    struct blx_error err = {0};
    if (dispatcher_server_run(&site->dispatcher, site->listen_fd, site->stop_fd, &err) < 0)
        fprintf(stderr, "server: %s\n", err.message);
    return NULL;
}

static void make_tls(struct fake_site *site)
{
    char ca[128], cert[128], key[128];
    snprintf(ca, sizeof(ca), "%s/pki/ca.pem", site->data_dir);
    snprintf(cert, sizeof(cert), "%s/pki/dispatcher.pem", site->data_dir);
    snprintf(key, sizeof(key), "%s/pki/dispatcher.key", site->data_dir);
    const struct blx_tls_files files = {.ca = ca, .cert = cert, .key = key};
    assert_int_equal(blx_pki_ensure(site->data_dir, NULL), 0);
    assert_int_equal(blx_tls_context_new_server(&files, &site->tls, NULL), 0);
    assert_int_equal(blx_tls_context_admit_tokens(site->tls, ca, NULL), 0);
}

static const struct blx_config_object_store no_copies;

void fake_site_resume(struct fake_site *site)
{
    struct blx_error err = {0};
    site->store.lock_fd = -1;
    if (blx_store_open(site->data_dir, BLX_STORE_INIT, &site->store, &err) < 0 ||
        blx_store_open(site->data_dir, BLX_STORE_WRITE, &site->store, &err) < 0)
        fail_msg("%s", err.message);
    make_tls(site);
    site->listen_fd = blx_address_listen("127.0.0.1:0", &err);
    assert_true(site->listen_fd >= 0);
    assert_int_equal(dispatcher_address_format_local(site->listen_fd, site->address, NULL), 0);
    site->stop_fd = eventfd(0, EFD_CLOEXEC);
    site->dispatcher = (struct dispatcher){
        .store = &site->store,
        .identity = {.tls = site->tls, .lock = PTHREAD_MUTEX_INITIALIZER},
        .data_dir = site->data_dir,
        .own_pki = true,
        .heartbeat_ms = site->heartbeat_ms,
        .pause_ms = FAKE_PAUSE_MS,
        .refusals = DISPATCHER_RATE_INIT,
    };
    assert_int_equal(dispatcher_registry_init(&site->dispatcher.registry, DISPATCHER_MAX_PENDING,
                                              DISPATCHER_MAX_FROM_SOURCE),
                     0);
    dispatcher_roster_init(&site->dispatcher.roster);
    dispatcher_proofs_init(&site->dispatcher.proofs);
    dispatcher_copies_init(&site->dispatcher.copies, &no_copies);
    dispatcher_turns_init(&site->dispatcher.turns, 0);
    site->dispatcher.book = &site->book;
    dispatcher_policy_book_init(&site->book, &(struct blx_policies){0}, 60 * 1000,
                                &(const struct blx_retention){0});
    assert_int_equal(dispatcher_threads_init(&site->dispatcher.sessions, UINT_MAX), 0);
    assert_int_equal(dispatcher_control_start(&site->dispatcher, &site->control, NULL), 0);
    assert_int_equal(pthread_create(&site->server, NULL, server_main, site), 0);
}

struct fake_site *fake_site_start(uint64_t heartbeat_ms)
{
    struct fake_site *site = calloc(1, sizeof(*site));
    assert_non_null(site);
    site->heartbeat_ms = heartbeat_ms;
    strcpy(site->dir, "/tmp/blx-dispatcher-XXXXXX");
    assert_non_null(mkdtemp(site->dir));
    snprintf(site->data_dir, sizeof(site->data_dir), "%s/data", site->dir);
    blx_log_set_level(BLX_LOG_ERROR);
    fake_site_resume(site);
    static const char *const agents[] = {"web1", "web10"};
    for (size_t i = 0; i < 2; i++) {
        char pem[64];
        snprintf(pem, sizeof(pem), "%s/%s.pem", site->dir, agents[i]);
        assert_int_equal(blx_pki_enroll(site->data_dir, agents[i], pem, NULL), 0);
    }
    return site;
}

void fake_site_halt(struct fake_site *site)
{
    uint64_t deadline_ns = blx_clock_ns() + UINT64_C(20) * 1000000000;
    assert_int_equal(eventfd_write(site->stop_fd, 1), 0);
    pthread_join(site->server, NULL);
    dispatcher_registry_stop(&site->dispatcher.registry);
    assert_int_equal(dispatcher_control_stop(site->control, deadline_ns), 0);
    assert_int_equal(dispatcher_threads_wait(&site->dispatcher.sessions, deadline_ns), 0);
    dispatcher_threads_done(&site->dispatcher.sessions);
    dispatcher_policy_book_done(&site->book);
    dispatcher_proofs_done(&site->dispatcher.proofs);
    dispatcher_copies_done(&site->dispatcher.copies);
    dispatcher_roster_done(&site->dispatcher.roster);
    dispatcher_registry_done(&site->dispatcher.registry);
    blx_tls_context_free(site->tls);
    blx_store_close(&site->store);
    close(site->listen_fd);
    close(site->stop_fd);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

void fake_site_stop(struct fake_site *site)
{
    fake_site_halt(site);
    assert_int_equal(nftw(site->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(site);
}

struct blx_conn *fake_site_control(const struct fake_site *site)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct blx_conn *conn = NULL;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", site->data_dir,
             BLX_CONTROL_SOCKET_NAME);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(blx_conn_new(fd, NULL, 10000, &conn, NULL), 0);
    return conn;
}

void fake_site_ask(struct fake_site *site, const char *agent_id,
                   struct dispatcher_registry_waiter *waiter)
{
    *waiter = (struct dispatcher_registry_waiter){.event_fd = eventfd(0, EFD_CLOEXEC)};
    struct blx_error err = {0};
    if (dispatcher_registry_ask(&site->dispatcher.registry, agent_id, waiter, &err) < 0)
        fail_msg("%s", err.message);
}

struct blx_control_done fake_site_outcome(struct fake_site *site,
                                          struct dispatcher_registry_waiter *waiter)
{
    eventfd_t ignored;
    assert_int_equal(eventfd_read(waiter->event_fd, &ignored), 0);
    assert_true(dispatcher_registry_unask(&site->dispatcher.registry, waiter));
    close(waiter->event_fd);
    return waiter->outcome;
}

void fake_site_put_policy(struct fake_site *site, const char *text)
{
    struct blx_policies policies = {0};
    struct blx_error err = {0};
    char dir[64], path[96];
    snprintf(dir, sizeof(dir), "%s/policies", site->dir);
    snprintf(path, sizeof(path), "%s/a.yaml", dir);
    assert_int_equal(blx_mkdir_parents(dir, 0700, NULL), 0);
    if (text != NULL)
        assert_int_equal(blx_file_replace(path, text, strlen(text), 0600, NULL), 0);
    else
        unlink(path);
    if (blx_policies_read(dir, &policies, &err) < 0)
        fail_msg("%s", err.message);
    struct blx_policy_verdict own = site->book.own;
    assert_false(dispatcher_policy_book_exchange(&site->book, &policies, &own));
    blx_policies_done(&policies);
    dispatcher_registry_order_policy(&site->dispatcher.registry, NULL);
}
