/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/registry.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/text.h"
#include "base/units.h"
#include "base/cond.h"

int dispatcher_registry_init(struct dispatcher_registry *registry, unsigned pending_limit,
                             unsigned source_limit)
{
    *registry = (struct dispatcher_registry){
        .places = {.limit = pending_limit, .source_limit = source_limit},
        .takeover_ms = DISPATCHER_REGISTRY_TAKEOVER_MS,
    };
    int rc = blx_cond_init(&registry->changed);
    if (rc < 0)
        return rc;
    rc = -pthread_mutex_init(&registry->lock, NULL);
    if (rc < 0)
        pthread_cond_destroy(&registry->changed);
    return rc;
}

void dispatcher_registry_done(struct dispatcher_registry *registry)
{
    pthread_mutex_destroy(&registry->lock);
    pthread_cond_destroy(&registry->changed);
}

enum {
    SETTLE_PART = 5, /* a sign of life counts only after this part of the time for a take-over */
    LOOKS = 50,      /* at the other session within that time */
};

static void wake(int event_fd)
{
    /* An eventfd refuses only at its maximum, and then it is readable anyway. */
    (void)eventfd_write(event_fd, 1);
}

static void give_orders_locked(struct dispatcher_registry_entry *entry)
{
    atomic_store(&entry->has_orders, true);
    wake(entry->wake_fd);
}

static void tell_to_end_locked(struct dispatcher_registry_entry *entry,
                               enum dispatcher_registry_ending ending)
{
    if (entry->ending != DISPATCHER_ENDING_NONE)
        return;
    entry->ending = ending;
    give_orders_locked(entry);
}

static struct dispatcher_registry_entry *find_live_locked(struct dispatcher_registry *registry,
                                                          const char *agent_id)
{
    blx_assert_held(&registry->lock);
    for (struct dispatcher_registry_entry *entry = registry->entries; entry != NULL;
         entry = entry->next) {
        if (entry->live && strcmp(entry->agent_id, agent_id) == 0)
            return entry;
    }
    return NULL;
}

/* For asserts: how often the entry is in the list. */
static unsigned count_links_locked(struct dispatcher_registry *registry,
                                   const struct dispatcher_registry_entry *entry)
{
    unsigned links = 0;
    blx_assert_held(&registry->lock);
    for (const struct dispatcher_registry_entry *at = registry->entries; at != NULL; at = at->next)
        links += at == entry;
    return links;
}

int dispatcher_registry_connect(struct dispatcher_registry *registry,
                                struct dispatcher_registry_entry *entry, struct blx_error *err)
{
    int rc = 0;
    pthread_mutex_lock(&registry->lock);
    if (registry->stopping) {
        rc = blx_error_set(err, -ESHUTDOWN, "the dispatcher is stopping");
    } else {
        rc = dispatcher_places_take_locked(registry, entry, blx_clock_ns(), err);
    }
    if (rc == 0) {
        blx_assert(count_links_locked(registry, entry) == 0);
        blx_assert(!entry->live);
        entry->next = registry->entries;
        registry->entries = entry;
        registry->pending++;
    }
    pthread_mutex_unlock(&registry->lock);
    return rc;
}

static unsigned count_claims_locked(const struct dispatcher_registry *registry,
                                    const char *agent_id)
{
    unsigned claims = 0;
    for (const struct dispatcher_registry_entry *at = registry->entries; at != NULL; at = at->next)
        claims += at->claim == DISPATCHER_CLAIM_VALID && !at->live &&
                  strcmp(at->claimed_id, agent_id) == 0;
    return claims;
}

int dispatcher_registry_claim(struct dispatcher_registry *registry,
                              struct dispatcher_registry_entry *entry, const char *agent_id,
                              struct blx_error *err)
{
    int rc = 0;
    pthread_mutex_lock(&registry->lock);
    blx_assert(!entry->live && entry->claim != DISPATCHER_CLAIM_VALID);
    dispatcher_places_know_locked(&registry->places, entry->source);
    if (entry->claim == DISPATCHER_CLAIM_DISPLACED) {
        rc = blx_error_set(err, -EAGAIN, "it took too long to identify itself");
    } else if (count_claims_locked(registry, agent_id) >= DISPATCHER_REGISTRY_CLAIMS) {
        rc = blx_error_set(err, -EAGAIN,
                           "%d connections with the credentials of '%s' are waiting already",
                           DISPATCHER_REGISTRY_CLAIMS, agent_id);
    } else {
        entry->claim = DISPATCHER_CLAIM_VALID;
        snprintf(entry->claimed_id, sizeof(entry->claimed_id), "%s", agent_id);
        registry->pending--;
    }
    pthread_mutex_unlock(&registry->lock);
    return rc;
}

