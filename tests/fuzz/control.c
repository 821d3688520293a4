/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatcher's control socket. Whatever a client sends, it gets whole answers of the dispatcher
 * and nothing after the last one. It leaves no descriptor open and nobody waiting for a checkpoint.
 * "web1" has a live session, "web2" has none.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "dispatcher/control_private.h"
#include "dispatcher/policy_book.h"
#include "fuzz.h"
#include "store/receive/agent_writer_private.h"
#include "store/rescan_order.h"
#include "wire/conn.h"

enum { TIMEOUT_MS = 1000, MAX_BYTES = 64 * 1024 };

static struct blx_store store = {.lock_fd = -1};
static struct dispatcher_policy_book book;
static struct dispatcher dispatcher = {
    .store = &store, .book = &book, .refusals = DISPATCHER_RATE_INIT};
static struct dispatcher_registry_entry entry; /* of web1 */

static void make_dispatcher(void)
{
    static const char *const agent_ids[] = {"web1", "web2"};
    char data_dir[PATH_MAX];
    blx_log_set_level((enum blx_log_level)0);
    fuzz_path(data_dir, "data");
    FUZZ_ASSERT(blx_store_open(data_dir, BLX_STORE_INIT, &store, NULL) == 0);
    FUZZ_ASSERT(blx_store_open(data_dir, BLX_STORE_WRITE, &store, NULL) == 0);
    for (unsigned i = 0; i < 2; i++) {
        struct blx_agent_writer *writer = NULL;
        FUZZ_ASSERT(
            blx_agent_writer_open(blx_store_agent(&store, agent_ids[i]), NULL, &writer, NULL) == 0);
        blx_agent_writer_close(writer);
    }
    FUZZ_ASSERT(dispatcher_registry_init(&dispatcher.registry, 16, 16) == 0);
    dispatcher_roster_init(&dispatcher.roster);
    dispatcher_proofs_init(&dispatcher.proofs);
    static const struct blx_config_object_store no_copies;
    dispatcher_copies_init(&dispatcher.copies, &no_copies);
    dispatcher_turns_init(&dispatcher.turns, 0);
    dispatcher_policy_book_init(&book, &(struct blx_policies){0}, 60 * 1000,
                                &(const struct blx_retention){0});
    entry.socket_fd = -1;
    entry.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    FUZZ_ASSERT(entry.wake_fd >= 0);
    FUZZ_ASSERT(dispatcher_registry_connect(&dispatcher.registry, &entry, NULL) == 0);
    FUZZ_ASSERT(dispatcher_registry_enter(&dispatcher.registry, &entry, "web1", NULL) == 0);
    dispatcher_registry_set_ready(&dispatcher.registry, &entry, BLX_PASS_RESUME);
}

/* The client has hung up already, so that a checkpoint is not waited for. */
static void check_answers(int client_fd)
{
    struct blx_conn *conn = NULL;
    struct blx_message message = {.type = BLX_MESSAGE_PING};
    bool over = false;
    int rc;
    FUZZ_ASSERT(blx_conn_new(client_fd, NULL, TIMEOUT_MS, &conn, NULL) == 0);
    while ((rc = blx_conn_recv(conn, TIMEOUT_MS, &message, NULL)) == 0) {
        FUZZ_ASSERT(!over);
        over = message.type == BLX_MESSAGE_CONTROL_DONE;
        FUZZ_ASSERT(over || message.type == BLX_MESSAGE_CONTROL_AGENT ||
                    message.type == BLX_MESSAGE_CONTROL_DISPATCHER);
        FUZZ_ASSERT(!over || message.control_done.ok || message.control_done.text[0] != '\0');
    }
    FUZZ_ASSERT(rc == -EPIPE || rc == -ECONNRESET);
    blx_conn_free(conn);
}

static void check_orders(void)
{
    static const char *const agent_ids[] = {"web1", "web2"};
    char reason[BLX_TEXT_BYTES];
    struct dispatcher_registry_orders orders;
    dispatcher_registry_take_orders(&dispatcher.registry, &entry, &orders);
    /* A revocation or a renaming of web1 ends its session; here that goes on. */
    FUZZ_ASSERT(orders.ending == DISPATCHER_ENDING_NONE ||
                orders.ending == DISPATCHER_ENDING_REVOKED ||
                orders.ending == DISPATCHER_ENDING_RENAMED);
    entry.ending = DISPATCHER_ENDING_NONE;
    for (unsigned i = 0; i < 2; i++) {
        int stands = blx_rescan_order_look(blx_store_agent(&store, agent_ids[i]), reason, NULL);
        FUZZ_ASSERT(stands >= 0);
        if (stands > 0)
            FUZZ_ASSERT(blx_rescan_order_done(blx_store_agent(&store, agent_ids[i]), NULL) == 0);
    }
    FUZZ_ASSERT(!blx_agent_store_exists(blx_store_agent(&store, "nobody")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fds[2], stop_fd;
    if (size > MAX_BYTES)
        return 0;
    if (store.lock_fd < 0)
        make_dispatcher();
    int next_fd = fuzz_next_fd();
    FUZZ_ASSERT((stop_fd = eventfd(0, EFD_CLOEXEC)) >= 0);
    FUZZ_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    FUZZ_ASSERT(send(fds[1], data, size, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size);
    FUZZ_ASSERT(shutdown(fds[1], SHUT_WR) == 0);
    dispatcher_control_serve(&dispatcher, fds[0], stop_fd);
    check_answers(fds[1]);
    check_orders();
    close(stop_fd);
    FUZZ_ASSERT(fuzz_next_fd() == next_fd);
    return 0;
}
