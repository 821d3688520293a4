/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/units.h"

enum { RUN_DIR_MODE = 0700 };

bool agent_has_changed_device(const struct agent *agent, struct blx_error *err)
{
    for (size_t i = 0; i < agent->volume_count; i++) {
        const struct agent_device *device = &agent->devices[i];
        const char *change = agent_device_find_change(device);
        char why[BLX_TEXT_BYTES];
        if (change != NULL)
            blx_error_set(err, -ESTALE, "'%s' %s", device->path, change);
        else if (agent_device_is_stuck(device, why))
            blx_error_set(err, -ESTALE, "%s", why);
        else
            continue;
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
        int rc = agent_tracker_read_counters(volume->tracker, &counters, err);
        if (rc == 0)
            rc = agent_witness_ask(&volume->ledger.head->witness, volume->tracker, &volume->device,
                                   err);
        if (rc < 0)
            return rc;
        agent_sleep_look(&volume->ledger.head->sleep);
        if (!agent_volume_is_doubtful(volume, &counters, reason))
            continue;
        blx_log_warning("'%s': tracking is doubtful (%s): the whole disk is compared again",
                        volume->device.path, reason);
        agent_volume_begin_rescan(volume, volume->blocks, reason);
        agent_volume_settle_doubt(volume, &counters);
        if (doubtful != NULL)
            *doubtful = true;
    }
    return 0;
}

void agent_set_bandwidth(struct agent *agent, const struct blx_bandwidth *limit)
{
    pthread_mutex_lock(&agent->lock);
    blx_limiter_set(&agent->limiter, limit);
    pthread_cond_broadcast(&agent->changed);
    pthread_mutex_unlock(&agent->lock);
}

/* A limit of a newer release, which this one does not understand, limits nothing. */
static void take_bandwidth_limit_locked(struct agent *agent, const char *text)
{
    blx_assert_held(&agent->lock);
    struct blx_bandwidth limit = {0};
    struct blx_error err = {0};
    if (text[0] != '\0' && blx_bandwidth_parse(text, &limit, &err) < 0)
        blx_log_warning("the bandwidth-limit of the dispatcher's policy is ignored: %s",
                        err.message);
    blx_limiter_set_policy(&agent->limiter, &limit);
}

void agent_take_policy_locked(struct agent *agent, const struct blx_policy_message *policy,
                              enum agent_policy_time time)
{
    blx_assert_held(&agent->lock);
    const struct blx_policy_message *before = &agent->policy;
    bool other_disks = before->exclude_bytes != policy->exclude_bytes ||
                       memcmp(before->exclude, policy->exclude, policy->exclude_bytes) != 0;
    bool begins_pause = policy->paused && !before->paused;
    if (policy->paused != before->paused)
        blx_log_notice(policy->paused ? "paused by the dispatcher: changes are tracked, not sent"
                                      : "resumed by the dispatcher");
    if (other_disks || (time == AGENT_POLICY_LATER && begins_pause))
        agent_rejoin_locked(agent);
    agent_self_note_policy_locked(agent, policy);
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
    agent_patience_end();
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

int agent_make_run_dir(const char *path, struct blx_error *err)
{
    struct stat st;
    int rc = blx_mkdir_parents(path, RUN_DIR_MODE, err);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDONLY | O_DIRECTORY, 0, err);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return blx_error_errno(err, -errno, "cannot look at '%s'", path);
    if (st.st_uid != geteuid())
        return blx_error_set(err, -EPERM,
                             "the folder for state '%s' belongs to user %u, who could change what "
                             "is sent: remove it, or give another --run-dir",
                             path, st.st_uid);
    if ((st.st_mode & 077) != 0 && fchmod(fd, RUN_DIR_MODE) < 0)
        return blx_error_errno(err, -errno, "cannot close '%s' to others (chmod 700)", path);
    return 0;
}
