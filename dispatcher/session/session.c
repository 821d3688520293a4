/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/session/session.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/units.h"
#include "dispatcher/audit.h"
#include "dispatcher/neighbours.h"
#include "dispatcher/policy_book.h"
#include "dispatcher/session/session_private.h"
#include "store/digest_key.h"
#include "store/own_id.h"
#include "tls/pki.h"

enum { LINGER_MS = 1000 };

static void session_free(struct dispatcher_session *session)
{
    blx_assert(session->state == DISPATCHER_SESSION_ACCEPTED ||
               session->state == DISPATCHER_SESSION_ENDED);
    blx_conn_free(session->conn);
    if (session->accepted_fd >= 0)
        close(session->accepted_fd);
    if (session->entry.socket_fd >= 0)
        close(session->entry.socket_fd);
    if (session->entry.wake_fd >= 0)
        close(session->entry.wake_fd);
    free(session->volumes);
    free(session->image.asked);
    free(session);
}

static int check_hello(const struct dispatcher_session *session, const struct blx_message *message,
                       struct blx_error *err)
{
    const struct blx_hello *hello = &message->hello;
    if (message->type != BLX_MESSAGE_HELLO)
        return dispatcher_session_protest(err, "expected HELLO, got %s",
                                          blx_message_name(message->type));
    if (strcmp(hello->agent_id, session->peer.name) != 0)
        return blx_error_set(err, -EACCES, "the certificate is for '%s', not for '%s'",
                             session->peer.name, hello->agent_id);
    if (hello->version_min > BLX_PROTOCOL_VERSION || hello->version_max < BLX_PROTOCOL_VERSION)
        return dispatcher_session_protest(
            err,
            "the agent speaks the protocol's versions %" PRIu32 " to %" PRIu32
            ", the dispatcher version %d: install the same release on both",
            hello->version_min, hello->version_max, BLX_PROTOCOL_VERSION);
    if (hello->volume_count < 1 || hello->volume_count > BLX_MAX_VOLUMES)
        return dispatcher_session_protest(err,
                                          "the agent has %" PRIu32 " volumes: 1 to %d are allowed",
                                          hello->volume_count, BLX_MAX_VOLUMES);
    return 0;
}

/* A revocation, a handover or an archive is written first, and then the live sessions are ended. So
 * a session that enters and looks afterwards cannot slip through between the two. */
static int check_welcome(struct dispatcher_session *session, struct blx_error *err)
{
    int rc = blx_pki_check_revoked(session->dispatcher->data_dir, session->peer.name,
                                   session->peer.serial, err);
    if (rc == 0)
        rc = dispatcher_session_check_handover(session, err);
    return rc == 0 ? dispatcher_session_check_archived(session, err) : rc;
}

static int check_admitted(const struct dispatcher_session *session, struct blx_error *err)
{
    const struct dispatcher *dispatcher = session->dispatcher;
    bool admitted = dispatcher->admit_count == 0;
    for (size_t i = 0; !admitted && i < dispatcher->admit_count; i++)
        admitted = fnmatch(dispatcher->admitted[i], session->peer.name, 0) == 0;
    if (admitted)
        return 0;
    return blx_error_set(err, -EACCES,
                         "the agent '%s' is not admitted here: its ID is not in 'admit' of the "
                         "dispatcher's configuration",
                         session->peer.name);
}

/* An agent that was renamed is known by its name from here on. Its certificate and its messages go
 * on having its ID. */
static int find_name(struct dispatcher_session *session, struct blx_error *err)
{
    int rc =
        blx_own_id_find(session->dispatcher->store, session->peer.name, session->agent_id, err);
    session->folder = rc == 1 ? BLX_AGENT_FOLDER_THERE : BLX_AGENT_FOLDER_ANY;
    return rc < 0 ? rc : 0;
}

/* Whether it is still called so. Its writer keeps it from being renamed from here on. */
static int check_name(const struct dispatcher_session *session, struct blx_error *err)
{
    char own[BLX_NAME_BYTES];
    int rc =
        blx_own_id_read(blx_store_agent(session->dispatcher->store, session->agent_id), own, err);
    if (rc < 0 || strcmp(own, session->peer.name) == 0)
        return rc;
    return blx_error_set(err, -EBUSY,
                         "another agent was given the name '%s' meanwhile; connect again",
                         session->agent_id);
}

