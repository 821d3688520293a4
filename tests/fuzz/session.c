/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatcher's session, from HELLO to its end, without TLS. The input is a byte of options and
 * the agent's messages. After each GOODBYE the agent connects again; the store stays the same over
 * these sessions.
 *
 * Whatever the agent sends: the session ends, leaves the registry, and leaves no descriptor open.
 * It answers with whole messages of its own direction, and with nothing after its last word. Every
 * checkpoint that it reported as done can be read to the last frame. The next session has every
 * frame that was acknowledged.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/units.h"
#include "dispatcher/policy_book.h"
#include "dispatcher/session/session_private.h"
#include "fuzz.h"
#include "repair.h"
#include "store/checkpoint/manifest_file.h"
#include "store/segment/segment.h"

static const char agent_id[] = "web1";

enum {
    SEND_TIMEOUT_MS = 1000,
    MAX_SCRIPT_BYTES = 64 * 1024, /* goes into the socket whole */
    MAX_CHECKPOINTS = 32,

    OPTION_RAW = 1,     /* frames stay as they are */
    OPTION_REQUEST = 2, /* a checkpoint is asked for as soon as the volumes have begun */
    OPTION_SECOND = 4,  /* the agent has another request in its hands already */
};

static struct blx_store store = {.lock_fd = -1};
static char agents_dir[PATH_MAX];

/* What the agent sent, and the answers that it got. */
struct told {
    struct blx_key_id key_id;
    uint32_t volume_count;
    struct blx_volume_info volumes[BLX_MAX_VOLUMES];
    bool has_ack[BLX_MAX_VOLUMES];
    uint64_t acked_seq[BLX_MAX_VOLUMES];
    size_t begins[BLX_MAX_VOLUMES];
    size_t checkpoint_count;
    blx_timestamp checkpoints[MAX_CHECKPOINTS];
};

/* The next message of the script if it is whole and valid: its size with the header, otherwise 0.
 * */
static size_t next_message(const uint8_t *at, size_t left, struct blx_message *message)
{
    enum blx_message_type type;
    size_t body_bytes;
    if (left < BLX_MESSAGE_HEADER_BYTES ||
        blx_message_decode_header(at, &type, &body_bytes, NULL) < 0 ||
        body_bytes > left - BLX_MESSAGE_HEADER_BYTES ||
        blx_message_decode(type, at + BLX_MESSAGE_HEADER_BYTES, body_bytes, message, NULL) < 0)
        return 0;
    return BLX_MESSAGE_HEADER_BYTES + body_bytes;
}

/* Corrects the frames' sizes and checksums and notes what the agent sends. Returns how much of the
 * script belongs to this session. */
static size_t prepare(uint8_t *script, size_t size, unsigned options, struct told *told)
{
    struct blx_message message;
    size_t at = 0, bytes = 0;
    while ((bytes = next_message(script + at, size - at, &message)) > 0) {
        uint8_t *frame = script + at + BLX_FRAME_MESSAGE_PREFIX_BYTES;
        if (message.type == BLX_MESSAGE_FRAME && (options & OPTION_RAW) == 0)
            repair_frame(frame, bytes - BLX_FRAME_MESSAGE_PREFIX_BYTES);
        if (message.type == BLX_MESSAGE_KEY && told->volume_count == 0)
            told->key_id = message.key.key_id;
        if (message.type == BLX_MESSAGE_VOLUME && told->volume_count < BLX_MAX_VOLUMES)
            told->volumes[told->volume_count++] = message.volume;
        if (message.type == BLX_MESSAGE_BEGIN)
            told->begins[message.begin.volume]++;
        at += bytes;
        if (message.type == BLX_MESSAGE_GOODBYE)
            return at;
    }
    return size;
}

