/* SPDX-License-Identifier: Apache-2.0 */
#include "store/prune/prune.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "store/checkpoint/manifest_file.h"
#include "store/checkpoint/pin.h"
#include "store/checkpoint/tested.h"
#include "store/signal/suspicion.h"
#include "store/prune/prune_agent_private.h"
#include "store/reserve.h"

/* Planning a restore of a long chain reads that many indexes. */
enum { CHAINS_WAIT_MS = 60000, WAIT_SLICE_MS = 200 };

static bool is_doomed(const struct blx_prune_agent *agent, size_t at)
{
    return at != SIZE_MAX && agent->checkpoints[at].doomed && !agent->checkpoints[at].gone;
}

static int mark_doomed(struct blx_prune_agent *agent, const struct blx_prune_request *request,
                       struct blx_error *err)
{
    for (size_t i = 0; i < request->count; i++) {
        size_t at = blx_prune_agent_find(agent, request->checkpoints[i]);
        if (at == SIZE_MAX)
            continue;
        if (agent->checkpoints[at].newest)
            return blx_error_set(err, -EINVAL,
                                 "the checkpoint %llu cannot be removed: it is the newest one of a "
                                 "volume of '%s'",
                                 (unsigned long long)request->checkpoints[i], agent->store.id);
        agent->checkpoints[at].doomed = true;
    }
    return 0;
}

/* 1 if the checkpoint must stay, because it is held or pinned. The chains are locked. */
static int check_free_locked(struct blx_prune_agent *agent, size_t at, struct blx_error *err)
{
    struct blx_prune_checkpoint *checkpoint = &agent->checkpoints[at];
    bool pinned = false;
    int rc = blx_pin_read(agent->store, checkpoint->timestamp, &pinned, err);
    int held = rc == 0 ? blx_agent_lock_is_held(&agent->lock, checkpoint->timestamp,
                                                checkpoint->timestamp, err)
                       : 0;
    if (rc < 0 || held < 0)
        return rc < 0 ? rc : held;
    agent->report->pinned += pinned;
    agent->report->in_use += !pinned && held == 1;
    checkpoint->doomed = !pinned && held == 0;
    return !checkpoint->doomed;
}

/* How many ancestors of the checkpoint are to go. */
static size_t count_run(const struct blx_prune_agent *agent, size_t keeper)
{
    size_t count = 0;
    for (size_t at = agent->checkpoints[keeper].parent; is_doomed(agent, at);
         at = agent->checkpoints[at].parent)
        count++;
    return count;
}

/* 1 if one of them must stay. */
static int check_run_locked(struct blx_prune_agent *agent, size_t keeper, size_t count,
                            struct blx_error *err)
{
    size_t at = agent->checkpoints[keeper].parent;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++, at = agent->checkpoints[at].parent)
        rc = check_free_locked(agent, at, err);
    return rc;
}

static int unlink_manifest(struct blx_prune_agent *agent, size_t at, struct blx_error *err)
{
    char path[PATH_MAX];
    struct blx_prune_checkpoint *checkpoint = &agent->checkpoints[at];
    int rc = blx_tested_remove_locked(agent->store, checkpoint->timestamp, err);
    if (rc == 0)
        rc = blx_suspicion_remove_locked(agent->store, checkpoint->timestamp, err);
    if (rc == 0)
        rc = blx_manifest_path(agent->store, checkpoint->timestamp, path, err);
    if (rc < 0)
        return rc;
    if (blx_sys->unlink(path) != 0)
        return blx_error_errno(err, -errno, "cannot remove '%s'", path);
    checkpoint->gone = true;
    agent->report->removed++;
    if (checkpoint->parent != SIZE_MAX)
        agent->checkpoints[checkpoint->parent].children--;
    return 0;
}

/* Removes, from `at` upward, the doomed ones that have no successor any more; the newest first, so
 * that a crash leaves whole chains. */
static int unlink_run(struct blx_prune_agent *agent, size_t at, size_t count, struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_manifest_dir(agent->store, dir, err);
    for (size_t i = 0; rc == 0 && i < count && agent->checkpoints[at].children == 0; i++) {
        rc = unlink_manifest(agent, at, err);
        at = agent->checkpoints[at].parent;
    }
    return rc == 0 ? blx_fsync_dir(dir, err) : rc;
}

static void adopt(struct blx_prune_agent *agent, size_t keeper, struct blx_manifest *merged)
{
    struct blx_prune_checkpoint *checkpoint = &agent->checkpoints[keeper];
    if (checkpoint->parent != SIZE_MAX)
        agent->checkpoints[checkpoint->parent].children--;
    blx_manifest_done(&checkpoint->manifest);
    checkpoint->manifest = *merged;
    *merged = (struct blx_manifest){0};
    checkpoint->parent = blx_prune_agent_find(agent, checkpoint->manifest.parent);
    if (checkpoint->parent != SIZE_MAX)
        agent->checkpoints[checkpoint->parent].children++;
}

/* The chains stay locked from the look at the holders until the removal. 1 if one of the run must
 * stay: then nothing was done. */