/* Identifies the peer. Before that nothing in the store is touched. */
static int identify(struct dispatcher_session *session, struct blx_error *err)
{
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *tls =
        dispatcher_identity_take_tls(&session->dispatcher->identity);
    int rc = blx_tls_accept(tls, blx_take_fd(&session->accepted_fd), DISPATCHER_HANDSHAKE_MS,
                            &session->conn, &session->peer, err);
    if (rc < 0 || session->peer.errand != BLX_TLS_SESSION)
        return rc;
    memcpy(session->agent_id, session->peer.name, sizeof(session->agent_id));
    rc = blx_name_check("agent ID of the certificate", session->agent_id, err);
    if (rc == 0)
        rc = check_admitted(session, err);
    if (rc == 0)
        rc = find_name(session, err);
    /* Before a take-over: a revoked agent must not end the session of the one that replaced it. */
    if (rc == 0)
        rc = check_welcome(session, err);
    if (rc == 0)
        rc = dispatcher_registry_claim(&session->dispatcher->registry, &session->entry,
                                       session->agent_id, err);
    return rc;
}

static int greet(struct dispatcher_session *session, struct blx_error *err)
{
    struct blx_message message;
    session->last_received_ns = blx_clock_ns();
    blx_conn_restrict(session->conn, BLX_MESSAGE_ENCODED_BYTES, DISPATCHER_HANDSHAKE_MS);
    int rc = dispatcher_session_receive(
        session, session->last_received_ns + DISPATCHER_HANDSHAKE_MS * UINT64_C(1000000), &message,
        err);
    blx_conn_restrict(session->conn, BLX_MESSAGE_MAX_BYTES, BLX_FOR_EVER);
    if (rc == 0)
        rc = check_hello(session, &message, err);
    if (rc < 0)
        return rc;
    session->volume_count = message.hello.volume_count;
    uint64_t known = BLX_FEATURE_POLICY | BLX_FEATURE_ENCRYPTION | BLX_FEATURE_CUT_AGE |
                     BLX_FEATURE_CONTINUE | BLX_FEATURE_LEAVE_OUT | BLX_FEATURE_CUT_FLAGS |
                     BLX_FEATURE_DIGESTS;
    if (session->dispatcher->own_pki)
        known |= BLX_FEATURE_RENEWAL | BLX_FEATURE_AUTHORITY | BLX_FEATURE_HARDWARE;
    session->features = message.hello.features & known;
    session->entry.volume_count = message.hello.volume_count;
    session->entry.instance = message.hello.instance;
    session->volumes = calloc(session->volume_count, sizeof(*session->volumes));
    return session->volumes != NULL ? 0 : blx_error_set(err, -ENOMEM, "out of memory");
}

/* An agent that connects again and again costs disk reads and log lines: sessions beyond its bucket
 * are refused before either, and told in one line when one is let in. */
static int check_pace(struct dispatcher_session *session, struct blx_error *err)
{
    unsigned held_back = 0;
    if (!dispatcher_roster_allow(&session->dispatcher->roster, session->record,
                                 DISPATCHER_ALLOW_SESSION, blx_clock_ns(), &held_back)) {
        session->failures |= DISPATCHER_SESSION_PACED;
        return blx_error_set(err, -EAGAIN,
                             "the agent '%s' connects too often: one session every %d s is let in "
                             "from now on",
                             session->agent_id, DISPATCHER_ALLOWED_SESSION_MS / 1000);
    }
    if (held_back > 0)
        blx_log_warning("agent '%s' connects too often: %u sessions of it were refused, and their "
                        "log lines suppressed",
                        session->agent_id, held_back);
    return 0;
}

/* Whether the agent may be here, if several dispatchers share the data directory. */
static int check_place(const struct dispatcher_session *session, struct blx_error *err)
{
    char to[BLX_NAME_BYTES];
    return dispatcher_neighbours_check_destination(session->dispatcher, session->agent_id, to, err);
}

/* The store has refused the agent since another dispatcher has it: names that one, if it has told.
 */