static void note_answer(const struct blx_message *message, struct told *told)
{
    switch (message->type) {
    case BLX_MESSAGE_ACK:
        told->has_ack[message->ack.volume] = true;
        told->acked_seq[message->ack.volume] = message->ack.durable_seq;
        return;
    case BLX_MESSAGE_CHECKPOINT_DONE:
        FUZZ_ASSERT(told->checkpoint_count < MAX_CHECKPOINTS);
        told->checkpoints[told->checkpoint_count++] = message->checkpoint_done.timestamp;
        return;
    case BLX_MESSAGE_WELCOME:
    case BLX_MESSAGE_POLICY:
    case BLX_MESSAGE_DIGEST_KEY:
    case BLX_MESSAGE_VOLUME_STATE:
    case BLX_MESSAGE_CHECKPOINT_REQUEST:
    case BLX_MESSAGE_PING:
    case BLX_MESSAGE_ERROR:
    case BLX_MESSAGE_GOODBYE:
        return;
    default:
        fuzz_fail(__FILE__, __LINE__, "every answer is one that a dispatcher gives");
    }
}

static void check_answers(int peer_fd, struct told *told)
{
    struct blx_conn *conn = NULL;
    struct blx_message message = {.type = BLX_MESSAGE_PING};
    struct blx_error err = {0};
    FUZZ_ASSERT(blx_conn_new(peer_fd, NULL, SEND_TIMEOUT_MS, &conn, NULL) == 0);
    bool over = false;
    int rc;
    while ((rc = blx_conn_recv(conn, SEND_TIMEOUT_MS, &message, &err)) == 0) {
        FUZZ_ASSERT(!over);
        over = message.type == BLX_MESSAGE_ERROR || message.type == BLX_MESSAGE_GOODBYE;
        note_answer(&message, told);
    }
    FUZZ_ASSERT(rc == -EPIPE || rc == -ECONNRESET);
    blx_conn_free(conn);
}

