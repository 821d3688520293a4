/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/roster.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/text.h"
#include "store/checkpoint/manifest_file.h"
#include "store/trouble.h"
#include "wire/protection.h"

#define ANSWER_NS (DISPATCHER_ANSWER_MS * BLX_NS_PER_MS)
static const uint64_t HOUR_NS = UINT64_C(3600) * 1000000000;

void dispatcher_roster_init(struct dispatcher_roster *roster)
{
    *roster =
        (struct dispatcher_roster){.lock = PTHREAD_MUTEX_INITIALIZER, .started_ns = blx_clock_ns()};
}

void dispatcher_roster_done(struct dispatcher_roster *roster)
{
    while (roster->records != NULL) {
        struct dispatcher_roster_record *record = roster->records;
        roster->records = record->next;
        free(record->tail);
        free(record);
    }
    pthread_mutex_destroy(&roster->lock);
}

/* The agent's record, or NULL. */
static struct dispatcher_roster_record *find_locked(struct dispatcher_roster *roster,
                                                    const char *agent_id)
{
    blx_assert_held(&roster->lock);
    struct dispatcher_roster_record *record = roster->records;
    while (record != NULL && strcmp(record->facts.agent_id, agent_id) != 0)
        record = record->next;
    return record;
}

/* The agent's record, a new one if there is none; NULL: no memory. */
static struct dispatcher_roster_record *find_or_make_locked(struct dispatcher_roster *roster,
                                                            const char *agent_id)
{
    struct dispatcher_roster_record *record = find_locked(roster, agent_id);
    if (record != NULL)
        return record;
    record = calloc(1, sizeof(*record));
    if (record == NULL)
        return NULL;
    snprintf(record->facts.agent_id, sizeof(record->facts.agent_id), "%s", agent_id);
    record->next = roster->records;
    roster->records = record;
    return record;
}

/* Trouble of the same kind goes on, and keeps its beginning. */
static void set_trouble(struct blx_trouble *trouble, enum blx_trouble_kind kind, const char *text)
{
    if (kind != trouble->kind)
        trouble->since = blx_timestamp_from_unix((int64_t)(blx_clock_realtime_ns() / BLX_NS_PER_S));
    trouble->kind = kind;
    blx_text_set(trouble->text, text);
}

/* Looks up the last checkpoint, without the lock, as the disk may take its time. A checkpoint that
 * a session commits meanwhile is newer, and stays. */
static void load(struct dispatcher_roster *roster, const struct blx_store *store,
                 struct dispatcher_roster_record *record)
{
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    struct blx_error err = {0};
    blx_timestamp last = 0;
    int rc = blx_manifest_latest(blx_store_agent(store, record->facts.agent_id), &last, &err);
    if (rc == 0 && last != 0)
        rc = blx_manifest_read(blx_store_agent(store, record->facts.agent_id), last, &manifest,
                               &err);

    pthread_mutex_lock(&roster->lock);
    struct blx_control_agent *facts = &record->facts;
    if (rc < 0)
        set_trouble(&record->unread, blx_trouble_of(rc), err.message);
    else
        record->unread = (struct blx_trouble){0};
    if (rc == 0 && !record->loaded && last != 0)
        blx_manifest_tell(&manifest, facts);
    record->loaded = record->loaded || rc == 0;
    pthread_mutex_unlock(&roster->lock);
}

