/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session's inside, shared by its sources:
 *
 *     session.c             birth, greeting, end
 *     session_link.c        receiving and sending, with orders, heartbeats, the sync of what
 *                           arrived
 *     session_volumes.c     volumes, frames, checkpoints
 *     session_digest.c      the digests of a rescan
 *     session_policy.c      what holds for the agent
 *     session_join.c        joining, and renewal of certificates
 *
 * Threads: everything here belongs to the session's thread, but `entry`, whose header says what
 * others may do.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dispatcher/dispatcher.h"
#include "dispatcher/registry.h"
#include "store/receive/agent_writer.h"
#include "wire/conn.h"
#include "wire/message.h"

struct dispatcher_session_volume {
    char name[BLX_NAME_BYTES];
    enum blx_pass pass; /* 0: it has not begun */
    uint64_t full_bytes;
    char reason[128]; /* why the store wants a rescan or a full pass; may be empty */
};

/* The image that a rescan compares with. */
struct dispatcher_session_image {
    struct blx_image *image; /* owned; NULL: none is open */
    uint32_t volume;
    bool damage_logged; /* once an image is enough */
};

struct dispatcher_session {
    struct dispatcher *dispatcher;
    struct dispatcher_registry_entry
        entry;       /* entry.socket_fd is a duplicate, for poll() and shutdown() */
    int accepted_fd; /* -1 once the connection owns it */
    struct blx_conn *conn;
    struct blx_agent_writer *writer;
    struct dispatcher_roster_record
        *record;                   /* the roster's, of this agent; NULL before it is live */
    char agent_id[BLX_NAME_BYTES]; /* by the certificate */
    struct blx_tls_peer peer;      /* what TLS has found out */
    uint64_t features;             /* that WELCOME has confirmed */
    uint32_t volume_count;
    uint32_t begun_count;
    struct dispatcher_session_volume *volumes; /* owned, volume_count of them */
    struct dispatcher_session_image image;
    bool rescan_told; /* the standing order; the next FRESH request says that it is followed */
    uint64_t last_received_ns;
    uint64_t frame_bytes_at_checkpoint; /* entry.frame_bytes at the last commit */
    enum dispatcher_registry_ending ending;
    bool rescanning;   /* by its last STATUS */
    bool live;         /* entered in the registry */
    bool welcomed;     /* PINGs are due */
    bool store_failed; /* the writer must not be used any more */
    bool lost;         /* nothing can be sent any more */
    int ack_rc;        /* of the acknowledgements that the running sync sends */
};

/* A session of the accepted socket `fd`, which belongs to it from now on. It is in no registry yet.
 * NULL where memory is short; where a descriptor is, one of entry's is -1. */
struct dispatcher_session *dispatcher_session_new(struct dispatcher *dispatcher, int fd,
                                                  const char *peer);

/*
 * Everything behind the handshake, whose outcome is `rc` (and `err`): from HELLO to the end, the
 * leaving of the registry, which the entry was connected to, and of the session's memory. After a
 * handshake that succeeded `conn` and `agent_id` are set. Another thread follows where one can be
 * started, so the session may outlive this call. It is a function of its own so that a session can
 * be had without TLS, by the fuzz target.
 */
void dispatcher_session_serve(struct dispatcher_session *session, int rc, struct blx_error *err);

/* -EPROTO with the message, for what the agent must not do. */
int dispatcher_session_protest(struct blx_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Tells the agent of the order to rescan, if one stands. */
int dispatcher_session_order_rescan(struct dispatcher_session *session, struct blx_error *err);

/*
 * Looks up what holds for the agent, its pause included: the registry gets it, and the agent where
 * it can be told. -ENOTSUP where it is paused and cannot.
 */
int dispatcher_session_tell_policy(struct dispatcher_session *session, struct blx_error *err);

/* Sends; a failure means that the connection is lost. */
int dispatcher_session_send(struct dispatcher_session *session, const struct blx_message *message,
                            struct blx_error *err);

/*
 * The next message but PING, at the latest at `deadline_ns` (-ETIMEDOUT). Meanwhile syncs and
 * acknowledges what has been appended as soon as nothing more waits to be received, sends PINGs and
 * requests, and finds out that the agent is dead
 * (-ETIMEDOUT too, and the connection counts as lost) or that the session is to end (-ECANCELED,
 * see session->ending).
 */
int dispatcher_session_receive(struct dispatcher_session *session, uint64_t deadline_ns,
                               struct blx_message *message, struct blx_error *err);

/* Makes what was appended durable and acknowledges it. */
int dispatcher_session_sync(struct dispatcher_session *session, struct blx_error *err);

/* Remembers what a failed call of the writer means, and returns `rc`. */
int dispatcher_session_store_result(struct dispatcher_session *session, int rc);

/* JOIN -> CERTIFICATE, for a peer without a certificate: all there is to its connection. */
int dispatcher_session_join(struct dispatcher_session *session, struct blx_error *err);

/* RENEW -> CERTIFICATE or RENEW_FAILED. */
int dispatcher_session_renew(struct dispatcher_session *session,
                             const struct blx_request_message *request, struct blx_error *err);

/* VOLUME -> VOLUME_STATE for each volume. */
int dispatcher_session_volumes(struct dispatcher_session *session, struct blx_error *err);

/* DIGEST_REQUEST -> DIGESTS. */
int dispatcher_session_digest(struct dispatcher_session *session,
                              const struct blx_digest_request *request, struct blx_error *err);

/* The rescan is over; or there was none. */
void dispatcher_session_close_image(struct dispatcher_session *session);

/* Everything after: 0 when the agent has said GOODBYE. */
int dispatcher_session_follow(struct dispatcher_session *session, struct blx_error *err);
