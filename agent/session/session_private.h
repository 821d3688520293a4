/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session: one connection to the dispatcher, and what its threads share.
 *
 * - The control thread (control.h) marks, claims and cuts, and pushes jobs into the pipeline.
 * - The sender numbers packed frames, sends them and keeps within the window. Between frames it
 *   sends PING and STATUS.
 * - The receiver takes acknowledgements, requests, digests and errors.
 *
 * When a session ends, for whatever reason, the blocks in flight become pending again. The marks
 * live in the ledger and the kernel.
 *
 * Threads: agent->lock (agent.h) guards what the receiver, the sender and the control thread share.
 * Each block of fields names its lock, the threads that write it, and those that may read it
 * without the lock. Functions that end in _locked expect the lock to be held.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/agent.h"
#include "agent/send/unacked.h"
#include "wire/conn.h"

/*
 * The states of a session. Asserts see to it that there are no other transitions:
 *
 *     GREETING --start--> LIVE ------stop----> CLOSING ---------left---> ENDED
 *                          |                      |                       ^
 *                         fail                   fail                     |
 *                          v                      v                       |
 *                       FAILED -----stop--> CLOSING_FAILED -----left------+
 *
 *     start   the control thread, before it starts the other two
 *     fail    whichever thread notices first; later failures change nothing
 *     stop    the control thread, when it submits no more jobs
 *     left    the sender, as the last thing that it does
 */
enum agent_session_state {
    AGENT_SESSION_GREETING, /* HELLO to BEGIN; the control thread is alone */
    AGENT_SESSION_LIVE,     /* frames are sent */
    AGENT_SESSION_FAILED,   /* the connection is cut; `rc` and `error` say why. The sender takes the
                             * jobs out of the pipeline and sends none of them */
    AGENT_SESSION_CLOSING,  /* the sender drops the jobs that are left, then says GOODBYE */
    AGENT_SESSION_CLOSING_FAILED, /* as CLOSING, but nobody listens to a GOODBYE */
    AGENT_SESSION_ENDED,          /* the sender has left the session */
};

/*
 * The renewal of the certificate (renewal_private.h):
 *
 *     NONE --RENEW is sent--> ASKED --CERTIFICATE----> GRANTED --settled--> NONE
 *                             ASKED --RENEW_FAILED---> REFUSED --settled--> NONE
 *
 * The control thread asks and settles, the receiver takes the answer. One that nobody has asked for
 * is ignored.
 */
enum agent_renewal {
    AGENT_RENEWAL_NONE,
    AGENT_RENEWAL_ASKED,
    AGENT_RENEWAL_GRANTED, /* `certificate` is there */
    AGENT_RENEWAL_REFUSED, /* `renewal_reason` is there */
};

enum { AGENT_SESSION_QUESTIONS = 8 }; /* digest requests without an answer, at most */

/* A place for the answer to a digest request. */
struct agent_session_answer {
    uint64_t request; /* 0: the place is free */
    bool is_here;
    struct blx_digests digests;
};

/* Since when the running pass is measured, for the time that it still takes. */
struct agent_session_pace {
    enum blx_agent_state state;
    uint64_t total_bytes;
    uint64_t begun_bytes;
    uint64_t begun_ns;
};

struct agent_session {
    /* Written by the control thread before the other two run, constant while they do. Any of them
     * may read it. */
    struct agent *agent;
    struct blx_conn *conn;      /* owned; has locks of its own */
    struct blx_welcome welcome; /* as it came: a policy changes `sync_freq_ms` below */
    bool knows_checkpoint;      /* the welcome's is this agent's, says a volume that goes on */
    pthread_t sender, receiver;

    /* The control thread's alone. */
    uint64_t seen_events; /* completions counted at its last look */
    struct agent_session_pace pace;
    struct evp_pkey_st *new_key;            /* of the RENEW under way, or NULL; owned */
    struct blx_authority_message authority; /* that it was told of and takes; ca_bytes 0: none */
    bool authority_wants_renewal;           /* the credentials do not fit it yet */
    bool handover_wants_renewal;            /* the old machine has these credentials, too */
    uint64_t last_question;                 /* number of the last digest request */
    bool rescan_is_held;                    /* one was ordered, and too many were begun lately */
    uint64_t held_request; /* of a checkpoint that cannot begin yet; 0: none (apart_private.h) */
    uint64_t apart; /* a bit, 1 << index, for each volume that the running checkpoint lacks */
    uint64_t apart_since_ns;
    uint64_t share_ends_ns; /* until then it is the turn of the passes; 0: it is not */
    struct agent_device in_step[BLX_MAX_VOLUMES]; /* copies of the other ones' devices */
    size_t in_step_count;

