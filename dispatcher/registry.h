/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections, each from its accept to its end; the sessions among them; the checkpoint
 * requests and the clients that wait for one.
 *
 * An entry is a part of its session's struct. It is linked from dispatcher_registry_connect(),
 * which the accepting thread calls, to dispatcher_registry_leave(), which the session's own thread
 * calls. Only the session's thread sends to an agent. Other threads leave it an order (send a
 * request, end) and wake it through `wake_fd`, so that an agent that reads nothing holds up nobody
 * else.
 *
 * Requests. An agent has at most one request in its hands (`sent`). If another one is asked for
 * meanwhile it is `queued` and sent afterwards: its cut is then later than the request, as
 * everybody expects that makes one. Several callers that ask meanwhile share it.
 *
 * Locks: `lock` guards the lists, everything in an entry that is not said to be constant or atomic,
 * and everything in a waiter that is linked. It is a leaf: nobody takes another lock, blocks or
 * logs while holding it. `changed` is signalled when an entry comes, gets ready or leaves, a
 * request ends, or the registry stops; the scheduler, the pruner, the rewriter and a session that
 * takes over wait for it. A function that ends in _locked is called with `lock` held.
 *
 * Threads: any, unless a function says "the session": that is the thread of the entry's session.
 * Times are blx_clock_ns().
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/name.h"
#include "base/timestamp.h"
#include "dispatcher/meter.h"
#include "dispatcher/places.h"
#include "wire/message.h"

enum {
    DISPATCHER_REGISTRY_TAKEOVER_MS = 5 * 1000,
    DISPATCHER_REGISTRY_RESTORES = 8, /* machines that restore at a time */
    DISPATCHER_REGISTRY_CLAIMS = 4,   /* connections of one agent that wait to be its session */
    DISPATCHER_REGISTRY_REFUSED = 64, /* doubles that are remembered; the oldest is replaced */
};

/* The reason for an order to end. */
enum dispatcher_registry_ending {
    DISPATCHER_ENDING_NONE = 0,
    DISPATCHER_ENDING_TAKEN_OVER, /* another session of the agent is there */
    DISPATCHER_ENDING_STOPPING,   /* the dispatcher ends */
    DISPATCHER_ENDING_REVOKED,    /* the agent's certificate is no longer valid */
    DISPATCHER_ENDING_RENAMED,    /* it may come back, and has another name then */
    DISPATCHER_ENDING_MOVED,      /* it is to go to another dispatcher of the data directory */
};

/* Whether an agent must still show that it runs on the machine that has its name
 * (lib/tls/handover.h). */
enum dispatcher_registry_proof {
    DISPATCHER_PROOF_GIVEN = 0, /* or none is asked for */
    DISPATCHER_PROOF_OWED,      /* it gives way to any other process of the agent */
};

/* When the scheduler asks this agent next. Guarded by the registry's lock. The scheduler writes
 * `due_ns` and `skipping`; the session writes `period_ns` and sets the other two back. */
struct dispatcher_registry_beat {
    uint64_t period_ns; /* the agent's sync-freq; 0: not known yet */
    uint64_t due_ns;    /* 0: not worked out yet */
    bool skipping;      /* a beat was skipped since the last request ended */
};

/* The turns of a chore for this agent. Guarded by the registry's lock; the chore writes it, and
 * the other chores may read it. */
struct dispatcher_registry_turn {
    bool done;            /* the last turn left nothing over */
    blx_timestamp reason; /* the checkpoint that led to the last turn that did; 0: none */
    uint64_t next_ns;     /* not before */
};

/* What a connection that is not live has shown. */
enum dispatcher_registry_claim {
    DISPATCHER_CLAIM_NONE = 0,  /* nothing: it holds one of the places (places.h) */
    DISPATCHER_CLAIM_VALID,     /* the valid certificate of an agent */
    DISPATCHER_CLAIM_RESTORE,   /* a token that lets it restore: `instance` is the token's */
    DISPATCHER_CLAIM_DISPLACED, /* nothing, and it has lost its place: it is being cut */
};

/* How far a machine that restores is. Guarded by the registry's lock. */
struct dispatcher_registry_restore {
    struct blx_control_restore facts; /* without what passes by itself: the rate and the times */
    uint64_t begun_ns;                /* when this volume's first window of the connection was */
    uint64_t begun_bytes;             /* planned, and where in the volume that was */
    struct dispatcher_meter meter;
};

struct dispatcher_registry_waiter;

