/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/self.h"

#include <errno.h>
#include <string.h>

#include "agent/agent.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/text.h"
#include "base/version.h"

void agent_self_begin(struct agent *agent)
{
    struct agent_self *self = &agent->self;
    *self = (struct agent_self){.begun_ns = blx_clock_ns()};
    self->left_ns = self->begun_ns;
    blx_text_set(self->agent.agent_id, agent->config->id);
    blx_text_set(self->more.dispatcher_addr, agent->config->dispatcher_addr);
    blx_text_set(self->more.software, "blxrep-agent " BLX_VERSION);
    self->more.encrypts = !blx_key_id_is_none(&agent->key.id);
}

void agent_self_note_session(struct agent *agent, const struct blx_welcome *welcome)
{
    struct agent_self *self = &agent->self;
    pthread_mutex_lock(&agent->lock);
    self->connected_ns = blx_clock_ns();
    self->agent.status.state = BLX_AGENT_LIVE;
    self->agent.sessions++;
    if (agent->policy.sync_freq_ms == 0)
        self->agent.sync_freq_ms = welcome->sync_freq_ms;
    /* One that another process has taken, or that was committed when the connection broke. */
    if (welcome->last_checkpoint != self->agent.last_checkpoint) {
        self->agent.last_checkpoint = welcome->last_checkpoint;
        self->agent.last_time = welcome->last_checkpoint;
        self->agent.last_unreadable_bytes = 0;
        self->agent.freeze_ns = 0;
        self->agent.note[0] = '\0';
        self->more.knows_checkpoint = false;
    }
    blx_text_set(self->agent.peer, agent->addresses.current);
    pthread_mutex_unlock(&agent->lock);
}

void agent_self_note_end(struct agent *agent, int rc, const struct blx_error *error)
{
    struct agent_self *self = &agent->self;
    pthread_mutex_lock(&agent->lock);
    if (self->connected_ns != 0)
        self->left_ns = blx_clock_ns();
    self->connected_ns = 0;
    self->agent.status.state = BLX_AGENT_OFFLINE;
    self->agent.peer[0] = '\0';
    if (rc < 0 && rc != -ERESTART) {
        blx_text_set(self->more.refusal, error->message);
        self->refused_ns = blx_clock_ns();
    }
    pthread_mutex_unlock(&agent->lock);
}

static void add_disk_locked(struct agent *agent, const struct blx_control_disk *disk)
{
    struct agent_self *self = &agent->self;
    if (self->disk_count < AGENT_SELF_DISKS)
        self->disks[self->disk_count++] = *disk;
}

static void add_left_out_locked(struct agent *agent)
{
    const struct agent_refusals *refusals = &agent->refusals;
    for (size_t i = 0; i < refusals->count; i++) {
        struct blx_control_disk disk = {.state = BLX_DISK_REFUSED,
                                        .size_bytes = refusals->list[i].size_bytes};
        blx_text_set(disk.path, refusals->list[i].path);
        blx_text_set(disk.text, refusals->list[i].cause);
        add_disk_locked(agent, &disk);
    }
    for (size_t i = 0; i < agent->disks.excluded_count; i++) {
        struct blx_control_disk disk = {.state = BLX_DISK_EXCLUDED,
                                        .size_bytes = agent->disks.excluded[i].size_bytes};
        blx_text_set(disk.path, agent->disks.excluded[i].path);
        add_disk_locked(agent, &disk);
    }
}

void agent_self_note_status(struct agent *agent, const struct blx_status *status,
                            const struct blx_control_disk *volumes)
{
    struct agent_self *self = &agent->self;
    const struct blx_tls_context *tls = agent->identity.tls;
    const uint64_t cert_ends_s = tls != NULL ? blx_tls_context_ends_s(tls) : 0;
    pthread_mutex_lock(&agent->lock);
    self->agent.status = *status;
    self->agent.volume_count = (uint32_t)agent->volume_count;
    self->agent.volume_bytes = 0;
    self->more.cert_ends_s = cert_ends_s;
    self->more.left_over = (uint32_t)agent->disks.left_over;
    self->disk_count = 0;
    for (size_t i = 0; i < agent->volume_count; i++) {
        self->agent.volume_bytes += volumes[i].size_bytes;
        add_disk_locked(agent, &volumes[i]);
    }
    add_left_out_locked(agent);
    pthread_mutex_unlock(&agent->lock);
}

void agent_self_note_cut_locked(struct agent *agent, const struct blx_checkpoint_message *cut,
                                uint64_t unreadable_bytes)
{
    blx_assert_held(&agent->lock);
    agent->self.cut = *cut;
    agent->self.cut_unreadable_bytes = unreadable_bytes;
}

void agent_self_note_commit_locked(struct agent *agent, blx_timestamp timestamp)
{
    blx_assert_held(&agent->lock);
    struct agent_self *self = &agent->self;
    self->agent.last_checkpoint = timestamp;
    self->agent.last_time = timestamp;
    self->agent.last_consistency = self->cut.consistency;
    self->agent.last_unreadable_bytes = self->cut_unreadable_bytes;
    self->agent.freeze_ns = self->cut.freeze_ns;
    self->agent.checkpoints[self->cut.consistency]++;
    self->agent.failure[0] = '\0';
    blx_text_set(self->agent.note, self->cut.note);
    self->more.knows_checkpoint = true;
}

void agent_self_note_failure(struct agent *agent, const char reason[BLX_TEXT_BYTES])
{
    pthread_mutex_lock(&agent->lock);
    blx_text_set(agent->self.agent.failure, reason);
    agent->self.agent.failed_checkpoints++;
    pthread_mutex_unlock(&agent->lock);
}

void agent_self_note_policy_locked(struct agent *agent, const struct blx_policy_message *policy)
{
    blx_assert_held(&agent->lock);
    struct blx_control_agent *told = &agent->self.agent;
    if (policy->sync_freq_ms != 0)
        told->sync_freq_ms = policy->sync_freq_ms;
    if (!policy->paused)
        told->paused_since = 0;
    else if (told->paused_since == 0)
        told->paused_since =
            blx_timestamp_from_unix((int64_t)(blx_clock_realtime_ns() / BLX_NS_PER_S));
}

static uint64_t ms_since(uint64_t then_ns)
{
    return (blx_clock_ns() - then_ns) / BLX_NS_PER_MS;
}

void agent_self_copy(struct agent *agent, struct agent_self *copy)
{
    pthread_mutex_lock(&agent->lock);
    *copy = agent->self;
    pthread_mutex_unlock(&agent->lock);
    copy->more.uptime_ms = ms_since(copy->begun_ns);
    copy->more.refusal_ms = copy->refused_ns != 0 ? ms_since(copy->refused_ns) : 0;
    if (copy->connected_ns != 0) {
        copy->agent.connected_ms = ms_since(copy->connected_ns);
    } else {
        /* Why it is not connected comes before what failed while it was. */
        copy->agent.away_ms = ms_since(copy->left_ns);
        blx_text_set(copy->agent.failure, copy->more.refusal);
    }
}