static int look_up(struct dispatcher_roster *roster, const struct blx_store *store,
                   const char *agent_id, struct dispatcher_roster_record **record,
                   struct blx_error *err)
{
    pthread_mutex_lock(&roster->lock);
    struct dispatcher_roster_record *found = find_or_make_locked(roster, agent_id);
    bool loaded = found != NULL && found->loaded;
    pthread_mutex_unlock(&roster->lock);
    if (found == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot keep a record of the agent '%s'", agent_id);
    if (!loaded)
        load(roster, store, found);
    *record = found;
    return 0;
}

struct blx_agent_tail *dispatcher_roster_take_tail(struct dispatcher_roster *roster,
                                                   const char *agent_id)
{
    pthread_mutex_lock(&roster->lock);
    struct dispatcher_roster_record *record = find_locked(roster, agent_id);
    struct blx_agent_tail *tail = record != NULL ? blx_take_ptr(record->tail) : NULL;
    pthread_mutex_unlock(&roster->lock);
    return tail;
}

int dispatcher_roster_enter(struct dispatcher_roster *roster, const struct blx_store *store,
                            const char *agent_id, struct dispatcher_roster_record **record,
                            struct blx_error *err)
{
    int rc = look_up(roster, store, agent_id, record, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&roster->lock);
    (*record)->facts.sessions++;
    if ((*record)->left_ns != 0 && (*record)->progressed_ns != 0)
        (*record)->progressed_ns += blx_clock_ns() - (*record)->left_ns;
    pthread_mutex_unlock(&roster->lock);
    return 0;
}

void dispatcher_roster_add_volume(struct dispatcher_roster *roster,
                                  struct dispatcher_roster_record *record, uint32_t volume,
                                  uint64_t size_bytes)
{
    pthread_mutex_lock(&roster->lock);
    record->facts.volume_bytes = (volume == 0 ? 0 : record->facts.volume_bytes) + size_bytes;
    pthread_mutex_unlock(&roster->lock);
}

void dispatcher_roster_add_received(struct dispatcher_roster *roster,
                                    struct dispatcher_roster_record *record, uint64_t frame_bytes)
{
    pthread_mutex_lock(&roster->lock);
    record->facts.total_received_bytes += frame_bytes;
    dispatcher_meter_add(&record->meter, frame_bytes, blx_clock_ns());
    pthread_mutex_unlock(&roster->lock);
}

void dispatcher_roster_note_commit(struct dispatcher_roster *roster,
                                   struct dispatcher_roster_record *record,
                                   const struct blx_manifest *manifest)
{
    pthread_mutex_lock(&roster->lock);
    struct blx_control_agent *facts = &record->facts;
    record->loaded = true;
    blx_manifest_tell(manifest, facts);
    facts->total_freeze_ns += manifest->freeze_ns;
    facts->checkpoints[manifest->consistency]++;
    facts->failure[0] = '\0';
    record->trouble = record->unread = (struct blx_trouble){0};
    pthread_mutex_unlock(&roster->lock);
}

void dispatcher_roster_note_clock(struct dispatcher_roster *roster,
                                  struct dispatcher_roster_record *record, int64_t offset_ms)
{
    pthread_mutex_lock(&roster->lock);
    record->facts.clock_offset_ms = offset_ms;
    pthread_mutex_unlock(&roster->lock);
}

void dispatcher_roster_note_failure(struct dispatcher_roster *roster,
                                    struct dispatcher_roster_record *record, const char *reason)
{
    pthread_mutex_lock(&roster->lock);
    record->facts.failed_checkpoints++;
    snprintf(record->facts.failure, sizeof(record->facts.failure), "%s", reason);
    pthread_mutex_unlock(&roster->lock);
}

static bool allow_locked(struct dispatcher_roster *roster, struct dispatcher_roster_record *record,
                         enum dispatcher_allowance allowance, uint64_t now_ns, unsigned *held_back)
{
    static const struct blx_bucket_size sizes[DISPATCHER_ALLOWANCES] = {
        [DISPATCHER_ALLOW_SESSION] = {DISPATCHER_ALLOWED_SESSIONS,
                                      DISPATCHER_ALLOWED_SESSION_MS * UINT64_C(1000000)},
        [DISPATCHER_ALLOW_RENEWAL] = {DISPATCHER_ALLOWED_RENEWALS, 900 * BLX_NS_PER_S},
        [DISPATCHER_ALLOW_RENEWED] = {16, 900 * BLX_NS_PER_S},
        [DISPATCHER_ALLOW_IMAGE] = {512, 5 * BLX_NS_PER_S},
        [DISPATCHER_ALLOW_BEGIN] = {512, 5 * BLX_NS_PER_S},
        [DISPATCHER_ALLOW_LINE] = {500, 5 * BLX_NS_PER_S},
        /* After that a tenth of a processor. */
        [DISPATCHER_ALLOW_ANSWER] = {DISPATCHER_ALLOWED_ANSWERS_S * 1000 / DISPATCHER_ANSWER_MS,
                                     10 * ANSWER_NS},
    };
    blx_assert_held(&roster->lock);
    return blx_bucket_take(&record->buckets[allowance], &sizes[allowance], now_ns, held_back);
}

bool dispatcher_roster_allow(struct dispatcher_roster *roster,
                             struct dispatcher_roster_record *record,
                             enum dispatcher_allowance allowance, uint64_t now_ns,
                             unsigned *held_back)
{
    pthread_mutex_lock(&roster->lock);
    bool allowed = allow_locked(roster, record, allowance, now_ns, held_back);
    pthread_mutex_unlock(&roster->lock);
    return allowed;
}

bool dispatcher_roster_allow_answer(struct dispatcher_roster *roster,
                                    struct dispatcher_roster_record *record, uint64_t cost_ns,
                                    uint64_t now_ns)
{
    unsigned held_back = 0;
    bool allowed = true;
    pthread_mutex_lock(&roster->lock);
    record->answer_ns += cost_ns;
    while (allowed && record->answer_ns >= ANSWER_NS) {
        allowed = allow_locked(roster, record, DISPATCHER_ALLOW_ANSWER, now_ns, &held_back);
        record->answer_ns -= allowed ? ANSWER_NS : 0;
    }
    if (!allowed) /* it pays with its rest, not with a debt */
        record->answer_ns = ANSWER_NS;
    pthread_mutex_unlock(&roster->lock);
    return allowed;
}

uint64_t dispatcher_roster_add_day(struct dispatcher_roster *roster,
                                   struct dispatcher_roster_record *record, uint64_t day,
                                   uint64_t bytes)
{
    pthread_mutex_lock(&roster->lock);
    if (record->day != day)
        record->day_bytes = 0;
    record->day = day;
    record->day_bytes += bytes;
    uint64_t day_bytes = record->day_bytes;
    pthread_mutex_unlock(&roster->lock);
    return day_bytes;
}

uint64_t dispatcher_roster_read_day(struct dispatcher_roster *roster,
                                    struct dispatcher_roster_record *record, uint64_t day)
{
    return dispatcher_roster_add_day(roster, record, day, 0);
}

void dispatcher_roster_note_quota(struct dispatcher_roster *roster,
                                  struct dispatcher_roster_record *record,
                                  enum blx_quota_state state, const char *text)
{
    pthread_mutex_lock(&roster->lock);
    record->facts.quota_state = (uint32_t)state;
    snprintf(record->facts.quota, sizeof(record->facts.quota), "%s", text);
    pthread_mutex_unlock(&roster->lock);
}

void dispatcher_roster_note_certificate(struct dispatcher_roster *roster,
                                        struct dispatcher_roster_record *record, uint64_t ends_s)
{
    pthread_mutex_lock(&roster->lock);
    record->facts.cert_ends_s = ends_s;
    pthread_mutex_unlock(&roster->lock);
}

void dispatcher_roster_note_turn(struct dispatcher_roster *roster,
                                 struct dispatcher_roster_record *record, uint32_t place)
{
    pthread_mutex_lock(&roster->lock);
    record->facts.rescan_place = place;
    pthread_mutex_unlock(&roster->lock);
}

void dispatcher_roster_note_encryption(struct dispatcher_roster *roster,
                                       struct dispatcher_roster_record *record,
                                       enum dispatcher_roster_encryption encryption)
{
    pthread_mutex_lock(&roster->lock);
    record->facts.unencrypted = encryption == DISPATCHER_ROSTER_ENCRYPTION_LACKS;
    pthread_mutex_unlock(&roster->lock);
}

void dispatcher_roster_note_status(struct dispatcher_roster *roster,
                                   struct dispatcher_roster_record *record,
                                   const struct blx_status *status)
{
    uint64_t now_ns = blx_clock_ns();
    pthread_mutex_lock(&roster->lock);
    if (record->progressed_ns == 0 || status->total_bytes != record->sync_bytes ||
        status->done_bytes > record->best_done_bytes) {
        record->progressed_ns = now_ns;
        record->sync_bytes = status->total_bytes;
        record->best_done_bytes = status->done_bytes;
    }
    pthread_mutex_unlock(&roster->lock);
}

void dispatcher_roster_note_trouble(struct dispatcher_roster *roster,
                                    struct dispatcher_roster_record *record, int rc,
                                    const char *reason)
{
    pthread_mutex_lock(&roster->lock);
    set_trouble(&record->trouble, blx_trouble_of(rc), reason);
    pthread_mutex_unlock(&roster->lock);
}

void dispatcher_roster_note_stored(struct dispatcher_roster *roster,
                                   struct dispatcher_roster_record *record)
{
    pthread_mutex_lock(&roster->lock);
    record->trouble = (struct blx_trouble){0};
    pthread_mutex_unlock(&roster->lock);
}

/* A filesystem that turned itself read-only does not tell so by its flags on every kernel, and all
 * agents have the same one. */
static void adopt_read_only_locked(const struct dispatcher_roster *roster,
                                   struct blx_trouble *trouble)
{
    const struct dispatcher_roster_record *record = roster->records;
    while (record != NULL && record->trouble.kind != BLX_TROUBLE_READ_ONLY)
        record = record->next;
    if (trouble->kind == BLX_TROUBLE_NONE && record != NULL)
        *trouble = record->trouble;
}

void dispatcher_roster_note_store(struct dispatcher_roster *roster, struct blx_trouble *trouble)
{
    pthread_mutex_lock(&roster->lock);
    adopt_read_only_locked(roster, trouble);
    set_trouble(&roster->store_trouble, trouble->kind, trouble->text);
    bool is_over = trouble->kind == BLX_TROUBLE_NONE && roster->store_trouble.since != 0;
    if (trouble->kind == BLX_TROUBLE_NONE)
        roster->store_trouble.since = 0;
    /* Sessions that ended for it meanwhile ended for nothing else. */
    for (struct dispatcher_roster_record *record = roster->records; is_over && record != NULL;
         record = record->next)
        record->trouble = (struct blx_trouble){0};
    *trouble = roster->store_trouble;
    pthread_mutex_unlock(&roster->lock);
}

void dispatcher_roster_note_rescan(struct dispatcher_roster *roster,
                                   struct dispatcher_roster_record *record)
{
    pthread_mutex_lock(&roster->lock);
    record->facts.rescans++;
    pthread_mutex_unlock(&roster->lock);
}

void dispatcher_roster_leave(struct dispatcher_roster *roster,
                             struct dispatcher_roster_record *record, struct blx_agent_tail *tail)
{
    BLX_CLEANUP_FREE struct blx_agent_tail *owned_tail = tail;
    if (record == NULL)
        return;
    pthread_mutex_lock(&roster->lock);
    record->left_ns = blx_clock_ns();
    free(record->tail);
    record->tail = blx_take_ptr(owned_tail);
    pthread_mutex_unlock(&roster->lock);
}

void dispatcher_roster_forget(struct dispatcher_roster *roster, const char *agent_id)
{
    const struct blx_manifest none = {0};
    pthread_mutex_lock(&roster->lock);
    struct dispatcher_roster_record *record = find_locked(roster, agent_id);
    if (record != NULL) {
        record->loaded = false;
        free(blx_take_ptr(record->tail));
        blx_manifest_tell(&none, &record->facts);
        record->facts.failure[0] = '\0';
        record->facts.prune_hold[0] = '\0';
    }
    pthread_mutex_unlock(&roster->lock);
}

static void add_finding_locked(struct dispatcher_roster_record *record,
                               enum dispatcher_finding finding, const char *text)
{
    record->findings[finding].count++;
    blx_text_set(record->findings[finding].text, text);
}

int dispatcher_roster_note_damage(struct dispatcher_roster *roster, const struct blx_store *store,
                                  const char *agent_id, const char *text, struct blx_error *err)
{
    struct dispatcher_roster_record *record;
    int rc = look_up(roster, store, agent_id, &record, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&roster->lock);
    add_finding_locked(record, DISPATCHER_FINDING_DAMAGE, text);
    pthread_mutex_unlock(&roster->lock);
    return 0;
}

void dispatcher_roster_note_outsider(struct dispatcher_roster *roster, const char *agent_id,
                                     const char *peer)
{
    uint64_t now_ns = blx_clock_ns();
    char text[BLX_TEXT_BYTES];
    snprintf(text, sizeof(text),
             "a machine at %.100s that has its old credentials is refused: the server was restored "
             "onto another one",
             peer);
    pthread_mutex_lock(&roster->lock);
    struct dispatcher_roster_record *record = find_or_make_locked(roster, agent_id);
    if (record != NULL) {
        struct dispatcher_outsiders *outsiders = &record->outsiders;
        if (outsiders->count++ == 0 || now_ns > outsiders->last_ns + HOUR_NS)
            add_finding_locked(record, DISPATCHER_FINDING_OUTSIDER, text);
        outsiders->last_ns = now_ns;
        blx_text_set(outsiders->peer, peer);
    }
    pthread_mutex_unlock(&roster->lock);
}

struct dispatcher_outsiders dispatcher_roster_read_outsiders(struct dispatcher_roster *roster,
                                                             const char *agent_id)
{
    struct dispatcher_outsiders outsiders = {0};
    pthread_mutex_lock(&roster->lock);
    const struct dispatcher_roster_record *record = find_locked(roster, agent_id);
    if (record != NULL)
        outsiders = record->outsiders;
    pthread_mutex_unlock(&roster->lock);
    return outsiders;
}

bool dispatcher_roster_hold(struct dispatcher_roster *roster, const char *agent_id,
                            const char *text)
{
    pthread_mutex_lock(&roster->lock);
    struct dispatcher_roster_record *record = find_locked(roster, agent_id);
    bool is_news = record != NULL && strcmp(record->facts.prune_hold, text) != 0;
    if (is_news)
        snprintf(record->facts.prune_hold, sizeof(record->facts.prune_hold), "%s", text);
    pthread_mutex_unlock(&roster->lock);
    return is_news;
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int dispatcher_roster_list(struct dispatcher_roster *roster, char ***agent_ids, size_t *count,
                           struct blx_error *err)
{
    char **ids = NULL;
    size_t found = 0;
    int rc = 0;
    pthread_mutex_lock(&roster->lock);
    for (const struct dispatcher_roster_record *record = roster->records; rc == 0 && record != NULL;
         record = record->next) {
        char *id = blx_array_make_room(ids, found) < 0 ? NULL : strdup(record->facts.agent_id);
        if (id == NULL)
            rc = -ENOMEM;
        else
            ids[found++] = id;
    }
    pthread_mutex_unlock(&roster->lock);
    if (rc < 0) {
        blx_store_free_agents(ids, found);
        return blx_error_errno(err, rc, "cannot list the agents");
    }
    if (found > 0)
        qsort(ids, found, sizeof(ids[0]), compare_ids);
    *agent_ids = ids;
    *count = found;
    return 0;
}

struct dispatcher_findings dispatcher_roster_read_findings(struct dispatcher_roster *roster,
                                                           const char *agent_id,
                                                           enum dispatcher_finding finding)
{
    struct dispatcher_findings findings = {0};
    pthread_mutex_lock(&roster->lock);
    const struct dispatcher_roster_record *record = find_locked(roster, agent_id);
    if (record != NULL)
        findings = record->findings[finding];
    pthread_mutex_unlock(&roster->lock);
    return findings;
}

bool dispatcher_roster_note_history(struct dispatcher_roster *roster,
                                    struct dispatcher_roster_record *record,
                                    const struct blx_manifest *newest, char text[BLX_TEXT_BYTES])
{
    pthread_mutex_lock(&roster->lock);
    struct blx_control_agent *facts = &record->facts;
    bool gone = newest->timestamp < facts->last_checkpoint;
    if (gone) {
        if (newest->timestamp == 0)
            snprintf(
                text, BLX_TEXT_BYTES,
                "its history is gone from the store: checkpoint %llu was the newest, now there "
                "is none",
                (unsigned long long)facts->last_checkpoint);
        else
            snprintf(
                text, BLX_TEXT_BYTES,
                "a part of its history is gone from the store: checkpoint %llu was the newest, "
                "now %llu is",
                (unsigned long long)facts->last_checkpoint, (unsigned long long)newest->timestamp);
        add_finding_locked(record, DISPATCHER_FINDING_HISTORY_GONE, text);
        blx_manifest_tell(newest, facts);
    }
    pthread_mutex_unlock(&roster->lock);
    return gone;
}

/* An agent whose session ended for the store's sake comes back within seconds. One that stays away
 * longer has a reason of its own. */
static void describe_trouble_locked(const struct dispatcher_roster_record *record,
                                    struct blx_control_agent *agent)
{
    agent->trouble = record->unread;
    if (record->trouble.kind == BLX_TROUBLE_NONE)
        return;
    if (agent->away_ms <= BLX_PROTECTION_AWAY_MS)
        agent->trouble = record->trouble;
    else
        blx_text_set(agent->failure, record->trouble.text);
}

int dispatcher_roster_describe(struct dispatcher_roster *roster, const struct blx_store *store,
                               const char *agent_id, struct blx_control_agent *agent,
                               struct blx_error *err)
{
    struct dispatcher_roster_record *record;
    int rc = look_up(roster, store, agent_id, &record, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&roster->lock);
    uint64_t now_ns = blx_clock_ns(); /* no time in the record is after it */
    *agent = record->facts;
    agent->rate_bytes_per_s = dispatcher_meter_read(&record->meter, now_ns);
    uint64_t since_ns = record->left_ns != 0 ? record->left_ns : roster->started_ns;
    agent->away_ms = (now_ns - since_ns) / 1000000 + 1;
    if (agent->last_checkpoint == 0 && record->progressed_ns != 0)
        agent->stalled_ms = (now_ns - record->progressed_ns) / 1000000;
    describe_trouble_locked(record, agent);
    pthread_mutex_unlock(&roster->lock);
    return 0;
}