static int explain_holder(const struct dispatcher_session *session, struct blx_error *err)
{
    struct blx_control_agent told;
    char host[BLX_NAME_BYTES];
    if (!dispatcher_neighbours_find(session->dispatcher->neighbours, session->agent_id, &told,
                                    host))
        return -EBUSY;
    blx_error_clear(err);
    return blx_error_set(err, -EBUSY,
                         "the agent '%s' is connected to the dispatcher '%s' of this data "
                         "directory: connect there, or wait until that session has ended",
                         session->agent_id, host);
}

/* The agent's secret for digests, which is made with its first session that knows of them. */
static int tell_digest_key(struct dispatcher_session *session, struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_DIGEST_KEY};
    BLX_CLEANUP_SECRET_KEY struct blx_key key = {0};
    if ((session->features & BLX_FEATURE_DIGESTS) == 0)
        return 0;
    int rc = blx_digest_key_take(blx_store_agent(session->dispatcher->store, session->agent_id),
                                 &key, err);
    if (rc < 0)
        return dispatcher_session_store_result(session, rc);
    blx_agent_writer_set_digest_key(session->writer, &key);
    memcpy(message.digest_key.secret, key.secret, sizeof(message.digest_key.secret));
    rc = dispatcher_session_send(session, &message, err);
    OPENSSL_cleanse(&message, sizeof(message));
    return rc;
}

/* Takes the agent's place in the registry, which gives the right to its store, and welcomes it. */
static int enter(struct dispatcher_session *session, struct blx_error *err)
{
    struct dispatcher_registry *registry = &session->dispatcher->registry;
    int rc = dispatcher_registry_enter(registry, &session->entry, session->agent_id, err);
    if (rc < 0)
        return rc;
    dispatcher_session_move(session, DISPATCHER_SESSION_ENTERED);
    rc = check_welcome(session, err);
    if (rc < 0)
        return rc;
    dispatcher_session_note_ca(session, session->peer.ca_fingerprint);
    if (session->handover.verdict == BLX_HANDOVER_NEW)
        dispatcher_session_settle_handover(session);
    struct dispatcher_roster *roster = &session->dispatcher->roster;
    rc = dispatcher_roster_enter(roster, session->dispatcher->store, session->agent_id,
                                 &session->record, err);
    if (rc == 0)
        rc = check_pace(session, err);
    if (rc == 0)
        rc = check_place(session, err);
    if (rc < 0)
        return rc;
    dispatcher_roster_note_certificate(roster, session->record, session->peer.ends_s);
    struct blx_policy_verdict verdict;
    dispatcher_policy_book_look(session->dispatcher->book, session->agent_id, &verdict);
    rc = dispatcher_session_check_encryption(session, &verdict, err);
    if (rc < 0)
        return rc;
    dispatcher_session_set_quota(session, &verdict.quota);
    rc = dispatcher_session_open_quota(session, err);
    if (rc < 0)
        return rc;
    rc = blx_agent_writer_open_in(
        blx_store_agent(session->dispatcher->store, session->agent_id), session->folder,
        dispatcher_roster_take_tail(roster, session->agent_id), &session->writer, err);
    if (rc == -EBUSY && session->dispatcher->store->shared)
        return explain_holder(session, err);
    if (rc == 0)
        rc = check_name(session, err);
    if (rc < 0)
        return dispatcher_session_store_result(session, rc);
    const struct blx_manifest *last = blx_agent_writer_get_last(session->writer);
    char gone[BLX_TEXT_BYTES];
    if (dispatcher_roster_note_history(roster, session->record, last, gone)) {
        blx_log_error("agent '%s': %s", session->agent_id, gone);
        dispatcher_audit(session->dispatcher, "history-gone", session->agent_id, "%s", gone);
    }
    dispatcher_registry_set_last_checkpoint(registry, &session->entry, last->timestamp,
                                            blx_manifest_time(last));

    const struct blx_message welcome = {
        .type = BLX_MESSAGE_WELCOME,
        .welcome =
            {
                .version = BLX_PROTOCOL_VERSION,
                .features = session->features,
                .sync_freq_ms = verdict.sync_freq_ms,
                .heartbeat_ms = session->dispatcher->heartbeat_ms,
                .window_bytes = DISPATCHER_WINDOW_BYTES,
                .last_checkpoint = last->timestamp,
            },
    };
    rc = dispatcher_session_send(session, &welcome, err);
    session->last_received_ns = blx_clock_ns(); /* the take-over may have taken a while */
    if (rc < 0)
        return rc;
    dispatcher_session_move(session, DISPATCHER_SESSION_WELCOMED);
    rc = dispatcher_session_tell_policy(session, err);
    return rc == 0 ? tell_digest_key(session, err) : rc;
}