/* How many others restore; those with this token are cut. */
static unsigned clear_restores_locked(struct dispatcher_registry *registry,
                                      const struct dispatcher_registry_entry *entry)
{
    unsigned others = 0;
    blx_assert_held(&registry->lock);
    for (struct dispatcher_registry_entry *at = registry->entries; at != NULL; at = at->next) {
        if (at->claim != DISPATCHER_CLAIM_RESTORE)
            continue;
        if (!blx_generation_equal(&at->instance, &entry->instance)) {
            others++;
            continue;
        }
        tell_to_end_locked(at, DISPATCHER_ENDING_TAKEN_OVER);
        shutdown(at->socket_fd, SHUT_RDWR);
    }
    return others;
}

int dispatcher_registry_admit_restore(struct dispatcher_registry *registry,
                                      struct dispatcher_registry_entry *entry, const char *agent_id,
                                      struct blx_error *err)
{
    int rc = 0;
    pthread_mutex_lock(&registry->lock);
    blx_assert(!entry->live && entry->claim != DISPATCHER_CLAIM_RESTORE);
    dispatcher_places_know_locked(&registry->places, entry->source);
    if (entry->claim == DISPATCHER_CLAIM_DISPLACED) {
        rc = blx_error_set(err, -EAGAIN, "it took too long to identify itself");
    } else if (clear_restores_locked(registry, entry) >= DISPATCHER_REGISTRY_RESTORES) {
        rc = blx_error_set(err, -EAGAIN,
                           "%d machines restore from this dispatcher already: try again later",
                           DISPATCHER_REGISTRY_RESTORES);
    } else {
        entry->claim = DISPATCHER_CLAIM_RESTORE;
        snprintf(entry->claimed_id, sizeof(entry->claimed_id), "%s", agent_id);
        registry->pending--;
    }
    pthread_mutex_unlock(&registry->lock);
    return rc;
}

void dispatcher_registry_list_restore(struct dispatcher_registry *registry,
                                      struct dispatcher_registry_entry *entry,
                                      struct dispatcher_registry_restore *restore)
{
    pthread_mutex_lock(&registry->lock);
    entry->restore = restore;
    if (restore != NULL)
        blx_text_set(restore->facts.peer, entry->peer);
    pthread_mutex_unlock(&registry->lock);
}

void dispatcher_registry_note_place(struct dispatcher_registry *registry,
                                    struct dispatcher_registry_entry *entry,
                                    const struct dispatcher_registry_place *place)
{
    pthread_mutex_lock(&registry->lock);
    struct dispatcher_registry_restore *restore = entry->restore;
    if (restore->facts.number != place->number) {
        restore->facts.number = place->number;
        restore->facts.volume_bytes = place->volume_bytes;
        restore->begun_ns = blx_clock_ns();
        restore->begun_bytes = place->done_bytes;
        blx_text_set(restore->facts.volume, place->volume);
    }
    restore->facts.done_bytes = place->done_bytes;
    pthread_mutex_unlock(&registry->lock);
}

void dispatcher_registry_note_sent(struct dispatcher_registry *registry,
                                   struct dispatcher_registry_entry *entry, uint64_t frame_bytes,
                                   uint64_t done_bytes)
{
    pthread_mutex_lock(&registry->lock);
    struct dispatcher_registry_restore *restore = entry->restore;
    restore->facts.sent_bytes += frame_bytes;
    restore->facts.done_bytes = done_bytes;
    dispatcher_meter_add(&restore->meter, frame_bytes, blx_clock_ns());
    pthread_mutex_unlock(&registry->lock);
}

