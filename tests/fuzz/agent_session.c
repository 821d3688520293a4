/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's side of a session against a dispatcher that says anything: the handshake, the
 * receiver and what a rescan makes of the answers, without TLS and without a disk. The input is a
 * byte of options, then messages; after each GOODBYE the agent connects again. Its ledgers stay as
 * they are over these sessions.
 *
 * Whatever the dispatcher says: the session ends, and leaves no descriptor; the agent speaks whole
 * messages of its own direction; no mark is lost without an acknowledgement of the frame that holds
 * the block; only what was sent counts as acknowledged; and what cannot be resumed is marked or
 * compared.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/session/rescan_question_private.h"
#include "agent/session/session_private.h"
#include "base/bitmap.h"
#include "base/log.h"
#include "fuzz.h"

enum {
    VOLUMES = 2,
    BLOCKS = 1000,
    WORDS = (BLOCKS + 63) / 64,
    BLOCK_BYTES = 4096,
    FRAMES = 3, /* of a volume, sent before the dispatcher says more */
    FRAME_BLOCKS = 5,
    QUESTIONS = 3, /* of a volume */
    SEND_TIMEOUT_MS = 1000,
    MAX_SCRIPT_BYTES = 64 * 1024, /* goes into the socket whole */

    OPTION_USED = 1, /* the stream has been begun, and frames of it were acknowledged */
    OPTION_COMMITTING = 2,
    ACKED_SEQ = 7,
};

/* The features of an agent without a key, with a bundle of blxrep's own as its credentials. */
static const uint64_t offered_features = BLX_FEATURE_POLICY | BLX_FEATURE_RENEWAL |
                                         BLX_FEATURE_CONTINUE | BLX_FEATURE_CUT_AGE |
                                         BLX_FEATURE_LEAVE_OUT | BLX_FEATURE_CUT_FLAGS;

static const struct blx_config config = {.id = "web1"};
static struct agent agent = {.config = &config,
                             .volume_count = VOLUMES,
                             .lock = PTHREAD_MUTEX_INITIALIZER,
                             .changed = PTHREAD_COND_INITIALIZER};
static uint64_t dirty[VOLUMES][WORDS];
static struct agent_ledger_head newborn[VOLUMES];
static struct agent_question questions[VOLUMES][QUESTIONS];

/* Our digests of the questions: every block is zero. */
static void read_question(struct agent_question *question)
{
    static const uint8_t zeros[BLOCK_BYTES];
    struct blx_digester *digester = NULL;
    FUZZ_ASSERT(blx_digester_new(&digester, NULL) == 0);
    blx_digester_begin(digester, &question->request, 12, &question->mine);
    for (uint64_t left = blx_digest_request_blocks(&question->request); left > 0; left--)
        FUZZ_ASSERT(blx_digester_add(digester, zeros, 1, NULL) == 0);
    FUZZ_ASSERT(blx_digester_end(digester, NULL) == 0);
    blx_digester_free(digester);
}

static void make_questions(struct agent_volume *volume)
{
    uint64_t wanted[WORDS];
    uint64_t cursor = 0;
    memset(wanted, 0xff, sizeof(wanted));
    for (unsigned i = 0; i < QUESTIONS; i++) {
        struct agent_question *question = &questions[volume->index][i];
        FUZZ_ASSERT(agent_question_make_next(volume, wanted, (i + 1) * BLOCKS / QUESTIONS, &cursor,
                                             question));
        question->request.request = volume->index * QUESTIONS + i + 1;
        read_question(question);
    }
}

static void make_agent(void)
{
    blx_log_set_level((enum blx_log_level)0);
    for (uint32_t i = 0; i < VOLUMES; i++) {
        struct agent_volume *volume = &agent.volumes[i];
        const struct blx_generation generation = {{(uint8_t)(i + 1), 2, 3, 4}};
        char name[] = {'v', 'd', (char)('a' + i), '\0'};
        volume->index = i;
        volume->dirty = dirty[i];
        volume->blocks = BLOCKS;
        volume->block_shift = 12;
        volume->device.size_bytes = (uint64_t)BLOCKS * BLOCK_BYTES - 512;
        memcpy(volume->device.name, name, sizeof(name));
        memcpy(volume->device.path, name, sizeof(name));
        FUZZ_ASSERT(agent_ledger_open(fuzz_folder(), name, &generation, BLOCKS, AGENT_LEDGER_FRESH,
                                      &volume->ledger, NULL) == 0);
        newborn[i] = *volume->ledger.head;
        agent.devices[i] = volume->device;
        make_questions(volume);
    }
}

