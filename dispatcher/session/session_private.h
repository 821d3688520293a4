/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session's inside, shared by its sources. Each calls only those below it:
 *
 *     session.c             birth, greeting, the switch over the agent's messages, end
 *     session_join.c        joining, and renewal of certificates
 *     session_restore.c     another machine's restore (restore_private.h)
 *     session_handover.c    an agent whose name went to another machine
 *     session_volumes.c     volumes and frames
 *     session_checkpoint.c  checkpoints
 *     session_digest.c      the digests of a rescan
 *     session_quota.c       how much of its quota the agent uses
 *     session_receive.c     the loop: orders, receiving, syncing, heartbeats
 *     session_policy.c      the agent's policy and pause
 *     session_link.c        sending, acknowledging, noting failures
 *     session_state.c       the session's state
 *
 * Threads: the session's thread alone uses a session. The exception is `entry`, which the registry
 * shares; registry.h says which thread may use which field.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "config/policy.h"
#include "dispatcher/dispatcher.h"
#include "dispatcher/registry.h"
#include "store/receive/agent_writer.h"
#include "tls/handover.h"
#include "wire/conn.h"
#include "wire/message.h"

struct dispatcher_session_volume {
    char name[BLX_NAME_BYTES];
    enum blx_pass pass; /* 0: it has not begun */
    uint64_t full_bytes;
    uint64_t acked_seq; /* by this session, since the last BEGIN; 0: nothing yet */
    char reason[128];   /* why the store wants a rescan or a full pass; may be empty */
};

/* Whether the agent's name went to another machine, and what this one has shown. */
struct dispatcher_session_handover {
    struct blx_handover handover; /* as it was when the session was let in */
    enum blx_handover_verdict verdict;
    uint8_t hardware[BLX_HARDWARE_BYTES]; /* as the agent told; zero: it did not */
    bool renewed;                         /* a certificate was signed in this session */
};

/* An agent of ours asks for this many answers at most before it waits for one. */
enum { DISPATCHER_SESSION_QUESTIONS = 8 };

/* The image that a rescan compares with. */
struct dispatcher_session_image {
    struct blx_image *image; /* owned; NULL: none is open */
    uint32_t volume;
    bool damage_logged;               /* once an image is enough */
    enum blx_image_origin origin;     /* from the frames alone, if the rescan was ordered */
    struct dispatcher_turn turn;      /* an image is open only while it is HELD */
    struct blx_digest_request *asked; /* owned; those that wait for it, in order; or NULL */
    uint32_t asked_count;             /* at most DISPATCHER_SESSION_QUESTIONS */
    uint64_t rest_until_ns; /* no answer before; 0: the agent's questions were never too costly */
};

/*
 * The stages in the life of a session. Only dispatcher_session_move() changes the state.
 *
 *     dispatcher_session_new()
 *                |
 *                v
 *            ACCEPTED ------------------------------+
 *                |  enter(): the registry lets it in  |
 *                v                                    |
 *             ENTERED ------------------------------->+
 *                |  enter(): WELCOME is sent          |  end_session(): the agent said GOODBYE,
 *                v                                    |  a JOIN is answered, an order to end
 *            WELCOMED ------------------------------->+  came, or something failed
 *                |  begin(): every volume has begun   |
 *                v                                    |
 *            FOLLOWING ------------------------------>+
 *                                                     v
 *                                                   ENDED
 */
enum dispatcher_session_state {
    /*
     * A connection: TLS, then HELLO, JOIN or RESTORE. The registry counts it as pending, unless a
     * token lets it restore (restore_private.h). It has no right to write the store, and the agent
     * does not know the heartbeat yet: there are no PINGs, and silence is bounded by the deadline
     * of the first message.
     */
    DISPATCHER_SESSION_ACCEPTED = 0,

    /* The one live session of its agent: the agent's store belongs to it until the end. */
    DISPATCHER_SESSION_ENTERED,

    /* The agent knows the heartbeat: PINGs are due, and an agent that is silent for three
     * heartbeats is dead. Volumes are announced and begin one by one; frames come for those that
     * have begun. */
    DISPATCHER_SESSION_WELCOMED,

    /* Every volume has begun: the registry may hand out requests. */
    DISPATCHER_SESSION_FOLLOWING,

    /* The end: sync the received frames, send the last word, leave the registry. */
    DISPATCHER_SESSION_ENDED,
};

/* Each failure ends the session. The end must do without the thing that failed. */
enum dispatcher_session_failure {
    DISPATCHER_SESSION_LINK_LOST = 1,    /* the agent is gone or reads no more: send nothing */
    DISPATCHER_SESSION_STORE_FAILED = 2, /* the writer is not to be used, except to close it */
    DISPATCHER_SESSION_PACED = 4,        /* the agent connects too often: its end is not logged */
    DISPATCHER_SESSION_LOGGED = 8,       /* its end is logged already */
};

