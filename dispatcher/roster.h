/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The facts about every agent, connected or not, since the dispatcher's start: its last checkpoint,
 * when its session ended, and counts. The registry knows which agents are connected and what they
 * report about themselves; dispatcher_overview_take() puts both together.
 *
 * A record is made when its agent is first seen and lives until dispatcher_roster_done(), so that a
 * session may keep a pointer to its own.
 *
 * Threads: any. `lock` guards the list and everything in a record except its ID. It is a leaf:
 * nobody takes another lock, blocks or logs while holding it. Times are blx_clock_ns().
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/bucket.h"
#include "dispatcher/meter.h"
#include "store/quota.h"
#include "store/receive/agent_tail.h"
#include "store/checkpoint/manifest.h"
#include "store/store.h"
#include "wire/message.h"

/* What was found of an agent that should not be there, or is no longer there. */
enum dispatcher_finding {
    DISPATCHER_FINDING_DAMAGE,
    DISPATCHER_FINDING_HISTORY_GONE, /* the newest checkpoints */
    DISPATCHER_FINDING_OUTSIDER,     /* a machine that may not be this agent any more */
};
enum { DISPATCHER_FINDINGS = DISPATCHER_FINDING_OUTSIDER + 1 };

/* What costs the dispatcher something whenever an agent likes. Each has a bucket, in whatever
 * sessions; none is so small that an honest agent finds it empty. */
enum dispatcher_allowance {
    DISPATCHER_ALLOW_SESSION, /* to begin one */
    DISPATCHER_ALLOW_RENEWAL, /* of its certificate */
    DISPATCHER_ALLOW_RENEWED, /* to tell by which CA its certificate is */
    DISPATCHER_ALLOW_IMAGE,   /* to have a stored image opened, for digests */
    DISPATCHER_ALLOW_BEGIN,   /* to begin another pass of a volume, in one session */
    DISPATCHER_ALLOW_LINE,    /* to cause a line in the log */
    DISPATCHER_ALLOW_ANSWER, /* to have questions answered for DISPATCHER_ANSWER_MS, at full pace */
};
enum {
    DISPATCHER_ALLOWANCES = DISPATCHER_ALLOW_ANSWER + 1,
    DISPATCHER_ALLOWED_RENEWALS = 4,
    DISPATCHER_ALLOWED_SESSIONS = 60,
    DISPATCHER_ALLOWED_SESSION_MS = 2000,    /* another one in each of these times */
    DISPATCHER_ANSWER_MS = 10,               /* of a processor */
    DISPATCHER_ALLOWED_ANSWERS_S = 4 * 3600, /* reading and unpacking 6 TB takes so long */
};

struct dispatcher_findings {
    uint64_t count;            /* since the dispatcher's start */
    char text[BLX_TEXT_BYTES]; /* of the last one; "": there was none */
};

/* Machines with the agent's credentials that were refused, as its name went to another one. */
struct dispatcher_outsiders {
    uint64_t count; /* of their tries, since the dispatcher's start */
    uint64_t last_ns;
    char peer[BLX_TEXT_BYTES]; /* of the last one */
};

struct dispatcher_roster_record {
    /* Guarded by the roster's lock. `next` is written once, before the record is in the list. */
    struct dispatcher_roster_record *next;
    bool loaded; /* the last checkpoint was looked up in the store, or committed since */

    /* Guarded by the roster's lock, written by the agent's session. */
    struct blx_agent_tail *tail; /* owned; of the last session's store, or NULL */
    struct blx_bucket buckets[DISPATCHER_ALLOWANCES];
    uint64_t answer_ns;         /* of a processor, since the last DISPATCHER_ALLOW_ANSWER */
    uint64_t day;               /* UTC, of day_bytes */
    uint64_t day_bytes;         /* frames that came on that day, in whatever sessions */
    uint64_t left_ns;           /* when the last session ended; 0: none has */
    uint64_t best_done_bytes;   /* of the first sync, by the last STATUS of `sync_bytes` */
    uint64_t sync_bytes;        /* its size */
    uint64_t progressed_ns;     /* when best_done_bytes grew last, without the time away; 0: no
                                    STATUS came yet */
    struct blx_trouble trouble; /* that ended the last session; NONE once data was stored again */
    struct dispatcher_meter meter;