struct dispatcher_registry_entry {
    /* Constant while linked, so any thread that holds the lock and found the entry reads them, and
     * the session reads them without. Filled before dispatcher_registry_connect(). */
    int socket_fd; /* for shutdown() only */
    int wake_fd;   /* an eventfd, non-blocking */
    uint64_t connected_ns;
    uint64_t source; /* dispatcher_address_source() of the peer */
    char peer[BLX_TEXT_BYTES];

    /* Constant once `live` is set; other threads look at `live` first. The session fills
     * `volume_count` and `instance` before dispatcher_registry_enter(), which fills `agent_id`. */
    char agent_id[BLX_NAME_BYTES];
    uint32_t volume_count;
    struct blx_generation instance;

    /* Atomic, read by any thread without the lock. */
    atomic_bool has_orders; /* set with the lock held, by whoever leaves an order; cleared by
                               dispatcher_registry_take_orders() */
    atomic_uint_least64_t frame_bytes; /* received in this session; only the session adds */

    /* Guarded by the registry's lock, written by dispatcher_registry_connect() and _leave(). */
    struct dispatcher_registry_entry *next;

    /* Guarded by the registry's lock. dispatcher_registry_claim() writes both, for the session; a
     * newcomer that takes its place writes `claim`. */
    enum dispatcher_registry_claim claim;
    char claimed_id[BLX_NAME_BYTES];

    /* Guarded by the registry's lock, written by the session of a machine that restores; or NULL.
     * What it points to is the session's, and guarded too. */
    struct dispatcher_registry_restore *restore;

    /* Guarded by the registry's lock, written by the session. */
    bool live;      /* past dispatcher_registry_enter() */
    bool ready;     /* every volume has begun: requests may be sent */
    bool full_pass; /* or a rescan, which may take as long */
    bool paused;    /* it gets no requests */
    enum dispatcher_registry_proof proof;
    struct blx_status status;
    blx_timestamp last_checkpoint;
    blx_timestamp last_time; /* when it was cut: what is due goes by this */

    /* Guarded by the registry's lock. Orders: any thread sets them, the session takes them. */
    bool rescan;    /* was asked for, and the agent has not been told */
    bool policy;    /* its policy or its pause may have changed, and it has not been told */
    bool authority; /* the dispatcher's CA may have changed, and it has not been told */
    bool ping;      /* somebody wants to know whether the agent lives */
    enum dispatcher_registry_ending ending; /* set once, never taken back */
    uint64_t queued_request;                /* 0: none */

    /* Guarded by the registry's lock. The session writes `sent_request`. The other two are also
     * written by a thread that asks: it queues the request, and links its waiter. */
    uint64_t sent_request; /* 0: none */
    uint64_t asked_ns;     /* of the request that is sent, otherwise of the queued one */
    struct dispatcher_registry_waiter *waiters;

    struct dispatcher_registry_beat beat;
    struct dispatcher_registry_turn prune;
    struct dispatcher_registry_turn rewrite;
};

/* A caller that waits for a checkpoint. The memory is the waiting thread's; `event_fd` becomes
 * readable when the request is over. */
struct dispatcher_registry_waiter {
    int event_fd;     /* constant; the waiting thread reads it without the lock */
    uint64_t request; /* constant while linked */

    /* Guarded by the registry's lock. Whoever finishes or unlinks the waiter writes them. */
    struct dispatcher_registry_waiter *next;
    struct dispatcher_registry_entry *entry; /* NULL: finished, not linked */
    struct blx_control_done outcome; /* valid once it is finished, and constant from then on */
};

/* An agent's process that connected while another one with the same credentials lived. */
struct dispatcher_registry_double {
    char agent_id[BLX_NAME_BYTES];
    struct blx_generation instance;
};

struct dispatcher_registry {
    pthread_mutex_t lock;
    pthread_cond_t changed;

    /* Constant once threads use the registry. */
    uint64_t takeover_ms; /* how long an older session may take to show that it lives, to end by
                             itself, and then by force */

    /* Guarded by `lock`. */
    struct dispatcher_registry_entry *entries;
    unsigned pending; /* entries that hold a place: not live, and nothing is claimed */
    struct dispatcher_places places;
    bool stopping;         /* set once, by main() */
    uint64_t last_request; /* numbers ascend */
    struct dispatcher_registry_double refused[DISPATCHER_REGISTRY_REFUSED]; /* a ring */
    size_t refused_count;                                                   /* since the start */
};