static int open_session(struct dispatcher_session *session, struct blx_error *err)
{
    int rc = greet(session, err);
    if (rc == 0)
        rc = enter(session, err);
    if (rc == 0)
        rc = dispatcher_session_take_volumes(session, err);
    session->announced = rc == 0;
    return rc;
}

static void take_status(struct dispatcher_session *session, const struct blx_status *status)
{
    if (status->state != BLX_AGENT_RESCAN) {
        dispatcher_session_close_image(session);
        session->image.origin = BLX_IMAGE_FROM_TABLES;
    } else if (session->reported != BLX_AGENT_RESCAN) {
        dispatcher_roster_note_rescan(&session->dispatcher->roster, session->record);
    }
    session->reported = status->state;
    dispatcher_roster_note_turn(
        &session->dispatcher->roster, session->record,
        dispatcher_turns_place(&session->dispatcher->turns, &session->image.turn));
    dispatcher_roster_note_status(&session->dispatcher->roster, session->record, status);
    dispatcher_registry_set_status(&session->dispatcher->registry, &session->entry, status);
}

/* It may be a file that is written. */
static int take_renewed(struct dispatcher_session *session,
                        const struct blx_renewed_message *renewed, struct blx_error *err)
{
    unsigned held_back = 0;
    if (!dispatcher_roster_allow(&session->dispatcher->roster, session->record,
                                 DISPATCHER_ALLOW_RENEWED, blx_clock_ns(), &held_back))
        return dispatcher_session_protest(err, "the agent '%s' changes its CA too often",
                                          session->agent_id);
    dispatcher_session_note_ca(session, renewed->ca_fingerprint);
    if (session->handover.renewed)
        dispatcher_session_settle_handover(session);
    return 0;
}

/* The switch: every message of the agent after its volumes are announced. */
static int handle(struct dispatcher_session *session, struct blx_message *message,
                  struct blx_error *err)
{
    switch (message->type) {
    case BLX_MESSAGE_BEGIN:
        return dispatcher_session_begin(session, &message->begin, err);
    case BLX_MESSAGE_FRAME:
        return dispatcher_session_take_frame(session, &message->frame, err);
    case BLX_MESSAGE_CHECKPOINT:
        return dispatcher_session_commit(session, &message->checkpoint, err);
    case BLX_MESSAGE_UNREADABLE:
        return dispatcher_session_note_unreadable(session, &message->unreadable, err);
    case BLX_MESSAGE_CHECKPOINT_FAILED:
        return dispatcher_session_fail_checkpoint(session, &message->checkpoint_failed, err);
    case BLX_MESSAGE_DIGEST_REQUEST:
        return dispatcher_session_answer_digest(session, &message->digest_request, err);
    case BLX_MESSAGE_RENEW:
        return dispatcher_session_renew(session, &message->renew, err);
    case BLX_MESSAGE_RENEWED:
        return take_renewed(session, &message->renewed, err);
    case BLX_MESSAGE_STATUS:
        take_status(session, &message->status);
        return 0;
    case BLX_MESSAGE_ERROR:
        /* It has closed the connection, or will do so without reading on. */
        session->failures |= DISPATCHER_SESSION_LINK_LOST;
        return blx_error_set(err, -ECONNABORTED, "the agent says: %s", message->error.text);
    default:
        return dispatcher_session_protest(err, "%s is not expected here",
                                          blx_message_name(message->type));
    }
}