/* The state before the agent's first session, or after one that went well. */
static void reset_agent(unsigned options)
{
    agent.policy = (struct blx_policy_message){0};
    agent.order = AGENT_RUN;
    agent.orders = agent.rescans = (struct blx_bucket){0};
    for (unsigned i = 0; i < VOLUMES; i++) {
        struct agent_volume *volume = &agent.volumes[i];
        *volume->ledger.head = newborn[i];
        volume->next_seq = 0;
        memset(dirty[i], 0, sizeof(dirty[i]));
        memset(volume->ledger.pending, 0, sizeof(dirty[i]));
        memset(volume->ledger.in_flight, 0, sizeof(dirty[i]));
        blx_bitmap_set(dirty[i], (struct blx_extent){10, 20});
        blx_bitmap_set(volume->ledger.pending, (struct blx_extent){500, 30});
        if ((options & OPTION_USED) != 0) {
            volume->ledger.head->stream_used = true;
            volume->ledger.head->acked_seq = ACKED_SEQ;
            volume->ledger.head->sent_seq = ACKED_SEQ + FRAMES;
            volume->ledger.head->last_checkpoint = UINT64_C(20261122203600);
        }
    }
}

static void all_marks(const struct agent_volume *volume, uint64_t marks[WORDS])
{
    for (unsigned i = 0; i < WORDS; i++)
        marks[i] = volume->dirty[i] | volume->ledger.pending[i] | volume->ledger.in_flight[i];
}

static void assert_still_marked(const struct agent_volume *volume, const uint64_t before[WORDS])
{
    uint64_t marks[WORDS];
    all_marks(volume, marks);
    for (unsigned i = 0; i < WORDS; i++)
        FUZZ_ASSERT((before[i] & ~marks[i]) == 0);
}

/* The work of the control thread and of the sender, all of it before the dispatcher is heard. */
static void send_frames(struct agent_session *session, struct agent_volume *volume)
{
    struct agent_batch batch = {.volume = volume};
    uint64_t cursor = 0;
    for (unsigned i = 0; i < FRAMES; i++) {
        batch.extent_count = agent_volume_claim(volume, AGENT_CLAIM_ALL, &cursor, FRAME_BLOCKS,
                                                AGENT_BATCH_MAX_EXTENTS, batch.extents);
        if (batch.extent_count == 0)
            return;
        FUZZ_ASSERT(agent_unacked_add(&session->unacked, &batch, volume->next_seq++, 100) == 0);
    }
}

static void ask_questions(struct agent_session *session)
{
    for (unsigned i = 0; i < VOLUMES * QUESTIONS; i++) {
        struct agent_question *question = &questions[i / QUESTIONS][i % QUESTIONS];
        question->answer = &session->answers[i];
        question->answer->request = question->request.request;
    }
}

/* As the rescan does when it waits for the answer. */
static void judge_answer(const struct agent_question *question)
{
    const struct blx_digests *theirs = &question->answer->digests;
    struct agent_question_cursor cursor = {0};
    struct agent_question fine;
    uint64_t before[WORDS];
    if (!question->answer->is_here || agent_question_check(question, theirs, NULL) < 0)
        return;
    all_marks(question->volume, before);
    while (agent_question_refine(question, theirs, &cursor, &fine)) {
        FUZZ_ASSERT(fine.request.blocks_per_digest == 1);
        FUZZ_ASSERT(blx_digest_request_end(&fine.request) <= BLOCKS);
    }
    FUZZ_ASSERT(agent_question_mark(question, theirs) <= BLOCKS);
    assert_still_marked(question->volume, before);
}

static void check_speech(int peer_fd)
{
    struct blx_conn *conn = NULL;
    struct blx_message message = {.type = BLX_MESSAGE_PING};
    FUZZ_ASSERT(blx_conn_new(peer_fd, NULL, SEND_TIMEOUT_MS, &conn, NULL) == 0);
    int rc;
    while ((rc = blx_conn_recv(conn, SEND_TIMEOUT_MS, &message, NULL)) == 0)
        FUZZ_ASSERT(message.type == BLX_MESSAGE_HELLO || message.type == BLX_MESSAGE_VOLUME ||
                    message.type == BLX_MESSAGE_BEGIN || message.type == BLX_MESSAGE_PING ||
                    message.type == BLX_MESSAGE_GOODBYE);
    FUZZ_ASSERT(rc == -EPIPE || rc == -ECONNRESET);
    blx_conn_free(conn);
}