/* By what this connection has done of the volume. */
static uint32_t guess_eta_s(const struct dispatcher_registry_restore *restore, uint64_t now_ns)
{
    const struct blx_control_restore *facts = &restore->facts;
    double done = (double)(facts->done_bytes - restore->begun_bytes);
    double left = (double)(facts->volume_bytes - facts->done_bytes);
    double seconds = (double)(now_ns - restore->begun_ns) / (double)BLX_NS_PER_S;
    if (facts->done_bytes <= restore->begun_bytes || seconds < 1)
        return 0;
    double eta_s = left / done * seconds;
    return eta_s < (double)UINT32_MAX ? (uint32_t)eta_s + 1 : UINT32_MAX;
}

size_t dispatcher_registry_describe_restores(
    struct dispatcher_registry *registry,
    struct blx_control_restore restores[DISPATCHER_REGISTRY_RESTORES])
{
    uint64_t now_ns = blx_clock_ns();
    size_t count = 0;
    pthread_mutex_lock(&registry->lock);
    for (const struct dispatcher_registry_entry *at = registry->entries;
         at != NULL && count < DISPATCHER_REGISTRY_RESTORES; at = at->next) {
        if (at->restore == NULL)
            continue;
        struct blx_control_restore *restore = &restores[count++];
        *restore = at->restore->facts;
        restore->rate_bytes_per_s = dispatcher_meter_read(&at->restore->meter, now_ns);
        restore->connected_ms = (now_ns - at->connected_ns) / BLX_NS_PER_MS + 1;
        restore->eta_seconds = guess_eta_s(at->restore, now_ns);
    }
    pthread_mutex_unlock(&registry->lock);
    return count;
}

uint64_t dispatcher_registry_count_kept_out(struct dispatcher_registry *registry)
{
    pthread_mutex_lock(&registry->lock);
    uint64_t kept_out = registry->places.kept_out;
    pthread_mutex_unlock(&registry->lock);
    return kept_out;
}

static uint64_t ms_from_now(uint64_t ms)
{
    return blx_clock_ns() + ms * 1000000;
}

static bool was_refused_locked(struct dispatcher_registry *registry,
                               const struct dispatcher_registry_entry *entry, const char *agent_id)
{
    blx_assert_held(&registry->lock);
    for (size_t i = 0; i < registry->refused_count && i < DISPATCHER_REGISTRY_REFUSED; i++) {
        const struct dispatcher_registry_double *refused = &registry->refused[i];
        if (blx_generation_equal(&refused->instance, &entry->instance) &&
            strcmp(refused->agent_id, agent_id) == 0)
            return true;
    }
    return false;
}

static int refuse_locked(struct dispatcher_registry *registry,
                         const struct dispatcher_registry_entry *entry, const char *agent_id,
                         const char *other_peer, struct blx_error *err)
{
    blx_assert_held(&registry->lock);
    struct dispatcher_registry_double *refused =
        &registry->refused[registry->refused_count++ % DISPATCHER_REGISTRY_REFUSED];
    refused->instance = entry->instance;
    snprintf(refused->agent_id, sizeof(refused->agent_id), "%s", agent_id);
    return blx_error_set(err, -EEXIST,
                         "the agent '%s' is connected from %s already, and answers; this one came "
                         "from %s: enroll each server under an ID of its own, or stop the other "
                         "agent and restart this one",
                         agent_id, other_peer, entry->peer);
}

/*
 * Whether the agent has sent something in the last `ms`. The kernel knows it even while the
 * session's thread is busy. If it does not know (no TCP) the agent counts as silent.
 */
static bool was_heard(const struct dispatcher_registry_entry *entry, uint64_t ms)
{
    struct tcp_info info = {0};
    socklen_t bytes = sizeof(info);
    return getsockopt(entry->socket_fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) == 0 &&
           info.tcpi_last_data_recv < ms;
}

/*
 * Is another process of the agent there, and does it live? Data that was on its way when the entry
 * came proves nothing, so a part of the time must pass first. 0: no. Waits, without the lock
 * meanwhile.
 */
