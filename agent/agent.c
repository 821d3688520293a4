/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/disk/freespace.h"
#include "agent/disk/mounts.h"
#include "base/assert.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/units.h"

int agent_read_key(struct agent *agent, struct blx_error *err)
{
    const char *path = agent->config->encryption_key;
    if (path == NULL)
        return 0;
    int rc = blx_key_read(path, &agent->key, err);
    if (rc < 0)
        return rc;
    char id[BLX_KEY_ID_TEXT_BYTES];
    struct stat st;
    blx_key_id_format(&agent->key.id, id);
    blx_log_info("all that is sent is encrypted with the key %s: keep copies of '%s' elsewhere, "
                 "nothing can be restored without it",
                 id, path);
    if (stat(path, &st) == 0 && (st.st_mode & 077) != 0)
        blx_log_warning("others may read the key '%s': chmod 600 it", path);
    return 0;
}

static int exclude_free_space(struct agent *agent, struct agent_volume *volume, uint64_t *wanted,
                              struct blx_error *err)
{
    struct agent_mounts mounts = {0};
    int rc = agent_mounts_find(agent->devices, agent->volume_count, &mounts, err);
    if (rc < 0)
        return rc;
    uint64_t skipped = 0;
    rc = agent_freespace_exclude(&volume->device, &mounts, volume->block_shift, wanted, &skipped,
                                 err);
    agent_mounts_done(&mounts);
    char size[BLX_UNIT_TEXT_BYTES];
    if (rc == 0 && skipped > 0)
        blx_log_info("'%s': %s of free space are skipped", volume->device.path,
                     blx_size_format(skipped << volume->block_shift, size));
    return rc;
}

int agent_wanted(struct agent *agent, struct agent_volume *volume, uint64_t **wanted,
                 struct blx_error *err)
{
    size_t bytes = blx_bitmap_words(volume->blocks) * sizeof(uint64_t);
    uint64_t *words = malloc(bytes);
    if (words == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot begin a pass over '%s'", volume->device.path);
    memset(words, 0xff, bytes);
    struct blx_error why = {0};
    /* Not being able to skip free space makes the pass longer, never wrong. */
    if (agent->config->skip_free_space && exclude_free_space(agent, volume, words, &why) < 0) {
        blx_log_warning("'%s': free space is not skipped: %s", volume->device.path, why.message);
        memset(words, 0xff, bytes);
    }
    *wanted = words;
    return 0;
}

int agent_mark_all(struct agent *agent, struct agent_volume *volume, const char *reason,
                   struct blx_error *err)
{
    BLX_CLEANUP_FREE uint64_t *wanted = NULL;
    int rc = agent_wanted(agent, volume, &wanted, err);
    if (rc == 0)
        agent_volume_mark_all(volume, wanted, reason);
    return rc;
}

bool agent_device_changed(const struct agent *agent, struct blx_error *err)
{
    for (size_t i = 0; i < agent->volume_count; i++) {
        const char *change = agent_device_change(&agent->devices[i]);
        if (change == NULL)
            continue;
        blx_error_set(err, -ESTALE, "'%s' %s", agent->devices[i].path, change);
        return true;
    }
    return false;
}

int agent_check_trackers(struct agent *agent, bool *doubtful, struct blx_error *err)
{
    if (doubtful != NULL)
        *doubtful = false;
    for (size_t i = 0; i < agent->volume_count; i++) {
        struct agent_volume *volume = &agent->volumes[i];
        struct agent_tracker_counters counters;
        char reason[BLX_TEXT_BYTES];
        int rc = agent_tracker_counters(volume->tracker, &counters, err);
        if (rc == 0)
            rc = agent_witness_ask(&volume->ledger.head->witness, volume->tracker, &volume->device,
                                   err);
        if (rc < 0)
            return rc;
        if (!agent_volume_doubtful(volume, &counters, reason))
            continue;
        blx_log_warning("'%s': tracking is doubtful (%s): all of it is compared again",
                        volume->device.path, reason);
        agent_volume_begin_rescan(volume, volume->blocks, reason);
        agent_volume_settle(volume, &counters);
        if (doubtful != NULL)
            *doubtful = true;
    }
    return 0;
}

void agent_set_bandwidth(struct agent *agent, const struct blx_bandwidth *limit)
{
    pthread_mutex_lock(&agent->lock);
    agent_limiter_set(&agent->limiter, limit);
    pthread_cond_broadcast(&agent->changed);
    pthread_mutex_unlock(&agent->lock);
}

/* What this release does not understand, of a newer one, limits nothing. */
static void take_bandwidth_limit_locked(struct agent *agent, const char *text)
{
    blx_assert_held(&agent->lock);
    struct blx_bandwidth limit = {0};
    struct blx_error err = {0};
    if (text[0] != '\0' && blx_bandwidth_parse(text, &limit, &err) < 0)
        blx_log_warning("the bandwidth-limit of the dispatcher's policy does not count: %s",
                        err.message);
    agent_limiter_set_policy(&agent->limiter, &limit);
}

void agent_take_policy_locked(struct agent *agent, const struct blx_policy_message *policy,
                              bool in_session)
{
    blx_assert_held(&agent->lock);
    const struct blx_policy_message *before = &agent->policy;
    bool other_disks = before->exclude_bytes != policy->exclude_bytes ||
                       memcmp(before->exclude, policy->exclude, policy->exclude_bytes) != 0;
    bool begins_pause = policy->paused && !before->paused;
    if (policy->paused != before->paused)
        blx_log_notice(policy->paused ? "paused by the dispatcher: changes are tracked, not sent"
                                      : "resumed by the dispatcher");
    if (other_disks || (in_session && begins_pause))
        agent_rejoin_locked(agent);
    agent->policy = *policy;
    take_bandwidth_limit_locked(agent, policy->bandwidth_limit);
    pthread_cond_broadcast(&agent->changed);
}

bool agent_is_paused(struct agent *agent)
{
    pthread_mutex_lock(&agent->lock);
    bool paused = agent->policy.paused;
    pthread_mutex_unlock(&agent->lock);
    return paused;
}

void agent_rejoin_locked(struct agent *agent)
{
    blx_assert_held(&agent->lock);
    if (agent->order == AGENT_RUN)
        agent->order = AGENT_REJOIN;
    pthread_cond_broadcast(&agent->changed);
}

void agent_stop(struct agent *agent)
{
    pthread_mutex_lock(&agent->lock);
    agent->order = AGENT_STOP;
    pthread_cond_broadcast(&agent->changed);
    pthread_mutex_unlock(&agent->lock);
}

bool agent_is_stopping(struct agent *agent)
{
    pthread_mutex_lock(&agent->lock);
    bool stopping = agent->order == AGENT_STOP;
    pthread_mutex_unlock(&agent->lock);
    return stopping;
}

void agent_wait_locked(struct agent *agent, uint64_t timeout_ms)
{
    blx_assert_held(&agent->lock);
    uint64_t deadline_ns = blx_clock_ns() + timeout_ms * 1000000;
    struct timespec deadline = {(time_t)(deadline_ns / 1000000000),
                                (long)(deadline_ns % 1000000000)};
    pthread_cond_timedwait(&agent->changed, &agent->lock, &deadline);
}
