/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session: one connection to the dispatcher, and what its threads share.
 *
 * - The control thread (control.h) marks, claims and cuts, and pushes jobs into the pipeline.
 * - The sender numbers and sends packed frames and keeps within the window; PING and STATUS in
 *   between.
 * - The receiver takes acknowledgements, requests, digests and errors.
 *
 * When a session ends, for whatever reason, what was in flight becomes pending again; the marks
 * live in the ledger and the kernel.
 *
 * Threads: fields say who uses them; `agent->lock` guards the block that says so.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/agent.h"
#include "agent/send/unacked.h"
#include "wire/conn.h"

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
    struct agent *agent;
    struct blx_conn *conn;
    struct blx_welcome welcome;
    pthread_t sender, receiver;
    uint64_t seen_events;           /* the control thread's: completions counted at its last look */
    struct agent_session_pace pace; /* the control thread's */
    struct evp_pkey_st *new_key;    /* of the RENEW under way, or NULL; the control thread's */
    uint64_t last_question;         /* number of the last digest request; the control thread's */
    uint64_t told_status_ns;        /* when the last STATUS was due; the sender's */

    /* Guarded by agent->lock. */
    int rc; /* 0 while it lives, otherwise why it ended */
    struct blx_error error;
    bool closing;     /* no more jobs will come: the sender may end */
    bool sender_done; /* and has said GOODBYE where it could */
    struct agent_unacked unacked;
    uint64_t jobs_submitted, jobs_handled;
    uint64_t read_failures; /* jobs that failed as a whole; their blocks are pending */
    uint64_t request;       /* a checkpoint that was asked for and not begun; 0: none */
    uint64_t committing;    /* CHECKPOINT was sent, DONE has not come; 0: none */
    bool ping_asked;        /* by the dispatcher: is anybody there? */
    bool rescan_asked;      /* by the dispatcher, and not begun */
    char rescan_reason[BLX_TEXT_BYTES];
    bool renewal_answered;
    struct blx_certificate_message certificate; /* the answer; empty where it is why not */
    char renewal_reason[BLX_TEXT_BYTES];
    struct agent_session_answer answers[AGENT_SESSION_QUESTIONS];
    struct blx_status status; /* what the sender tells the dispatcher */
    bool status_news;
};

/* Starts the sender and the receiver, after the handshake. On failure neither runs. */
int agent_session_start(struct agent_session *session, struct blx_error *err);

/* Ends both. The sender hands the jobs that are still under way back, and says GOODBYE on a
 * connection that lives; one that does not take it in time is cut. */
void agent_session_stop(struct agent_session *session);

/* Ends the session with the reason: the first one counts. Wakes everybody. */
void agent_session_fail(struct agent_session *session, int rc, const struct blx_error *error);

/* True until the session has failed, the agent stops or another session is to begin. */
bool agent_session_alive(struct agent_session *session);

/* The same as an errno, with the agent's lock held: 0, the session's own, -ECANCELED, -ERESTART. */
int agent_session_end(const struct agent_session *session, struct blx_error *err);

/* Waits until every submitted job was handed to the socket; with `durable` also until all of it was
 * acknowledged. The session's rc. */
int agent_session_drain(struct agent_session *session, bool durable, struct blx_error *err);

/* A free job of the pipeline; NULL where the session ends while all of them are under way. */
struct agent_job *agent_session_take_job(struct agent_session *session);

/* Hands a filled job to the pipeline. */
void agent_session_submit(struct agent_session *session, struct agent_job *job);

/* For the status line of the dispatcher. */
void agent_session_set_state(struct agent_session *session, enum blx_agent_state state);

/* handshake.c: HELLO to BEGIN. */
int agent_session_handshake(struct agent_session *session, struct blx_error *err);

/* sender.c and receiver.c: the threads; `arg` is the session. */
void *agent_session_sender(void *arg);
void *agent_session_receiver(void *arg);