static int look_for_double_locked(struct dispatcher_registry *registry,
                                  const struct dispatcher_registry_entry *entry,
                                  const char *agent_id, struct blx_error *err)
{
    blx_assert_held(&registry->lock);
    uint64_t begun_ns = blx_clock_ns(), settle_ms = registry->takeover_ms / SETTLE_PART;
    bool asked = false, asked_again = false;
    if (was_refused_locked(registry, entry, agent_id))
        return blx_error_set(err, -EEXIST,
                             "another agent with the credentials of '%s' was connected when this "
                             "one came, from %s: restart this one to have it replace the other",
                             agent_id, entry->peer);
    for (;;) {
        uint64_t elapsed_ms = (blx_clock_ns() - begun_ns) / 1000000;
        struct dispatcher_registry_entry *other = find_live_locked(registry, agent_id);
        if (registry->stopping || other == NULL || other->ending != DISPATCHER_ENDING_NONE ||
            other->proof == DISPATCHER_PROOF_OWED ||
            blx_generation_equal(&other->instance, &entry->instance) ||
            elapsed_ms >= registry->takeover_ms)
            return 0;
        if (elapsed_ms > settle_ms && was_heard(other, elapsed_ms - settle_ms))
            return refuse_locked(registry, entry, agent_id, other->peer, err);
        if (!asked || (!asked_again && elapsed_ms > settle_ms)) {
            asked_again = asked;
            asked = true;
            other->ping = true;
            give_orders_locked(other);
        }
        blx_cond_wait_until(&registry->changed, &registry->lock,
                            ms_from_now(registry->takeover_ms / LOOKS));
    }
}

/* Ends the agent's sessions and waits, without the lock meanwhile, until none is left. */
static int wait_for_place_locked(struct dispatcher_registry *registry, const char *agent_id,
                                 enum dispatcher_registry_ending ending, struct blx_error *err)
{
    uint64_t deadline_ns = ms_from_now(registry->takeover_ms);
    bool forced = false;
    for (;;) {
        if (registry->stopping)
            return blx_error_set(err, -ESHUTDOWN, "the dispatcher is stopping");
        struct dispatcher_registry_entry *other = find_live_locked(registry, agent_id);
        if (other == NULL)
            return 0;
        tell_to_end_locked(other, ending);
        if (blx_cond_wait_until(&registry->changed, &registry->lock, deadline_ns) != -ETIMEDOUT)
            continue;
        if (forced)
            return blx_error_set(
                err, -EBUSY,
                "an older session of the agent '%s' from %s has not ended yet: try again", agent_id,
                other->peer);
        other = find_live_locked(registry, agent_id);
        if (other != NULL)
            shutdown(other->socket_fd, SHUT_RDWR);
        deadline_ns = ms_from_now(registry->takeover_ms);
        forced = true;
    }
}

int dispatcher_registry_enter(struct dispatcher_registry *registry,
                              struct dispatcher_registry_entry *entry, const char *agent_id,
                              struct blx_error *err)
{
    pthread_mutex_lock(&registry->lock);
    int rc = look_for_double_locked(registry, entry, agent_id, err);
    if (rc == 0)
        rc = wait_for_place_locked(registry, agent_id, DISPATCHER_ENDING_TAKEN_OVER, err);
    if (rc == 0) {
        blx_assert(count_links_locked(registry, entry) == 1);
        blx_assert(!entry->live && find_live_locked(registry, agent_id) == NULL);
        snprintf(entry->agent_id, sizeof(entry->agent_id), "%s", agent_id);
        entry->live = true;
        registry->pending -= entry->claim == DISPATCHER_CLAIM_NONE;
        pthread_cond_broadcast(&registry->changed);
    }
    pthread_mutex_unlock(&registry->lock);
    return rc;
}

/* Whoever was refused as the agent's double is judged again, by what its name means now. */
static void forget_doubles_locked(struct dispatcher_registry *registry, const char *agent_id)
{
    blx_assert_held(&registry->lock);
    for (size_t i = 0; i < DISPATCHER_REGISTRY_REFUSED; i++)
        if (strcmp(registry->refused[i].agent_id, agent_id) == 0)
            registry->refused[i] = (struct dispatcher_registry_double){.agent_id = ""};
}

int dispatcher_registry_expel(struct dispatcher_registry *registry, const char *agent_id,
                              enum dispatcher_registry_ending ending, struct blx_error *err)
{
    pthread_mutex_lock(&registry->lock);
    int rc = wait_for_place_locked(registry, agent_id, ending, err);
    forget_doubles_locked(registry, agent_id);
    pthread_mutex_unlock(&registry->lock);
    return rc;
}

static void finish_waiter_locked(struct dispatcher_registry_waiter *waiter,
                                 const struct blx_control_done *outcome)
{
    waiter->entry = NULL;
    waiter->outcome = *outcome;
    wake(waiter->event_fd);
}