/* After the handshake: a volume that is not resumed is marked, or will be compared. */
static void check_begun(const struct agent_session *session)
{
    FUZZ_ASSERT(session->welcome.version == BLX_PROTOCOL_VERSION &&
                (session->welcome.features & ~offered_features) == 0);
    for (unsigned i = 0; i < VOLUMES; i++) {
        const struct agent_volume *volume = &agent.volumes[i];
        const struct agent_ledger_head *head = volume->ledger.head;
        FUZZ_ASSERT(volume->next_seq == head->acked_seq + 1 && volume->next_seq > 0);
        FUZZ_ASSERT(head->stream_used && head->acked_seq == 0 && head->sent_seq == 0);
        FUZZ_ASSERT(!head->rescan_active || head->rescan_end_block <= BLOCKS);
        if (blx_generation_is_none(&head->base) && !head->rescan_active)
            FUZZ_ASSERT(blx_bitmap_count(volume->ledger.pending, BLOCKS) == BLOCKS);
    }
}

/* In flight are just the blocks that were sent and not acknowledged. */
static void check_in_flight(struct agent_session *session, uint64_t sent[VOLUMES])
{
    uint64_t frames = 0;
    for (unsigned i = 0; i < VOLUMES; i++) {
        const struct agent_volume *volume = &agent.volumes[i];
        FUZZ_ASSERT(volume->ledger.head->acked_seq < volume->next_seq);
        frames += sent[i] - (volume->ledger.head->acked_seq - (volume->next_seq - 1 - sent[i]));
    }
    FUZZ_ASSERT(session->unacked.frames == frames);
    FUZZ_ASSERT(frames > 0 || agent_volume_count_in_flight(&agent.volumes[0]) +
                                      agent_volume_count_in_flight(&agent.volumes[1]) ==
                                  0);
}

static void converse(struct agent_session *session, unsigned options)
{
    uint64_t sent[VOLUMES], marks[VOLUMES][WORDS];
    struct blx_error err = {0};
    for (unsigned i = 0; i < VOLUMES; i++)
        all_marks(&agent.volumes[i], marks[i]);
    int rc = agent_session_handshake(session, &err);
    for (unsigned i = 0; i < VOLUMES; i++)
        assert_still_marked(&agent.volumes[i], marks[i]);
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
        return;
    }
    check_begun(session);
    for (unsigned i = 0; i < VOLUMES; i++) {
        uint64_t first = agent.volumes[i].next_seq;
        send_frames(session, &agent.volumes[i]);
        sent[i] = agent.volumes[i].next_seq - first;
    }
    ask_questions(session);
    session->committing = (options & OPTION_COMMITTING) != 0 ? 1 : 0;
    session->state = AGENT_SESSION_LIVE;
    FUZZ_ASSERT(agent_session_receiver(session) == NULL);
    FUZZ_ASSERT(session->state == AGENT_SESSION_FAILED);
    fuzz_assert_refusal(session->rc, &session->error);
    check_in_flight(session, sent);
    for (unsigned i = 0; i < VOLUMES * QUESTIONS; i++)
        judge_answer(&questions[i / QUESTIONS][i % QUESTIONS]);
}

static void run_session(const uint8_t *script, size_t size, unsigned options)
{
    int fds[2];
    struct agent_session *session = calloc(1, sizeof(*session));
    FUZZ_ASSERT(session != NULL);
    session->agent = &agent;
    FUZZ_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    FUZZ_ASSERT(send(fds[1], script, size, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size);
    FUZZ_ASSERT(shutdown(fds[1], SHUT_WR) == 0);
    FUZZ_ASSERT(blx_conn_new(fds[0], NULL, SEND_TIMEOUT_MS, &session->conn, NULL) == 0);
    converse(session, options);
    agent_unacked_done(&session->unacked);
    for (unsigned i = 0; i < VOLUMES; i++)
        agent_volume_requeue_all(&agent.volumes[i]);
    blx_conn_free(session->conn);
    free(session);
    check_speech(fds[1]);
}

/* The part of the script that belongs to this session: all up to a GOODBYE. */
static size_t session_bytes(const uint8_t *script, size_t size)
{
    enum blx_message_type type;
    size_t body_bytes, at = 0;
    while (size - at >= BLX_MESSAGE_HEADER_BYTES &&
           blx_message_decode_header(script + at, &type, &body_bytes, NULL) == 0 &&
           body_bytes <= size - at - BLX_MESSAGE_HEADER_BYTES) {
        at += BLX_MESSAGE_HEADER_BYTES + body_bytes;
        if (type == BLX_MESSAGE_GOODBYE)
            return at;
    }
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > MAX_SCRIPT_BYTES)
        return 0;
    if (agent.volumes[0].ledger.head == NULL)
        make_agent();
    reset_agent(data[0]);
    int next_fd = fuzz_next_fd();
    for (size_t at = 1; at < size;) {
        size_t bytes = session_bytes(data + at, size - at);
        run_session(data + at, bytes, data[0]);
        at += bytes;
    }
    FUZZ_ASSERT(fuzz_next_fd() == next_fd);
    return 0;
}