/* Handles messages until the agent says GOODBYE (0) or something ends the session. */
static int follow(struct dispatcher_session *session, struct blx_error *err)
{
    for (;;) {
        struct blx_message message;
        int rc = dispatcher_session_receive(session, UINT64_MAX, &message, err);
        if (rc == 1) {
            rc = dispatcher_session_answer_asked(session, err);
            if (rc == 0)
                continue;
        }
        if (rc < 0)
            return rc;
        if (message.type == BLX_MESSAGE_GOODBYE)
            return dispatcher_session_sync(session, err);
        rc = handle(session, &message, err);
        if (rc < 0)
            return rc;
    }
}

/* A connection that never became a session. One whose other side left before it had said a word, as
 * `blxrep agent check` does, was not refused. */
static void log_refusal(const struct dispatcher_session *session, const struct blx_error *err)
{
    const char *agent_id = session->agent_id;
    const bool named = agent_id[0] != '\0';
    unsigned held_back = 0;
    if (!dispatcher_rate_allow(&session->dispatcher->refusals, blx_clock_ns(), &held_back))
        return;
    if (named && dispatcher_session_is_lost(session)) {
        blx_log_info("the agent '%s' at %s connected and left: %s", agent_id, session->entry.peer,
                     err->message);
        return;
    }
    blx_log_warning("refused the connection from %s%s%s%s: %s (%u more were refused since the "
                    "last such line)",
                    session->entry.peer, named ? " (agent '" : "", agent_id, named ? "')" : "",
                    err->message, held_back);
    if (named)
        dispatcher_audit(session->dispatcher, "refusal", agent_id, "from %s: %s",
                         session->entry.peer, err->message);
}

/* `reached`: the state before ENDED. */
static void log_end(const struct dispatcher_session *session, enum dispatcher_session_state reached,
                    int rc, const struct blx_error *err)
{
    char lasted[BLX_UNIT_TEXT_BYTES], received[BLX_UNIT_TEXT_BYTES];

    if ((session->failures & (DISPATCHER_SESSION_PACED | DISPATCHER_SESSION_LOGGED)) != 0)
        return;
    if (reached >= DISPATCHER_SESSION_ENTERED) {
        uint64_t now_ns = blx_clock_ns();
        blx_duration_format((now_ns - session->entry.connected_ns) / 1000000, lasted);
        blx_size_format(atomic_load(&session->entry.frame_bytes), received);
        enum blx_log_level level = dispatcher_session_store_failed(session) ? BLX_LOG_ERROR
                                   : rc == 0 || rc == -ECANCELED            ? BLX_LOG_INFO
                                                                            : BLX_LOG_WARNING;
        dispatcher_session_log(session, level,
                               "agent '%s' from %s: session ended after %s, %s received: %s",
                               session->agent_id, session->entry.peer, lasted, received,
                               rc == 0 ? "the agent said goodbye" : err->message);
    } else if (rc < 0 && rc != -ESHUTDOWN && session->ending != DISPATCHER_ENDING_STOPPING) {
        log_refusal(session, err);
    }
}

/* The last word: why the session ends. False if nothing was sent, as the agent is gone or has ended
 * the session itself. */
static bool send_end(struct dispatcher_session *session, int rc, const struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_ERROR};
    if (session->conn == NULL || dispatcher_session_is_lost(session) || rc == 0)
        return false;
    if (session->ending == DISPATCHER_ENDING_STOPPING || rc == -ESHUTDOWN)
        message.type = BLX_MESSAGE_GOODBYE;
    else
        snprintf(message.error.text, sizeof(message.error.text), "%.*s",
                 (int)sizeof(message.error.text) - 1, err->message);
    return dispatcher_session_send(session, &message, NULL) == 0;
}