/* Finishes the waiters of `request`; 0: all. */
static void finish_waiters_locked(struct dispatcher_registry_entry *entry, uint64_t request,
                                  const struct blx_control_done *outcome)
{
    struct dispatcher_registry_waiter **link = &entry->waiters;
    while (*link != NULL) {
        struct dispatcher_registry_waiter *waiter = *link;
        if (request != 0 && waiter->request != request) {
            link = &waiter->next;
            continue;
        }
        *link = waiter->next;
        finish_waiter_locked(waiter, outcome);
    }
}

static void fail_waiters_locked(struct dispatcher_registry_entry *entry, const char *reason)
{
    struct blx_control_done outcome = {.ok = false};
    snprintf(outcome.text, sizeof(outcome.text), "%s", reason);
    finish_waiters_locked(entry, 0, &outcome);
}

void dispatcher_registry_leave(struct dispatcher_registry *registry,
                               struct dispatcher_registry_entry *entry, const char *reason)
{
    pthread_mutex_lock(&registry->lock);
    blx_assert(count_links_locked(registry, entry) == 1);
    for (struct dispatcher_registry_entry **link = &registry->entries; *link != NULL;
         link = &(*link)->next) {
        if (*link == entry) {
            *link = entry->next;
            break;
        }
    }
    if (!entry->live)
        registry->pending -= entry->claim == DISPATCHER_CLAIM_NONE;
    entry->live = false;
    fail_waiters_locked(entry, reason);
    pthread_cond_broadcast(&registry->changed);
    pthread_mutex_unlock(&registry->lock);
}

void dispatcher_registry_take_orders(struct dispatcher_registry *registry,
                                     struct dispatcher_registry_entry *entry,
                                     struct dispatcher_registry_orders *orders)
{
    uint64_t ignored;

    pthread_mutex_lock(&registry->lock);
    atomic_store(&entry->has_orders, false);
    if (read(entry->wake_fd, &ignored, sizeof(ignored)) < 0)
        ignored = 0; /* EAGAIN: nobody has woken us, which is fine */
    *orders = (struct dispatcher_registry_orders){.ending = entry->ending,
                                                  .rescan = entry->ready && entry->rescan,
                                                  .policy = entry->policy,
                                                  .authority = entry->authority,
                                                  .ping = entry->ping};
    entry->ping = false;
    entry->policy = false;
    entry->authority = false;
    if (orders->rescan)
        entry->rescan = false;
    if (entry->ready && !entry->paused && entry->queued_request != 0 && entry->sent_request == 0) {
        blx_assert(entry->queued_request <= registry->last_request);
        orders->request = entry->queued_request;
        entry->sent_request = entry->queued_request;
        entry->queued_request = 0;
        entry->asked_ns = blx_clock_ns();
    }
    pthread_mutex_unlock(&registry->lock);
}

void dispatcher_registry_set_ready(struct dispatcher_registry *registry,
                                   struct dispatcher_registry_entry *entry, enum blx_pass longest)
{
    pthread_mutex_lock(&registry->lock);
    entry->ready = true;
    entry->full_pass = longest != BLX_PASS_RESUME;
    if (entry->queued_request != 0 || entry->rescan)
        give_orders_locked(entry);
    pthread_cond_broadcast(&registry->changed);
    pthread_mutex_unlock(&registry->lock);
}

void dispatcher_registry_set_proof(struct dispatcher_registry *registry,
                                   struct dispatcher_registry_entry *entry,
                                   enum dispatcher_registry_proof proof)
{
    pthread_mutex_lock(&registry->lock);
    entry->proof = proof;
    pthread_mutex_unlock(&registry->lock);
}

void dispatcher_registry_set_status(struct dispatcher_registry *registry,
                                    struct dispatcher_registry_entry *entry,
                                    const struct blx_status *status)
{
    pthread_mutex_lock(&registry->lock);
    entry->status = *status;
    /* An agent that resumes a full pass begins with RESUME, and a rescan may begin at any time.
     * Only STATUS shows that either is running. */
    if (status->state == BLX_AGENT_FULL_SYNC || status->state == BLX_AGENT_RESCAN)
        entry->full_pass = true;
    pthread_mutex_unlock(&registry->lock);
}