static void run_session(struct dispatcher *dispatcher, const uint8_t *script, size_t size,
                        unsigned options, struct told *told)
{
    int fds[2];
    struct blx_error err = {0};
    FUZZ_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    FUZZ_ASSERT(send(fds[1], script, size, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size);
    FUZZ_ASSERT(shutdown(fds[1], SHUT_WR) == 0);
    struct dispatcher_session *session =
        dispatcher_session_new(dispatcher, fds[0], "192.0.2.1:4711");
    FUZZ_ASSERT(session != NULL && session->entry.socket_fd >= 0 && session->entry.wake_fd >= 0);
    FUZZ_ASSERT(dispatcher_registry_connect(&dispatcher->registry, &session->entry, NULL) == 0);
    FUZZ_ASSERT(blx_conn_new(session->accepted_fd, NULL, SEND_TIMEOUT_MS, &session->conn, NULL) ==
                0);
    session->accepted_fd = -1;
    memcpy(session->agent_id, agent_id, sizeof(agent_id));
    memcpy(session->peer.name, agent_id, sizeof(agent_id));
    session->peer.serial[0] = '1';
    pthread_mutex_lock(&dispatcher->registry.lock);
    if ((options & OPTION_REQUEST) != 0)
        dispatcher_registry_queue_request_locked(&dispatcher->registry, &session->entry,
                                                 blx_clock_ns());
    if ((options & OPTION_SECOND) != 0)
        session->entry.sent_request = ++dispatcher->registry.last_request;
    pthread_mutex_unlock(&dispatcher->registry.lock);

    dispatcher_session_serve(session, 0, &err);
    FUZZ_ASSERT(dispatcher->registry.entries == NULL && dispatcher->registry.pending == 0);
    check_answers(fds[1], told);
}

static void check_segment(const char *dir, uint32_t number)
{
    struct blx_segment_reader *reader = NULL;
    FUZZ_ASSERT(blx_segment_reader_open(dir, number, &reader, NULL) == 0);
    const struct blx_index *index = blx_segment_reader_index(reader);
    for (size_t i = 0; i < index->count; i++) {
        struct blx_frame frame;
        uint8_t *buffer = malloc(index->entries[i].frame_bytes);
        FUZZ_ASSERT(buffer != NULL);
        FUZZ_ASSERT(blx_segment_reader_frame(reader, index->entries[i].frame_offset,
                                             index->entries[i].frame_bytes, buffer, &frame,
                                             NULL) == 0);
        free(buffer);
    }
    blx_segment_reader_close(reader);
}

static void check_checkpoint(blx_timestamp timestamp)
{
    char dir[PATH_MAX];
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    FUZZ_ASSERT(blx_manifest_read(blx_store_agent(&store, agent_id), timestamp, &manifest, NULL) ==
                0);
    for (uint32_t i = 0; i < manifest.volume_count; i++) {
        const struct blx_manifest_volume *volume = &manifest.volumes[i];
        FUZZ_ASSERT(blx_agent_store_volume_path(blx_store_agent(&store, agent_id), volume->name,
                                                dir, NULL) == 0);
        for (uint32_t j = 0; j < volume->segment_count; j++)
            check_segment(dir, volume->segments[j]);
    }
}

/* The next session's view. A pass that began after the acknowledgement may have taken it back, so
 * only volumes that began once count. */
static void check_acknowledged(const struct told *told)
{
    struct blx_agent_writer *writer = NULL;
    FUZZ_ASSERT(blx_agent_writer_open(blx_store_agent(&store, agent_id), NULL, &writer, NULL) == 0);
    blx_agent_writer_set_key(writer, &told->key_id);
    for (uint32_t i = 0; i < told->volume_count; i++) {
        struct blx_volume_state state;
        if (blx_agent_writer_add_volume(writer, &told->volumes[i], &state, NULL) < 0)
            break;
        if (!told->has_ack[i] || told->begins[i] != 1)
            continue;
        FUZZ_ASSERT(blx_generation_equal(&state.generation, &told->volumes[i].generation));
        FUZZ_ASSERT(state.durable_seq >= told->acked_seq[i]);
    }
    blx_agent_writer_close(writer);
}

static void make_store(void)
{
    char data_dir[PATH_MAX];
    blx_log_set_level((enum blx_log_level)0);
    fuzz_path(data_dir, "data");
    fuzz_path(agents_dir, "data/agents");
    FUZZ_ASSERT(blx_store_open(data_dir, BLX_STORE_INIT, &store, NULL) == 0);
    FUZZ_ASSERT(blx_store_open(data_dir, BLX_STORE_WRITE, &store, NULL) == 0);
}

static void run_script(uint8_t *script, size_t size, unsigned options)
{
    struct dispatcher_policy_book book;
    struct dispatcher dispatcher = {
        .book = &book,
        .store = &store,
        .data_dir = fuzz_folder(),
        .heartbeat_ms = DISPATCHER_HEARTBEAT_MS,
        .refusals = DISPATCHER_RATE_INIT,
    };
    FUZZ_ASSERT(dispatcher_registry_init(&dispatcher.registry, DISPATCHER_MAX_PENDING,
                                         DISPATCHER_MAX_FROM_SOURCE) == 0);
    dispatcher_roster_init(&dispatcher.roster);
    dispatcher_proofs_init(&dispatcher.proofs);
    dispatcher_turns_init(&dispatcher.turns, 0);
    dispatcher_policy_book_init(&book, &(struct blx_policies){0}, 60 * 1000,
                                &(const struct blx_retention){0});
    for (size_t at = 0; at < size;) {
        struct told told = {0};
        size_t bytes = prepare(script + at, size - at, options, &told);
        run_session(&dispatcher, script + at, bytes, options, &told);
        for (size_t i = 0; i < told.checkpoint_count; i++)
            check_checkpoint(told.checkpoints[i]);
        check_acknowledged(&told);
        at += bytes;
    }
    dispatcher_policy_book_done(&book);
    dispatcher_proofs_done(&dispatcher.proofs);
    dispatcher_roster_done(&dispatcher.roster);
    dispatcher_registry_done(&dispatcher.registry);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > MAX_SCRIPT_BYTES)
        return 0;
    if (store.lock_fd < 0)
        make_store();
    int next_fd = fuzz_next_fd();
    uint8_t *script = fuzz_copy(data + 1, size - 1);
    run_script(script, size - 1, data[0]);
    free(script);
    fuzz_remove(agents_dir);
    FUZZ_ASSERT(fuzz_next_fd() == next_fd);
    return 0;
}