    /* The sender's alone. */
    uint64_t told_status_ns; /* when the last STATUS was due */

    /*
     * All fields from here on are guarded by agent->lock, and so are the volumes' next_seq,
     * acked_seq and last_checkpoint (track/volume.h, track/ledger.h). Nobody reads them without it,
     * except `status`.
     */

    /* Written by any of the threads. */
    enum agent_session_state state;
    int rc;                 /* of the failure; 0: none yet */
    struct blx_error error; /* of the failure */

    /* The sender adds, the receiver settles. The control thread forgets the rest after both
     * ended. */
    struct agent_unacked unacked;

    /* Written by the sender. */
    uint64_t jobs_handled;
    uint64_t read_failures; /* jobs that failed as a whole; their blocks are pending */

    /* Written by the control thread. */
    uint64_t jobs_submitted;
    struct blx_status status; /* for the dispatcher; the control thread reads it without the lock */

    /* Set by the control thread, cleared by the sender. */
    bool status_is_new;

    /* Set by the receiver, cleared by the sender. */
    bool wants_ping; /* the dispatcher asks whether anybody is there */

    /* Written by the handshake, then by the receiver. */
    uint64_t sync_freq_ms; /* how often checkpoints are asked for */

    /* Set by the receiver, cleared by the control thread. */
    uint64_t request;  /* of a checkpoint that has not begun; 0: none */
    bool wants_rescan; /* the dispatcher asks for one, and it has not begun */
    char rescan_reason[BLX_TEXT_BYTES];

    /* Set by the control thread, cleared by the receiver. */
    uint64_t committing; /* CHECKPOINT was sent for this request, DONE has not come; 0: none */

    bool has_stored; /* something was acknowledged as durable; set by the receiver */

    /* The control thread takes a place and frees it, the receiver fills it. */
    struct agent_session_answer answers[AGENT_SESSION_QUESTIONS];

    /* As the drawing says. */
    enum agent_renewal renewal;
    struct blx_certificate_message certificate;
    char renewal_reason[BLX_TEXT_BYTES];

    /* Set by the receiver; the control thread takes it and clears the flag. */
    struct blx_authority_message told;
    bool told_is_new;
    bool handover_is_new; /* the dispatcher says that this machine has restored the agent */
};

/* GREETING to LIVE, after the handshake: starts the sender and the receiver. On failure neither
 * runs. */
int agent_session_start(struct agent_session *session, struct blx_error *err);

/* Ends both. The sender gives the jobs that are still under way back, and says GOODBYE if the
 * connection lives. One that does not take it in time is cut. */
void agent_session_stop(struct agent_session *session);

/* Ends the session with this reason, if it has none yet. Wakes everybody. */
void agent_session_fail(struct agent_session *session, int rc, const struct blx_error *error);

/* The sender's last word: ENDED. */
void agent_session_leave(struct agent_session *session);

/* True until the session has failed, the agent stops or another session is to begin. */
bool agent_session_is_alive(struct agent_session *session);

/* The same as an errno: 0, the failure's, -ECANCELED (the agent stops), -ERESTART (another session
 * is to begin). */
int agent_session_check_locked(const struct agent_session *session, struct blx_error *err);

enum agent_drain {
    AGENT_DRAIN_SENT,    /* until every submitted job was handed to the socket */
    AGENT_DRAIN_DURABLE, /* and until all of it was acknowledged */
};

/* Waits. 0, or why the session ended. */
int agent_session_drain(struct agent_session *session, enum agent_drain until,
                        struct blx_error *err);

/* A free job of the pipeline. NULL if the session ends while all of them are under way. */
struct agent_job *agent_session_take_job(struct agent_session *session);

/* Hands a filled job to the pipeline. */
void agent_session_submit(struct agent_session *session, struct agent_job *job);

/* Measures what the dispatcher's status shows of this agent; `state` is what it is doing. The
 * sender sends it when it is due. */
void agent_session_update_status(struct agent_session *session, enum blx_agent_state state);

/* Measures the same for agent/self.h while there is no session. The main thread's. */
void agent_session_tell_absence(struct agent *agent);

/* handshake.c: HELLO to BEGIN. */
int agent_session_handshake(struct agent_session *session, struct blx_error *err);

/* sender.c and receiver.c: the threads; `arg` is the session. */
void *agent_session_sender(void *arg);
void *agent_session_receiver(void *arg);