void dispatcher_registry_set_last_checkpoint(struct dispatcher_registry *registry,
                                             struct dispatcher_registry_entry *entry,
                                             blx_timestamp timestamp, blx_timestamp cut_time)
{
    pthread_mutex_lock(&registry->lock);
    entry->last_checkpoint = timestamp;
    entry->last_time = cut_time;
    pthread_mutex_unlock(&registry->lock);
}

void dispatcher_registry_set_policy(struct dispatcher_registry *registry,
                                    struct dispatcher_registry_entry *entry,
                                    const struct blx_policy_message *policy)
{
    pthread_mutex_lock(&registry->lock);
    uint64_t period_ns = policy->sync_freq_ms * 1000000;
    if (entry->beat.period_ns != period_ns) {
        entry->beat.period_ns = period_ns;
        entry->beat.due_ns = 0;
    }
    entry->paused = policy->paused;
    if (policy->paused) {
        entry->queued_request = 0;
        entry->beat.due_ns = 0;
        fail_waiters_locked(entry, "the agent was paused");
    }
    pthread_cond_broadcast(&registry->changed);
    pthread_mutex_unlock(&registry->lock);
}

void dispatcher_registry_order_policy(struct dispatcher_registry *registry, const char *agent_id)
{
    pthread_mutex_lock(&registry->lock);
    for (struct dispatcher_registry_entry *entry = registry->entries; entry != NULL;
         entry = entry->next) {
        if (!entry->live || (agent_id != NULL && strcmp(entry->agent_id, agent_id) != 0))
            continue;
        entry->policy = true;
        give_orders_locked(entry);
    }
    pthread_mutex_unlock(&registry->lock);
}

void dispatcher_registry_order_authority(struct dispatcher_registry *registry)
{
    pthread_mutex_lock(&registry->lock);
    for (struct dispatcher_registry_entry *entry = registry->entries; entry != NULL;
         entry = entry->next) {
        if (!entry->live)
            continue;
        entry->authority = true;
        give_orders_locked(entry);
    }
    pthread_mutex_unlock(&registry->lock);
}

bool dispatcher_registry_is_sent(struct dispatcher_registry *registry,
                                 const struct dispatcher_registry_entry *entry, uint64_t request,
                                 uint64_t *asked_ns)
{
    pthread_mutex_lock(&registry->lock);
    bool is_sent = request != 0 && entry->sent_request == request;
    if (is_sent)
        *asked_ns = entry->asked_ns;
    pthread_mutex_unlock(&registry->lock);
    return is_sent;
}

void dispatcher_registry_finish_request(struct dispatcher_registry *registry,
                                        struct dispatcher_registry_entry *entry,
                                        const struct blx_control_done *outcome)
{
    pthread_mutex_lock(&registry->lock);
    uint64_t request = entry->sent_request;
    entry->sent_request = 0;
    entry->beat.skipping = false;
    if (outcome->ok)
        entry->full_pass = false;
    if (request != 0)
        finish_waiters_locked(entry, request, outcome);
    if (entry->queued_request != 0)
        give_orders_locked(entry);
    pthread_cond_broadcast(&registry->changed);
    pthread_mutex_unlock(&registry->lock);
}

uint64_t dispatcher_registry_queue_request_locked(struct dispatcher_registry *registry,
                                                  struct dispatcher_registry_entry *entry,
                                                  uint64_t now_ns)
{
    blx_assert_held(&registry->lock);
    if (entry->queued_request == 0) {
        entry->queued_request = ++registry->last_request;
        blx_assert(entry->queued_request > entry->sent_request);
        if (entry->sent_request == 0)
            entry->asked_ns = now_ns;
        give_orders_locked(entry);
    }
    return entry->queued_request;
}

/* The agent's session, if it can be asked for something. */
static int find_asked_locked(struct dispatcher_registry *registry, const char *agent_id,
                             struct dispatcher_registry_entry **entry, struct blx_error *err)
{
    *entry = find_live_locked(registry, agent_id);
    if (registry->stopping)
        return blx_error_set(err, -ESHUTDOWN, "the dispatcher is stopping");
    if (*entry == NULL || (*entry)->ending != DISPATCHER_ENDING_NONE)
        return blx_error_set(
            err, -ENOTCONN,
            "the agent '%s' is not connected: start blxrep-agent on its machine, or see its log",
            agent_id);
    return 0;
}

