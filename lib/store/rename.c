/* SPDX-License-Identifier: Apache-2.0 */
#include "store/rename.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "store/agent_lock.h"
#include "store/own_id.h"

static int check_free(struct blx_agent_store agent, const char *to, struct blx_error *err)
{
    char name[BLX_NAME_BYTES];
    if (blx_agent_store_exists(blx_store_agent(agent.store, to)))
        return blx_error_set(err, -EEXIST,
                             "there is an agent '%s' already: remove it first, or choose another "
                             "name",
                             to);
    int rc = blx_own_id_find(agent.store, to, name, err);
    if (rc <= 0 || strcmp(name, agent.id) == 0)
        return rc < 0 ? rc : 0;
    return blx_error_set(err, -EEXIST,
                         "'%s' is the ID of the agent '%s', whose server would then be taken for "
                         "this one: choose another name",
                         to, name);
}

int blx_rename_check(struct blx_agent_store agent, const char *to, struct blx_error *err)
{
    int rc = blx_name_check("agent ID", agent.id, err);
    if (rc == 0)
        rc = blx_name_check("new name", to, err);
    if (rc == 0)
        rc = blx_agent_store_check(agent, err);
    return rc == 0 ? check_free(agent, to, err) : rc;
}

static int lock_session(struct blx_agent_store agent, struct blx_agent_lock *lock, unsigned wait_ms,
                        struct blx_error *err)
{
    struct blx_error busy = {0};
    int rc = blx_agent_lock_open(agent, lock, err);
    if (rc < 0)
        return rc;
    rc = blx_agent_lock_alone(lock, BLX_LOCK_SESSION, wait_ms, &busy);
    if (rc == -EBUSY)
        return blx_error_set(err, rc,
                             "the agent '%s' is connected, or its data is being removed: try again",
                             agent.id);
    return rc < 0 ? blx_error_copy(err, rc, &busy) : 0;
}

/* The lock moves with the folder: whoever waits for it finds that out (agent_lock.h). */
static int move(struct blx_agent_store agent, const char *to, struct blx_error *err)
{
    char from_path[PATH_MAX], to_path[PATH_MAX];
    int rc = blx_agent_store_path(agent, from_path, err);
    if (rc == 0)
        rc = blx_agent_store_path(blx_store_agent(agent.store, to), to_path, err);
    if (rc < 0)
        return rc;
    if (blx_sys->rename(from_path, to_path) != 0)
        return blx_error_errno(err, -errno, "cannot rename '%s' to '%s'", from_path, to_path);
    return blx_fsync_parent(to_path, err);
}

int blx_rename(struct blx_agent_store agent, const char *to, unsigned wait_ms,
               struct blx_error *err)
{
    char id[BLX_NAME_BYTES];
    BLX_CLEANUP(blx_agent_lock_close) struct blx_agent_lock lock = {.fd = -1};
    int rc = blx_rename_check(agent, to, err);
    if (rc == 0)
        rc = lock_session(agent, &lock, wait_ms, err);
    if (rc == 0)
        rc = blx_agent_lock_others(&lock, err);
    if (rc == 0)
        rc = blx_agent_lock_check_readers(&lock, agent, err);
    if (rc == 0)
        rc = blx_rename_check(agent, to, err);
    if (rc == 0)
        rc = blx_own_id_read(agent, id, err);
    if (rc == 0)
        rc = blx_own_id_write(agent, id, err);
    return rc == 0 ? move(agent, to, err) : rc;
}
