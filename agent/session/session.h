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
    /* Written by the control thread before the other two run; constant while they do. */
    struct agent *agent;
    struct blx_conn *conn;      /* owned; has locks of its own */
    struct blx_welcome welcome; /* as it came: a policy changes `sync_freq_ms` below */
    pthread_t sender, receiver;

    /* The control thread's alone. */
    uint64_t seen_events; /* completions counted at its last look */
    struct agent_session_pace pace;
    struct evp_pkey_st *new_key; /* of the RENEW under way, or NULL; owned */
    uint64_t last_question;      /* number of the last digest request */

    /* The sender's alone. */
    uint64_t told_status_ns; /* when the last STATUS was due */

    /* Guarded by agent->lock, and so are the volumes' next_seq, acked_seq and last_checkpoint
     * (volume.h). In brackets: the threads that write it. No field is read without the lock unless
     * its comment says by whom. */
    int rc;                 /* 0 while it lives, otherwise why it ended [all] */
    struct blx_error error; /* [all] */
    bool closing;           /* no more jobs will come: the sender may end [control] */
    bool sender_done;       /* and has said GOODBYE where it could [sender] */
    struct agent_unacked
        unacked;             /* [sender adds, receiver settles; control when both have ended] */
    uint64_t jobs_submitted; /* [control] */
    uint64_t jobs_handled;   /* [sender] */
    uint64_t read_failures;  /* jobs that failed as a whole; their blocks are pending [sender] */
    uint64_t sync_freq_ms;   /* how often checkpoints are asked for [handshake, receiver] */
    uint64_t request;        /* a checkpoint that was asked for and not begun; 0: none [receiver,
                             * control] */
    uint64_t committing;     /* CHECKPOINT was sent, DONE has not come; 0: none [control,
                             * receiver] */
    bool ping_asked;         /* by the dispatcher: is anybody there? [receiver, sender] */
    bool rescan_asked;       /* by the dispatcher, and not begun [receiver, control] */
    char rescan_reason[BLX_TEXT_BYTES];         /* [receiver] */
    bool renewal_answered;                      /* [receiver, control] */
    struct blx_certificate_message certificate; /* the answer; empty where it is why not
                                                 * [receiver] */
    char renewal_reason[BLX_TEXT_BYTES];        /* [receiver] */
    struct agent_session_answer answers[AGENT_SESSION_QUESTIONS]; /* [control takes and frees a
                                                                   * place, receiver fills it] */
    struct blx_status status; /* what the sender tells the dispatcher [control, which reads it
                               * without the lock] */
    bool status_news;         /* [control, sender] */
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

/* The same as an errno: 0, the session's own, -ECANCELED, -ERESTART. */
int agent_session_end_locked(const struct agent_session *session, struct blx_error *err);

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