static void end_session(struct dispatcher_session *session, int rc, struct blx_error *err)
{
    struct dispatcher_registry *registry = &session->dispatcher->registry;
    enum dispatcher_session_state reached = session->state;

    if (reached == DISPATCHER_SESSION_ACCEPTED) {
        struct dispatcher_registry_orders
            orders; /* perhaps it was cut because the dispatcher stops */
        dispatcher_registry_take_orders(registry, &session->entry, &orders);
        session->ending = orders.ending;
    }
    dispatcher_session_move(session, DISPATCHER_SESSION_ENDED);
    /* Frames that came before the end are worth keeping: the next session resumes after them. */
    if (rc < 0 && session->writer != NULL && !dispatcher_session_store_failed(session))
        dispatcher_session_sync(session, NULL);
    if (rc < 0 && session->record != NULL && dispatcher_session_store_failed(session))
        dispatcher_roster_note_trouble(&session->dispatcher->roster, session->record, rc,
                                       err->message);
    bool said = send_end(session, rc, err);
    session->image.asked_count = 0;
    dispatcher_session_close_image(session);
    if (session->record != NULL)
        dispatcher_roster_note_turn(&session->dispatcher->roster, session->record, 0);
    /* Another dispatcher may write to the store before the next session here. */
    struct blx_agent_tail *tail = session->writer != NULL && !session->dispatcher->store->shared
                                      ? blx_agent_writer_make_tail(session->writer)
                                      : NULL;
    blx_agent_writer_close(session->writer);
    log_end(session, reached, rc, err);
    dispatcher_roster_leave(&session->dispatcher->roster, session->record, tail);
    dispatcher_registry_leave(registry, &session->entry,
                              rc == 0 ? "the agent ended its session before the checkpoint was done"
                                      : err->message);
    if (said)
        blx_conn_linger(session->conn, LINGER_MS); /* so that no reset destroys the last word */
    session_free(session);
}

static void follow_main(void *arg)
{
    struct blx_error err = {0};
    int rc = follow(arg, &err);
    end_session(arg, rc, &err);
}

/*
 * A session lives for months. Its handshake and the opening of its store leave a used stack, and
 * memory that the allocator and OpenSSL keep for the thread: together as much as the session itself
 * needs. All of this ends with the thread, so a new thread takes the session over.
 */
static bool hand_on(struct dispatcher_session *session)
{
    return dispatcher_threads_start(&session->dispatcher->sessions, follow_main, session, NULL) ==
           0;
}

static int run_errand(struct dispatcher_session *session, struct blx_error *err)
{
    switch (session->peer.errand) {
    case BLX_TLS_JOIN:
        return dispatcher_session_join(session, err);
    case BLX_TLS_RESTORE:
        return dispatcher_session_restore(session, err);
    case BLX_TLS_COPY:
        return dispatcher_session_copy(session, err);
    default:
        return open_session(session, err);
    }
}

void dispatcher_session_serve(struct dispatcher_session *session, int rc, struct blx_error *err)
{
    if (rc == 0)
        rc = run_errand(session, err);
    if (rc == 0 && session->peer.errand == BLX_TLS_SESSION) {
        if (hand_on(session))
            return;
        rc = follow(session, err);
    }
    end_session(session, rc, err);
}

static void session_main(void *arg)
{
    struct blx_error err = {0};
    int rc = identify(arg, &err);
    dispatcher_session_serve(arg, rc, &err);
}

struct dispatcher_session *dispatcher_session_new(struct dispatcher *dispatcher, int fd,
                                                  const char *peer)
{
    struct dispatcher_session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return NULL;
    session->dispatcher = dispatcher;
    session->accepted_fd = fd;
    session->entry.socket_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    session->entry.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    session->image.turn.wake_fd = session->entry.wake_fd;
    session->entry.connected_ns = blx_clock_ns();
    snprintf(session->entry.peer, sizeof(session->entry.peer), "%s", peer);
    return session;
}

int dispatcher_session_start(struct dispatcher *dispatcher, int fd, const char *peer,
                             uint64_t source, struct blx_error *err)
{
    struct dispatcher_session *session = dispatcher_session_new(dispatcher, fd, peer);
    if (session == NULL) {
        close(fd);
        return blx_error_set(err, -ENOMEM, "out of memory");
    }
    session->entry.source = source;
    int rc = 0;
    if (session->entry.socket_fd < 0 || session->entry.wake_fd < 0)
        rc = blx_error_errno(err, -errno, "no descriptor for a session: raise LimitNOFILE");
    if (rc == 0)
        rc = dispatcher_registry_connect(&dispatcher->registry, &session->entry, err);
    if (rc < 0) {
        session_free(session);
        return rc;
    }
    rc = dispatcher_threads_start(&dispatcher->sessions, session_main, session, err);
    if (rc < 0) {
        dispatcher_registry_leave(&dispatcher->registry, &session->entry, "");
        session_free(session);
    }
    return rc;
}