struct dispatcher_session {
    struct dispatcher *dispatcher;
    struct dispatcher_registry_entry
        entry; /* entry.socket_fd is a duplicate, for poll() and shutdown() */
    enum dispatcher_session_state state;
    unsigned failures;                      /* of enum dispatcher_session_failure */
    enum dispatcher_registry_ending ending; /* the order that ends the session, if one does */
    int accepted_fd;                        /* -1 once the connection owns it */
    struct blx_conn *conn;
    struct blx_agent_writer *writer;         /* from ENTERED on */
    struct dispatcher_roster_record *record; /* the roster's, of this agent; NULL before ENTERED */
    char agent_id[BLX_NAME_BYTES];           /* its name here (store/own_id.h) */
    enum blx_agent_folder folder;            /* whether the store knew it when it came */
    struct blx_tls_peer peer;                /* as TLS has authenticated it, with its own ID */
    struct dispatcher_session_handover handover;
    uint64_t features; /* that WELCOME has confirmed; without ENCRYPTION once no KEY has come */
    uint32_t volume_count;
    uint32_t begun_count;
    struct dispatcher_session_volume *volumes; /* owned, volume_count of them */
    struct dispatcher_session_image image;
    bool rescan_told; /* the agent knows the order to rescan; its next FRESH request follows it */
    enum blx_agent_state reported; /* by the last STATUS; OFFLINE before the first */
    uint64_t paused_ns;            /* when the agent was told that it is paused; 0: it is not */
    bool announced;                /* all volumes are */
    bool policy_waits;             /* it has changed: told when all are announced */
    struct blx_quota quota;        /* the limits of its policy */
    struct blx_quota used;         /* as measured, and counted on since */
    uint64_t measured_ns;          /* when; 0: not yet */
    enum blx_quota_state quota_state;
    uint64_t last_received_ns;
    uint64_t frame_bytes_at_checkpoint; /* entry.frame_bytes at the last commit */
    int ack_rc;                         /* of the acknowledgements that the running sync sends */
};

/* See the drawing. */
void dispatcher_session_move(struct dispatcher_session *session, enum dispatcher_session_state to);

/* Writes a line that the agent can cause at will, unless it has caused too many lately: those are
 * counted, and told in one line. Once per event, from the session's thread. */
void dispatcher_session_log(const struct dispatcher_session *session, enum blx_log_level level,
                            const char *format, ...) __attribute__((format(printf, 3, 4)));

bool dispatcher_session_is_lost(const struct dispatcher_session *session);
bool dispatcher_session_store_failed(const struct dispatcher_session *session);

/* A session of the accepted socket `fd`, which belongs to it from now on. It is in no registry yet.
 * NULL if memory is short. If descriptors are short, entry.socket_fd or entry.wake_fd is -1. */
struct dispatcher_session *dispatcher_session_new(struct dispatcher *dispatcher, int fd,
                                                  const char *peer);

/*
 * Everything after the handshake: from HELLO to the end. The outcome of the handshake is `rc` (and
 * `err`); if it succeeded `conn` and `agent_id` are set. The entry is connected to the registry; at
 * the end it leaves, and the session is freed. A new thread takes the session over if one can be
 * started, so the session may outlive this call. It is a function of its own for the fuzz target,
 * which has no TLS.
 */
void dispatcher_session_serve(struct dispatcher_session *session, int rc, struct blx_error *err);