static int replace_run(struct blx_prune_agent *agent, size_t keeper, size_t count,
                       struct blx_manifest *merged, struct blx_error *err)
{
    size_t first = agent->checkpoints[keeper].parent;
    int rc = blx_agent_lock_alone(&agent->lock, BLX_LOCK_CHAINS, CHAINS_WAIT_MS, err);
    if (rc < 0)
        return rc;
    rc = check_run_locked(agent, keeper, count, err);
    if (rc == 0)
        rc = blx_manifest_replace(agent->store, merged, err);
    if (rc == 0) {
        adopt(agent, keeper, merged);
        rc = unlink_run(agent, first, count, err);
    }
    blx_agent_lock_release(&agent->lock, BLX_LOCK_CHAINS);
    return rc;
}

/* The checkpoint takes over from the doomed ones directly above it, which are then removed. */
static int take_run(struct blx_prune_agent *agent, size_t keeper, struct blx_error *err)
{
    int rc = 1;
    size_t count;
    while (rc == 1 && (count = count_run(agent, keeper)) > 0) {
        BLX_CLEANUP_MANIFEST struct blx_manifest merged = {0};
        rc = blx_prune_merge(agent, keeper, count, &merged, err);
        if (rc == 0)
            rc = replace_run(agent, keeper, count, &merged, err);
    }
    return rc < 0 ? rc : 0;
}

/* Removes a doomed checkpoint that nobody builds upon, as a prune that was cut off leaves it. */
static int remove_leaf(struct blx_prune_agent *agent, size_t at, struct blx_error *err)
{
    int rc = blx_agent_lock_alone(&agent->lock, BLX_LOCK_CHAINS, CHAINS_WAIT_MS, err);
    if (rc < 0)
        return rc;
    rc = check_free_locked(agent, at, err);
    if (rc == 0)
        rc = unlink_run(agent, at, 1, err);
    blx_agent_lock_release(&agent->lock, BLX_LOCK_CHAINS);
    return rc < 0 ? rc : 0;
}

static int check_stop(const struct blx_prune_request *request, struct blx_error *err)
{
    if (request->stop != NULL && atomic_load(request->stop))
        return blx_error_set(err, -ECANCELED, "the prune was stopped");
    return 0;
}

static int remove_all(struct blx_prune_agent *agent, const struct blx_prune_request *request,
                      struct blx_error *err)
{
    int rc = 0;
    for (size_t i = agent->count; rc == 0 && i > 0; i--) {
        size_t at = i - 1;
        bool doomed = is_doomed(agent, at);
        rc = check_stop(request, err);
        if (rc == 0 && doomed && agent->checkpoints[at].children == 0)
            rc = remove_leaf(agent, at, err);
        if (rc == 0 && !agent->checkpoints[at].gone && !agent->checkpoints[at].doomed)
            rc = take_run(agent, at, err);
    }
    return rc;
}

static int clear_all(struct blx_prune_agent *agent, const struct blx_prune_request *request,
                     struct blx_error *err)
{
    int rc = blx_prune_unlink(agent, err);
    if (rc == 0)
        rc = blx_prune_orphans(agent, err);
    for (size_t i = 0; rc == 0 && i < agent->count; i++) {
        rc = check_stop(request, err);
        if (rc == 0 && !agent->checkpoints[i].gone)
            rc = blx_prune_clear(agent, i, err);
    }
    return rc;
}

/* Waits for a verification or a rewrite. */
static int lock_contents(struct blx_prune_agent *agent, const struct blx_prune_request *request,
                         struct blx_error *err)
{
    for (unsigned waited_ms = 0;; waited_ms += WAIT_SLICE_MS) {
        unsigned left_ms = request->wait_ms > waited_ms ? request->wait_ms - waited_ms : 0;
        int rc = blx_agent_lock_alone(&agent->lock, BLX_LOCK_CONTENTS,
                                      left_ms < WAIT_SLICE_MS ? left_ms : WAIT_SLICE_MS, err);
        if (rc != -EBUSY || left_ms <= WAIT_SLICE_MS)
            return rc;
        blx_error_clear(err);
        rc = check_stop(request, err);
        if (rc < 0)
            return rc;
    }
}

int blx_prune(struct blx_agent_store agent_store, const struct blx_prune_request *request,
              struct blx_prune_report *report, struct blx_error *err)
{
    BLX_CLEANUP(blx_prune_agent_done)
    struct blx_prune_agent agent = {.lock = {.fd = -1}, .report = report};
    *report = (struct blx_prune_report){0};
    blx_reserve_release(agent_store.store);
    int rc = blx_agent_lock_open(agent_store, &agent.lock, err);
    if (rc == 0)
        rc = lock_contents(&agent, request, err);
    if (rc == 0)
        rc = blx_prune_agent_open(agent_store, &agent, err);
    if (rc == 0)
        rc = mark_doomed(&agent, request, err);
    if (rc == 0)
        rc = remove_all(&agent, request, err);
    if (rc == 0)
        rc = clear_all(&agent, request, err);
    blx_reserve_refill(agent_store.store);
    return rc;
}