/* At most `pending_limit` connections that have not identified themselves, and `source_limit` of
 * one source. */
int dispatcher_registry_init(struct dispatcher_registry *registry, unsigned pending_limit,
                             unsigned source_limit);
void dispatcher_registry_done(struct dispatcher_registry *registry);

/* Links the entry as a connection that has not identified itself yet. -EAGAIN at the limit of
 * those; -ESHUTDOWN. */
int dispatcher_registry_connect(struct dispatcher_registry *registry,
                                struct dispatcher_registry_entry *entry, struct blx_error *err);

/* The session: the peer has shown the valid certificate of `agent_id`, and gives its place free.
 * -EAGAIN: it has lost its place, or too many connections of this agent wait already. */
int dispatcher_registry_claim(struct dispatcher_registry *registry,
                              struct dispatcher_registry_entry *entry, const char *agent_id,
                              struct blx_error *err);

/*
 * The session: the peer has shown a token that lets it restore `agent_id`, and gives its place
 * free. entry->instance is the token's: an older connection with the same token is told to end, and
 * cut. -EAGAIN: it has lost its place, or DISPATCHER_REGISTRY_RESTORES others restore.
 */
int dispatcher_registry_admit_restore(struct dispatcher_registry *registry,
                                      struct dispatcher_registry_entry *entry, const char *agent_id,
                                      struct blx_error *err);

/* The session of a machine that restores: lists it, with facts that name the agent, the checkpoint
 * and how many volumes there are. NULL: no longer. */
void dispatcher_registry_list_restore(struct dispatcher_registry *registry,
                                      struct dispatcher_registry_entry *entry,
                                      struct dispatcher_registry_restore *restore);

/* The same: it is at this place of a volume, whose `number` counts from 1. */
struct dispatcher_registry_place {
    const char *volume;
    uint32_t number;
    uint64_t volume_bytes;
    uint64_t done_bytes;
};
void dispatcher_registry_note_place(struct dispatcher_registry *registry,
                                    struct dispatcher_registry_entry *entry,
                                    const struct dispatcher_registry_place *place);

/* The same: a frame was sent. */
void dispatcher_registry_note_sent(struct dispatcher_registry *registry,
                                   struct dispatcher_registry_entry *entry, uint64_t frame_bytes,
                                   uint64_t done_bytes);

/* The machines that restore now; how many. */
size_t dispatcher_registry_describe_restores(
    struct dispatcher_registry *registry,
    struct blx_control_restore restores[DISPATCHER_REGISTRY_RESTORES]);

/* How many connections were refused since the start that may have been an agent's. */
uint64_t dispatcher_registry_count_kept_out(struct dispatcher_registry *registry);

/*
 * The session: makes the entry the live session of `agent_id`. If the agent has another live
 * session it is told to end. If it has not left after `takeover_ms`, its socket is shut down; after
 * as long again the result is -EBUSY. -ESHUTDOWN if the dispatcher stops meanwhile.
 *
 * If the other session belongs to another process, that one is first asked for a sign of life, for
 * `takeover_ms`. If it gives one, these are two agents with one set of credentials: -EEXIST. This
 * process is then refused from now on, so that it cannot get in while the other one is away.
 */
int dispatcher_registry_enter(struct dispatcher_registry *registry,
                              struct dispatcher_registry_entry *entry, const char *agent_id,
                              struct blx_error *err);

/* The session: unlinks the entry, after it has left the store. Whoever waits for its requests fails
 * with `reason`. */
void dispatcher_registry_leave(struct dispatcher_registry *registry,
                               struct dispatcher_registry_entry *entry, const char *reason);

struct dispatcher_registry_orders {
    enum dispatcher_registry_ending ending;
    uint64_t request; /* to be sent now; 0: none */
    bool rescan;      /* tell the agent to compare everything */
    bool policy;      /* tell the agent its policy */
    bool authority;   /* tell the agent the CA */
    bool ping;        /* ask the agent for a sign of life */
};

/* The session: takes its orders, and empties wake_fd. A request handed out here counts as sent. */
void dispatcher_registry_take_orders(struct dispatcher_registry *registry,
                                     struct dispatcher_registry_entry *entry,
                                     struct dispatcher_registry_orders *orders);

/* The session: every volume has begun. `longest` is the longest of their passes. */
void dispatcher_registry_set_ready(struct dispatcher_registry *registry,
                                   struct dispatcher_registry_entry *entry, enum blx_pass longest);