/* -EPROTO with the message: the agent broke the protocol. */
int dispatcher_session_protest(struct blx_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Sends the order to rescan to the agent, if there is one. */
int dispatcher_session_order_rescan(struct dispatcher_session *session, struct blx_error *err);

/*
 * Looks up the agent's policy and pause, and gives them to the registry and, if it knows POLICY, to
 * the agent. -ENOTSUP if the agent is paused and does not know POLICY.
 */
int dispatcher_session_tell_policy(struct dispatcher_session *session, struct blx_error *err);

/* -EACCES if the agent is archived. */
int dispatcher_session_check_archived(const struct dispatcher_session *session,
                                      struct blx_error *err);

/* -EACCES if the agent's policy demands encryption, and the session is not encrypted. An agent that
 * has agreed on it may still name no key, so it is looked at again then. */
int dispatcher_session_check_encryption(struct dispatcher_session *session,
                                        const struct blx_policy_verdict *verdict,
                                        struct blx_error *err);

/* The limits that hold from now on; they count from the next frame. */
void dispatcher_session_set_quota(struct dispatcher_session *session,
                                  const struct blx_quota *limits);

/* -EDQUOT if one is reached, even after a prune: before the session touches the store. */
int dispatcher_session_open_quota(struct dispatcher_session *session, struct blx_error *err);

/* Counts a frame, a volume by its name, or a commit, before it is stored. -EDQUOT if that is more
 * than the agent may have. */
int dispatcher_session_count_frame(struct dispatcher_session *session, uint64_t bytes,
                                   struct blx_error *err);
int dispatcher_session_count_volume(struct dispatcher_session *session, const char *name,
                                    struct blx_error *err);
int dispatcher_session_count_commit(struct dispatcher_session *session, struct blx_error *err);

/* Sends; a failure means that the connection is lost. */
int dispatcher_session_send(struct dispatcher_session *session, const struct blx_message *message,
                            struct blx_error *err);

/*
 * The next message that is no PING, or before WELCOME the next one. -ETIMEDOUT if none has come at
 * `deadline_ns`, or if the agent is dead (then the link counts as lost). -ECANCELED if the session
 * has to end, see session->ending. Meanwhile sends PINGs, follows orders, and syncs and
 * acknowledges the appended frames as soon as no further message is waiting. 1 in place of a
 * message if it is this rescan's turn, and questions wait for it.
 */
int dispatcher_session_receive(struct dispatcher_session *session, uint64_t deadline_ns,
                               struct blx_message *message, struct blx_error *err);

/* Makes the appended frames durable and acknowledges them. */
int dispatcher_session_sync(struct dispatcher_session *session, struct blx_error *err);

/* Notes whether a failed call leaves the writer unusable, and returns `rc`. */
int dispatcher_session_store_result(struct dispatcher_session *session, int rc);

/* JOIN -> CERTIFICATE, for a peer without a certificate. Its connection carries nothing else. */
int dispatcher_session_join(struct dispatcher_session *session, struct blx_error *err);

/* RESTORE and all that follows, for a machine with a token. Its connection carries nothing else. */
int dispatcher_session_restore(struct dispatcher_session *session, struct blx_error *err);

/* COPY_REQUEST and all that follows, for another dispatcher with a copier's certificate. Its
 * connection carries nothing else. */
int dispatcher_session_copy(struct dispatcher_session *session, struct blx_error *err);

/* RENEW -> CERTIFICATE or RENEW_FAILED. */
int dispatcher_session_renew(struct dispatcher_session *session,
                             const struct blx_request_message *request, struct blx_error *err);

/* AUTHORITY, if the agent knows it and the dispatcher has a CA of its own. */
int dispatcher_session_tell_authority(struct dispatcher_session *session, struct blx_error *err);

/* In a grace period: notes whether this CA, by which the agent's certificate is, is the successor.
 * A failure is logged. */
void dispatcher_session_note_ca(struct dispatcher_session *session,
                                const uint8_t ca_fingerprint[BLX_FINGERPRINT_BYTES]);

/* Whether the certificate is one that the agent still has: its name may have gone to another
 * machine. -EACCES with the reason. */
int dispatcher_session_check_handover(struct dispatcher_session *session, struct blx_error *err);

/* HARDWARE, or what comes in its place: -EACCES if the certificate alone is not enough, and this is
 * not the machine. */
int dispatcher_session_take_hardware(struct dispatcher_session *session,
                                     const struct blx_hardware_message *hardware,
                                     struct blx_error *err);
int dispatcher_session_miss_hardware(struct dispatcher_session *session, struct blx_error *err);

/* HANDOVER, if the agent has to get a certificate of its own. */
int dispatcher_session_tell_handover(struct dispatcher_session *session, struct blx_error *err);

/* The agent has one: from now on it alone is good. A failure is logged. */
void dispatcher_session_settle_handover(struct dispatcher_session *session);

/* VOLUME -> VOLUME_STATE for each volume. */
int dispatcher_session_take_volumes(struct dispatcher_session *session, struct blx_error *err);

/* BEGIN. The last volume's brings the session to FOLLOWING. */
int dispatcher_session_begin(struct dispatcher_session *session, const struct blx_begin *message,
                             struct blx_error *err);

/* FRAME: appends it, and syncs if too much is not synced. */
int dispatcher_session_take_frame(struct dispatcher_session *session,
                                  const struct blx_frame_message *frame, struct blx_error *err);

/* UNREADABLE: the next checkpoint lacks these blocks. */
int dispatcher_session_note_unreadable(struct dispatcher_session *session,
                                       const struct blx_unreadable *unreadable,
                                       struct blx_error *err);

/* CHECKPOINT: commits the cut -> CHECKPOINT_DONE. */
int dispatcher_session_commit(struct dispatcher_session *session,
                              struct blx_checkpoint_message *cut, struct blx_error *err);

/* Measures the checkpoint that was just committed, and marks it if it is suspicious. What fails is
 * logged. */
void dispatcher_session_judge_checkpoint(struct dispatcher_session *session);

/* CHECKPOINT_FAILED: the request in the agent's hands is over. */
int dispatcher_session_fail_checkpoint(struct dispatcher_session *session,
                                       const struct blx_checkpoint_failed *failed,
                                       struct blx_error *err);

/* DIGEST_REQUEST -> DIGESTS, at once or when it is the rescan's turn. */
int dispatcher_session_answer_digest(struct dispatcher_session *session,
                                     const struct blx_digest_request *request,
                                     struct blx_error *err);

/* Answers the questions that waited for the turn, which has come. */
int dispatcher_session_answer_asked(struct dispatcher_session *session, struct blx_error *err);

/* The rescan is over, or there was none. Questions that wait go on waiting. */
void dispatcher_session_close_image(struct dispatcher_session *session);