    /* Guarded by the roster's lock, written by the thread that looks the last checkpoint up. */
    struct blx_trouble unread; /* why it cannot be read */

    /* Guarded by the roster's lock, written by any thread that finds something. */
    struct dispatcher_findings findings[DISPATCHER_FINDINGS];
    struct dispatcher_outsiders outsiders;

    /* Guarded by the roster's lock, written by the agent's session and by the first thread that
     * looks. `facts.agent_id` is constant. Fields that only the registry knows are left empty. */
    struct blx_control_agent facts;
};

struct dispatcher_roster {
    pthread_mutex_t lock;
    uint64_t started_ns; /* constant, so any thread reads it without the lock */
    struct dispatcher_roster_record *records; /* guarded by `lock`; records only come */
    struct blx_trouble store_trouble;         /* guarded by `lock`; as of the last look */
};

void dispatcher_roster_init(struct dispatcher_roster *roster);

/* No session may be left. */
void dispatcher_roster_done(struct dispatcher_roster *roster);

/* The tail that the agent's last session left for the next one's writer. The caller owns it; NULL:
 * there is none. */
struct blx_agent_tail *dispatcher_roster_take_tail(struct dispatcher_roster *roster,
                                                   const char *agent_id);

/* A session of `agent_id` begins. Waits for the disk. -ENOMEM. */
int dispatcher_roster_enter(struct dispatcher_roster *roster, const struct blx_store *store,
                            const char *agent_id, struct dispatcher_roster_record **record,
                            struct blx_error *err);

/* The session reports. Volumes come in order from number 0; their sizes are added up. */
void dispatcher_roster_add_volume(struct dispatcher_roster *roster,
                                  struct dispatcher_roster_record *record, uint32_t volume,
                                  uint64_t size_bytes);
void dispatcher_roster_add_received(struct dispatcher_roster *roster,
                                    struct dispatcher_roster_record *record, uint64_t frame_bytes);
void dispatcher_roster_note_commit(struct dispatcher_roster *roster,
                                   struct dispatcher_roster_record *record,
                                   const struct blx_manifest *manifest);
void dispatcher_roster_note_clock(struct dispatcher_roster *roster,
                                  struct dispatcher_roster_record *record, int64_t offset_ms);
void dispatcher_roster_note_failure(struct dispatcher_roster *roster,
                                    struct dispatcher_roster_record *record, const char *reason);

/* The store's newest checkpoint of the agent, as a session finds it: timestamp 0 if there is none.
 * If it is older than the one that is known, people or the disk took the history away: true, and
 * `text` tells it. */
bool dispatcher_roster_note_history(struct dispatcher_roster *roster,
                                    struct dispatcher_roster_record *record,
                                    const struct blx_manifest *newest, char text[BLX_TEXT_BYTES]);

/* Whether the agent may have that now; then it counts. If so, `held_back` becomes how often it was
 * refused since the last time that it was not. */
bool dispatcher_roster_allow(struct dispatcher_roster *roster,
                             struct dispatcher_roster_record *record,
                             enum dispatcher_allowance allowance, uint64_t now_ns,
                             unsigned *held_back);

/* Its questions have taken a processor for `cost_ns` more. Whether DISPATCHER_ALLOW_ANSWER allows
 * that, over all sessions. What one session leaves over counts in the next. */
bool dispatcher_roster_allow_answer(struct dispatcher_roster *roster,
                                    struct dispatcher_roster_record *record, uint64_t cost_ns,
                                    uint64_t now_ns);

/* Counts frames' bytes of the UTC day number `day`, and tells how many came on it since the
 * dispatcher's start. */
uint64_t dispatcher_roster_add_day(struct dispatcher_roster *roster,
                                   struct dispatcher_roster_record *record, uint64_t day,
                                   uint64_t bytes);
uint64_t dispatcher_roster_read_day(struct dispatcher_roster *roster,
                                    struct dispatcher_roster_record *record, uint64_t day);

/* Where its rescan stands in the queue; 0: it does not wait. */
void dispatcher_roster_note_turn(struct dispatcher_roster *roster,
                                 struct dispatcher_roster_record *record, uint32_t place);