int dispatcher_registry_order_rescan(struct dispatcher_registry *registry, const char *agent_id,
                                     struct blx_error *err)
{
    struct dispatcher_registry_entry *entry;
    pthread_mutex_lock(&registry->lock);
    int rc = find_asked_locked(registry, agent_id, &entry, err);
    if (rc == 0) {
        entry->rescan = true;
        give_orders_locked(entry);
    }
    pthread_mutex_unlock(&registry->lock);
    return rc;
}

int dispatcher_registry_refuse_paused(const char *agent_id, struct blx_error *err)
{
    return blx_error_set(err, -EBUSY,
                         "the agent '%s' is paused: `blxrep dispatcher resume --agent=%s` first",
                         agent_id, agent_id);
}

int dispatcher_registry_ask(struct dispatcher_registry *registry, const char *agent_id,
                            struct dispatcher_registry_waiter *waiter, struct blx_error *err)
{
    struct dispatcher_registry_entry *entry;
    pthread_mutex_lock(&registry->lock);
    int rc = find_asked_locked(registry, agent_id, &entry, err);
    if (rc == 0 && entry->paused)
        rc = dispatcher_registry_refuse_paused(agent_id, err);
    if (rc == 0) {
        waiter->request = dispatcher_registry_queue_request_locked(registry, entry, blx_clock_ns());
        waiter->entry = entry;
        waiter->next = entry->waiters;
        entry->waiters = waiter;
    }
    pthread_mutex_unlock(&registry->lock);
    return rc;
}

bool dispatcher_registry_unask(struct dispatcher_registry *registry,
                               struct dispatcher_registry_waiter *waiter)
{
    pthread_mutex_lock(&registry->lock);
    bool finished = waiter->entry == NULL;
    if (!finished) {
        struct dispatcher_registry_waiter **link = &waiter->entry->waiters;
        while (*link != waiter)
            link = &(*link)->next;
        *link = waiter->next;
        waiter->entry = NULL;
    }
    pthread_mutex_unlock(&registry->lock);
    return finished;
}

bool dispatcher_registry_describe(struct dispatcher_registry *registry, const char *agent_id,
                                  struct blx_control_agent *agent)
{
    pthread_mutex_lock(&registry->lock);
    const struct dispatcher_registry_entry *entry = find_live_locked(registry, agent_id);
    if (entry != NULL) {
        memcpy(agent->agent_id, entry->agent_id, sizeof(agent->agent_id));
        memcpy(agent->peer, entry->peer, sizeof(agent->peer));
        agent->status = entry->status;
        if (agent->status.state == BLX_AGENT_OFFLINE) /* no STATUS yet */
            agent->status.state = entry->full_pass ? BLX_AGENT_FULL_SYNC : BLX_AGENT_LIVE;
        agent->last_checkpoint = entry->last_checkpoint;
        agent->last_time = entry->last_time;
        agent->connected_ms = (blx_clock_ns() - entry->connected_ns) / 1000000 + 1;
        agent->received_bytes = atomic_load(&entry->frame_bytes);
        agent->volume_count = entry->volume_count;
        agent->away_ms = 0;
    }
    pthread_mutex_unlock(&registry->lock);
    return entry != NULL;
}

bool dispatcher_registry_is_stopping(struct dispatcher_registry *registry)
{
    pthread_mutex_lock(&registry->lock);
    bool stopping = registry->stopping;
    pthread_mutex_unlock(&registry->lock);
    return stopping;
}

void dispatcher_registry_stop(struct dispatcher_registry *registry)
{
    pthread_mutex_lock(&registry->lock);
    registry->stopping = true;
    for (struct dispatcher_registry_entry *entry = registry->entries; entry != NULL;
         entry = entry->next) {
        if (!entry->live)
            shutdown(entry->socket_fd, SHUT_RDWR);
        tell_to_end_locked(entry, DISPATCHER_ENDING_STOPPING);
        fail_waiters_locked(entry, "the dispatcher is stopping");
    }
    pthread_cond_broadcast(&registry->changed);
    pthread_mutex_unlock(&registry->lock);
}

void dispatcher_registry_cut(struct dispatcher_registry *registry)
{
    pthread_mutex_lock(&registry->lock);
    for (struct dispatcher_registry_entry *entry = registry->entries; entry != NULL;
         entry = entry->next)
        shutdown(entry->socket_fd, SHUT_RDWR);
    pthread_mutex_unlock(&registry->lock);
}
