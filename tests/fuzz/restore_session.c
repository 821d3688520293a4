/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatcher's side of a restore over the network, without TLS: the input is the messages of
 * the machine that restores. Its RESTORE gets the secret of a token that is good, so that what
 * follows is reached.
 *
 * Whatever it sends: the connection ends, leaves the registry, no descriptor and no held
 * checkpoint; the store is what it was; and what is sent are whole messages of a dispatcher in a
 * restore, each frame one that is stored.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "dispatcher/policy_book.h"
#include "dispatcher/session/restore_private.h"
#include "fuzz.h"
#include "store/agent_lock.h"
#include "store/checkpoint/manifest_file.h"
#include "store/receive/agent_writer.h"

enum {
    MAX_SCRIPT_BYTES = 64 * 1024,
    SEND_TIMEOUT_MS = 1000,
    BLOCKS = 16,
    BLOCK_BYTES = 4096,
};

static struct blx_store store = {.lock_fd = -1};
static char data_dir[PATH_MAX];
static blx_timestamp checkpoint;
static const struct blx_generation generation = {{1, 2, 3, 4, 5, 6, 0x47, 8, 0x89}};

static void ignore_ack(void *arg, uint32_t volume, uint64_t seq)
{
    (void)arg, (void)volume, (void)seq;
}

static void append_frame(struct blx_agent_writer *writer, uint64_t seq, uint64_t start)
{
    static uint8_t data[4 * BLOCK_BYTES], buffer[BLX_FRAME_MAX_BYTES];
    const struct blx_frame_extent extents[] = {{{start, 4}, false}};
    const struct blx_frame_content content = {.codec = BLX_CODEC_ZSTD,
                                              .block_shift = 12,
                                              .generation = generation,
                                              .extents = extents,
                                              .extent_count = 1,
                                              .data = data,
                                              .data_bytes = sizeof(data)};
    size_t bytes = 0;
    memset(data, (int)seq, sizeof(data));
    FUZZ_ASSERT(blx_frame_pack(&content, buffer, &bytes, NULL) == 0);
    blx_frame_seal(buffer, seq);
    FUZZ_ASSERT(blx_agent_writer_append(writer, 0, buffer, bytes, NULL) == 0);
}

/* A checkpoint of one volume with some frames. */
static void make_store(void)
{
    struct blx_agent_writer *writer = NULL;
    struct blx_volume_state state;
    const struct blx_volume_info info = {.block_shift = 12,
                                         .size_bytes = BLOCKS * BLOCK_BYTES,
                                         .generation = generation,
                                         .name = "vda",
                                         .device = "/dev/vda"};
    struct blx_checkpoint_message cut = {
        .cut_age_ns = BLX_CUT_AGE_UNKNOWN, .consistency = BLX_CONSISTENCY_CRASH, .volume_count = 1};
    blx_log_set_level((enum blx_log_level)0);
    fuzz_path(data_dir, "data");
    FUZZ_ASSERT(blx_store_open(data_dir, BLX_STORE_INIT, &store, NULL) == 0);
    FUZZ_ASSERT(blx_store_open(data_dir, BLX_STORE_WRITE, &store, NULL) == 0);
    FUZZ_ASSERT(blx_agent_writer_open(blx_store_agent(&store, "web1"), NULL, &writer, NULL) == 0);
    FUZZ_ASSERT(blx_agent_writer_add_volume(writer, &info, &state, NULL) == 0);
    FUZZ_ASSERT(blx_agent_writer_begin(writer, 0, BLX_PASS_FULL, NULL) == 0);
    for (uint64_t seq = 1; seq <= 3; seq++)
        append_frame(writer, seq, 4 * (seq - 1));
    cut.last_seq[0] = 3;
    const struct blx_commit_times times = {UINT64_C(1795379760000000000),
                                           UINT64_C(1795379760000000000)};
    FUZZ_ASSERT(blx_agent_writer_sync(writer, ignore_ack, NULL, NULL) == 0);
    FUZZ_ASSERT(blx_agent_writer_commit(writer, &cut, &times, &checkpoint, NULL) == 0);
    blx_agent_writer_close(writer);
}

/* A token of this turn alone: one that was used stays bound to the machine that used it. */
static void make_token(uint8_t secret[BLX_TOKEN_SECRET_BYTES])
{
    const struct blx_restore_grant grant = {
        .agent_id = "web1", .checkpoint = checkpoint, .volume_count = 1, .volumes = {"vda"}};
    char text[BLX_TOKEN_TEXT_BYTES];
    struct blx_token token;
    FUZZ_ASSERT(blx_pki_make_restore_token(data_dir, &grant, 600, text, NULL) == 0);
    FUZZ_ASSERT(blx_token_parse(text, &token, NULL) == 0);
    memcpy(secret, token.secret, BLX_TOKEN_SECRET_BYTES);
}

static void give_token(uint8_t *script, size_t size)
{
    enum blx_message_type type;
    size_t body_bytes;
    if (size >= BLX_MESSAGE_HEADER_BYTES + BLX_TOKEN_SECRET_BYTES &&
        blx_message_decode_header(script, &type, &body_bytes, NULL) == 0 &&
        type == BLX_MESSAGE_RESTORE)
        make_token(script + BLX_MESSAGE_HEADER_BYTES);
}