/* The session: what its certificate asks of the agent, or that the agent has shown it. */
void dispatcher_registry_set_proof(struct dispatcher_registry *registry,
                                   struct dispatcher_registry_entry *entry,
                                   enum dispatcher_registry_proof proof);

/* The session: the agent has reported about itself. */
void dispatcher_registry_set_status(struct dispatcher_registry *registry,
                                    struct dispatcher_registry_entry *entry,
                                    const struct blx_status *status);

/* The session: the last committed checkpoint, as found in the store, and when it was cut. */
void dispatcher_registry_set_last_checkpoint(struct dispatcher_registry *registry,
                                             struct dispatcher_registry_entry *entry,
                                             blx_timestamp timestamp, blx_timestamp cut_time);

/* The session: the policy that holds for its agent from now on. While it is paused no request is
 * handed out, and whoever waits for one fails. */
void dispatcher_registry_set_policy(struct dispatcher_registry *registry,
                                    struct dispatcher_registry_entry *entry,
                                    const struct blx_policy_message *policy);

/* The session: whether `request` is the one in the agent's hands; since when goes to `asked_ns`. */
bool dispatcher_registry_is_sent(struct dispatcher_registry *registry,
                                 const struct dispatcher_registry_entry *entry, uint64_t request,
                                 uint64_t *asked_ns);

/*
 * The session: the request in the agent's hands is over; its waiters get `outcome`. If that is ok,
 * a full pass is over too.
 */
void dispatcher_registry_finish_request(struct dispatcher_registry *registry,
                                        struct dispatcher_registry_entry *entry,
                                        const struct blx_control_done *outcome);

/* -EBUSY, with the words for whoever asks a paused agent for something. */
int dispatcher_registry_refuse_paused(const char *agent_id, struct blx_error *err);

/*
 * Asks for a checkpoint of `agent_id` on behalf of `waiter`, whose event_fd the caller has made.
 * -ENOTCONN: no session; -EBUSY: it is paused. After 0 the caller must call
 * dispatcher_registry_unask() before the waiter's memory goes, whether it is finished or not.
 */
int dispatcher_registry_ask(struct dispatcher_registry *registry, const char *agent_id,
                            struct dispatcher_registry_waiter *waiter, struct blx_error *err);

/* Has the session of `agent_id` look at its policy and its pause again; NULL: every session. */
void dispatcher_registry_order_policy(struct dispatcher_registry *registry, const char *agent_id);

/* Has every session tell its agent the dispatcher's CA. */
void dispatcher_registry_order_authority(struct dispatcher_registry *registry);

/* Has the session tell its agent to rescan, as soon as its volumes have begun. -ENOTCONN: the next
 * session looks for the order by itself; -ESHUTDOWN. */
int dispatcher_registry_order_rescan(struct dispatcher_registry *registry, const char *agent_id,
                                     struct blx_error *err);

/*
 * Ends the agent's session, if there is one, and returns when it has left the store: at the latest
 * after twice `takeover_ms`, as in dispatcher_registry_enter(). Doubles of it may come again.
 * -EBUSY: it has not; -ESHUTDOWN.
 */
int dispatcher_registry_expel(struct dispatcher_registry *registry, const char *agent_id,
                              enum dispatcher_registry_ending ending, struct blx_error *err);

/* Waits no longer. True if the waiter had finished: then `waiter->outcome` is valid. */
bool dispatcher_registry_unask(struct dispatcher_registry *registry,
                               struct dispatcher_registry_waiter *waiter);

/* Fills the fields that only a live session of `agent_id` knows, and leaves the rest. False if
 * there is no session. */
bool dispatcher_registry_describe(struct dispatcher_registry *registry, const char *agent_id,
                                  struct blx_control_agent *agent);

/* From now on no connection is taken. Sessions are told to end, connections that have not
 * identified themselves are cut, and all waiters fail. */
void dispatcher_registry_stop(struct dispatcher_registry *registry);

/* Whether that has begun. */
bool dispatcher_registry_is_stopping(struct dispatcher_registry *registry);

/* Shuts down every socket, because some sessions did not end by themselves. */
void dispatcher_registry_cut(struct dispatcher_registry *registry);

/* Queues a request unless one is queued already, and returns its number. For the scheduler. */
uint64_t dispatcher_registry_queue_request_locked(struct dispatcher_registry *registry,
                                                  struct dispatcher_registry_entry *entry,
                                                  uint64_t now_ns);
