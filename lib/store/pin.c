#include "store/pin.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "store/agent_lock.h"
#include "store/manifest.h"

static int pin_path(const struct blx_store *store, const char *agent_id, blx_timestamp checkpoint,
                    char path[PATH_MAX], struct blx_error *err)
{
    char manifest[PATH_MAX];
    int rc = blx_manifest_path(store, agent_id, checkpoint, manifest, err);
    return rc == 0 ? blx_path_format(path, PATH_MAX, err, "%s.pinned", manifest) : rc;
}

int blx_pin_read(const struct blx_store *store, const char *agent_id, blx_timestamp checkpoint,
                 bool *pinned, struct blx_error *err)
{
    char path[PATH_MAX];
    struct stat st;
    int rc = pin_path(store, agent_id, checkpoint, path, err);
    if (rc < 0)
        return rc;
    bool found = lstat(path, &st) == 0;
    if (!found && errno != ENOENT)
        return blx_error_errno(err, -errno, "cannot read '%s'", path);
    *pinned = found;
    return 0;
}

static int write_pin(const char *path, bool pinned, struct blx_error *err)
{
    if (!pinned) {
        if (blx_sys->unlink(path) != 0 && errno != ENOENT)
            return blx_error_errno(err, -errno, "cannot remove '%s'", path);
        return 0;
    }
    BLX_CLEANUP_FD int fd = blx_open(path, O_WRONLY | O_CREAT | O_NOFOLLOW, 0600, err);
    return fd < 0 ? fd : 0;
}

/* Under the chains' lock a prune either sees the pin or has removed the checkpoint. */
static int write_locked(const struct blx_store *store, const char *agent_id,
                        blx_timestamp checkpoint, bool pinned, struct blx_error *err)
{
    char path[PATH_MAX], manifest[PATH_MAX];
    struct stat st;
    int rc = pin_path(store, agent_id, checkpoint, path, err);
    if (rc == 0)
        rc = blx_manifest_path(store, agent_id, checkpoint, manifest, err);
    if (rc < 0)
        return rc;
    if (lstat(manifest, &st) != 0)
        return blx_error_errno(err, -errno, "the agent '%s' has no checkpoint %llu", agent_id,
                               (unsigned long long)checkpoint);
    rc = write_pin(path, pinned, err);
    return rc == 0 ? blx_fsync_parent(path, err) : rc;
}

int blx_pin_write(const struct blx_store *store, const char *agent_id, blx_timestamp checkpoint,
                  bool pinned, struct blx_error *err)
{
    BLX_CLEANUP(blx_agent_lock_close) struct blx_agent_lock lock = {.fd = -1};
    int rc = blx_agent_lock_open(store, agent_id, &lock, err);
    if (rc == 0)
        rc = blx_agent_lock_share(&lock, BLX_LOCK_CHAINS, err);
    return rc == 0 ? write_locked(store, agent_id, checkpoint, pinned, err) : rc;
}