/* How much of its quota the agent uses. */
void dispatcher_roster_note_quota(struct dispatcher_roster *roster,
                                  struct dispatcher_roster_record *record,
                                  enum blx_quota_state state, const char *text);

/* When the agent's certificate expires, in seconds since 1970; 0: it has got a newer one, which its
 * next session shows. */
void dispatcher_roster_note_certificate(struct dispatcher_roster *roster,
                                        struct dispatcher_roster_record *record, uint64_t ends_s);

/* Whether the agent encrypts as its policy demands. */
enum dispatcher_roster_encryption {
    DISPATCHER_ROSTER_ENCRYPTION_FITS,
    DISPATCHER_ROSTER_ENCRYPTION_LACKS,
};
void dispatcher_roster_note_encryption(struct dispatcher_roster *roster,
                                       struct dispatcher_roster_record *record,
                                       enum dispatcher_roster_encryption encryption);

/* The agent has reported about itself: its first sync may have made progress. */
void dispatcher_roster_note_status(struct dispatcher_roster *roster,
                                   struct dispatcher_roster_record *record,
                                   const struct blx_status *status);

/* The store failed with `rc`, so the session ends. */
void dispatcher_roster_note_trouble(struct dispatcher_roster *roster,
                                    struct dispatcher_roster_record *record, int rc,
                                    const char *reason);

/* The store took something of the agent again. */
void dispatcher_roster_note_stored(struct dispatcher_roster *roster,
                                   struct dispatcher_roster_record *record);

/* The store's trouble as it is now. Its `since` is filled: trouble of the same kind goes on. */
void dispatcher_roster_note_store(struct dispatcher_roster *roster, struct blx_trouble *trouble);
void dispatcher_roster_note_rescan(struct dispatcher_roster *roster,
                                   struct dispatcher_roster_record *record);

/* The session ends and leaves `tail`, which is taken over in any case. `record` is NULL if the
 * session had not entered. */
void dispatcher_roster_leave(struct dispatcher_roster *roster,
                             struct dispatcher_roster_record *record, struct blx_agent_tail *tail);

/* Data of `agent_id` was removed from the store by hand: what is known of its checkpoints is looked
 * up again. */
void dispatcher_roster_forget(struct dispatcher_roster *roster, const char *agent_id);

/* Stored data of `agent_id` was found damaged. Waits for the disk. -ENOMEM. */
int dispatcher_roster_note_damage(struct dispatcher_roster *roster, const struct blx_store *store,
                                  const char *agent_id, const char *text, struct blx_error *err);

/* A machine was refused because the agent's name went to another one. It is a finding once an hour.
 */
void dispatcher_roster_note_outsider(struct dispatcher_roster *roster, const char *agent_id,
                                     const char *peer);

/* All zero: there was none. */
struct dispatcher_outsiders dispatcher_roster_read_outsiders(struct dispatcher_roster *roster,
                                                             const char *agent_id);

/*
 * What keeps the pruner from removing checkpoints of `agent_id`; "": nothing. True if that is news.
 * An agent that is not known here is passed over.
 */
bool dispatcher_roster_hold(struct dispatcher_roster *roster, const char *agent_id,
                            const char *text);

/* The IDs of all agents that were seen since the start, sorted, for a store that cannot be listed
 * now; free them with blx_store_free_agents(). -ENOMEM. */
int dispatcher_roster_list(struct dispatcher_roster *roster, char ***agent_ids, size_t *count,
                           struct blx_error *err);

/* All zero for an agent that is not known here. */
struct dispatcher_findings dispatcher_roster_read_findings(struct dispatcher_roster *roster,
                                                           const char *agent_id,
                                                           enum dispatcher_finding finding);

/*
 * Fills `agent` as if it were offline: with everything except the facts of a live session, which
 * dispatcher_registry_describe() adds. Waits for the disk the first time. If the last checkpoint
 * cannot be read, the trouble says why.
 */
int dispatcher_roster_describe(struct dispatcher_roster *roster, const struct blx_store *store,
                               const char *agent_id, struct blx_control_agent *agent,
                               struct blx_error *err);