static void check_answer(const struct blx_message *message)
{
    struct blx_frame frame;
    switch (message->type) {
    case BLX_MESSAGE_FRAME:
        FUZZ_ASSERT(
            blx_frame_parse(message->frame.bytes, message->frame.frame_bytes, &frame, NULL) == 0);
        FUZZ_ASSERT(blx_generation_equal(&frame.generation, &generation));
        return;
    case BLX_MESSAGE_RESTORE_OFFER:
    case BLX_MESSAGE_RESTORE_VOLUME:
    case BLX_MESSAGE_PLAN:
    case BLX_MESSAGE_PLAN_PIECES:
    case BLX_MESSAGE_DELTA_KEY:
    case BLX_MESSAGE_DIGESTS:
    case BLX_MESSAGE_PING:
    case BLX_MESSAGE_ERROR:
    case BLX_MESSAGE_GOODBYE:
        return;
    default:
        fuzz_fail(__FILE__, __LINE__, "every answer is one that a dispatcher gives");
    }
}

static void check_answers(int peer_fd)
{
    struct blx_conn *conn = NULL;
    struct blx_message message = {.type = BLX_MESSAGE_PING};
    bool over = false;
    int rc;
    FUZZ_ASSERT(blx_conn_new(peer_fd, NULL, SEND_TIMEOUT_MS, &conn, NULL) == 0);
    while ((rc = blx_conn_recv(conn, SEND_TIMEOUT_MS, &message, NULL)) == 0) {
        FUZZ_ASSERT(!over);
        over = message.type == BLX_MESSAGE_ERROR || message.type == BLX_MESSAGE_GOODBYE;
        check_answer(&message);
    }
    FUZZ_ASSERT(rc == -EPIPE || rc == -ECONNRESET);
    blx_conn_free(conn);
}

static void check_nobody_holds(void)
{
    struct blx_agent_lock lock = {.fd = -1};
    FUZZ_ASSERT(blx_agent_lock_open(blx_store_agent(&store, "web1"), &lock, NULL) == 0);
    FUZZ_ASSERT(blx_agent_lock_alone(&lock, BLX_LOCK_CHAINS, 0, NULL) == 0);
    FUZZ_ASSERT(blx_agent_lock_is_held(&lock, 1, UINT64_MAX >> 1, NULL) == 0);
    blx_agent_lock_close(&lock);
}

static void run_session(struct dispatcher *dispatcher, const uint8_t *script, size_t size)
{
    int fds[2];
    struct blx_error err = {0};
    FUZZ_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    FUZZ_ASSERT(send(fds[1], script, size, MSG_NOSIGNAL) == (ssize_t)size);
    FUZZ_ASSERT(shutdown(fds[1], SHUT_WR) == 0);
    struct dispatcher_session *session =
        dispatcher_session_new(dispatcher, fds[0], "192.0.2.1:4711");
    FUZZ_ASSERT(session != NULL && session->entry.socket_fd >= 0 && session->entry.wake_fd >= 0);
    FUZZ_ASSERT(dispatcher_registry_connect(&dispatcher->registry, &session->entry, NULL) == 0);
    FUZZ_ASSERT(blx_conn_new(session->accepted_fd, NULL, SEND_TIMEOUT_MS, &session->conn, NULL) ==
                0);
    session->accepted_fd = -1;
    session->peer.errand = BLX_TLS_RESTORE;
    dispatcher_session_serve(session, 0, &err);
    FUZZ_ASSERT(dispatcher->registry.entries == NULL && dispatcher->registry.pending == 0);
    check_answers(fds[1]);
    check_nobody_holds();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char tokens[PATH_MAX];
    if (size > MAX_SCRIPT_BYTES)
        return 0;
    if (store.lock_fd < 0)
        make_store();
    struct dispatcher_policy_book book;
    struct dispatcher dispatcher = {
        .book = &book,
        .store = &store,
        .data_dir = data_dir,
        .heartbeat_ms = DISPATCHER_HEARTBEAT_MS,
        .refusals = DISPATCHER_RATE_INIT,
    };
    uint8_t *script = fuzz_copy(data, size);
    give_token(script, size);
    int next_fd = fuzz_next_fd();
    FUZZ_ASSERT(dispatcher_registry_init(&dispatcher.registry, DISPATCHER_MAX_PENDING,
                                         DISPATCHER_MAX_FROM_SOURCE) == 0);
    dispatcher_roster_init(&dispatcher.roster);
    dispatcher_proofs_init(&dispatcher.proofs);
    dispatcher_policy_book_init(&book, &(struct blx_policies){0}, 60 * 1000,
                                &(const struct blx_retention){0});
    run_session(&dispatcher, script, size);
    dispatcher_policy_book_done(&book);
    dispatcher_proofs_done(&dispatcher.proofs);
    dispatcher_roster_done(&dispatcher.roster);
    dispatcher_registry_done(&dispatcher.registry);
    free(script);
    fuzz_path(tokens, "data/pki/tokens");
    fuzz_remove(tokens);
    fuzz_path(tokens, "data/audit");
    fuzz_remove(tokens);
    FUZZ_ASSERT(fuzz_next_fd() == next_fd);
    return 0;
}
