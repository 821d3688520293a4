/* SPDX-License-Identifier: Apache-2.0 */
#include "store/trouble.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/io.h"
#include "base/text.h"
#include "store/reserve.h"

enum blx_trouble_kind blx_trouble_of(int rc)
{
    switch (rc) {
    case 0:
        return BLX_TROUBLE_NONE;
    case -ENOSPC:
    case -EDQUOT:
        return BLX_TROUBLE_FULL;
    case -EROFS:
        return BLX_TROUBLE_READ_ONLY;
    case -EACCES:
    case -EPERM:
        return BLX_TROUBLE_DENIED;
    case -EBADMSG:
        return BLX_TROUBLE_DAMAGED;
    default:
        return BLX_TROUBLE_FAILED;
    }
}

/* Whether DIR is still the folder that was opened: its lock is the file that we hold, or somebody
 * has removed that alone. */
static bool is_there(const struct blx_store *store)
{
    char path[PATH_MAX];
    struct stat now, held;
    if (store->lock_fd < 0 || fstat(store->lock_fd, &held) != 0 ||
        blx_path_format(path, sizeof(path), NULL, "%s/lock", store->data_dir) < 0)
        return true;
    if (stat(path, &now) == 0)
        return now.st_dev == held.st_dev && now.st_ino == held.st_ino;
    return errno != ENOENT ||
           (blx_path_format(path, sizeof(path), NULL, "%s/format", store->data_dir) == 0 &&
            access(path, F_OK) == 0);
}

/* Whether this process may do everything in the folder at `path`. One that is missing is no
 * trouble. */
static bool may_use(const char *path, struct blx_trouble *trouble)
{
    struct stat st;
    if (faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) == 0 ||
        (errno != EACCES && errno != EPERM))
        return true;
    trouble->kind = BLX_TROUBLE_DENIED;
    if (stat(path, &st) == 0)
        snprintf(trouble->text, sizeof(trouble->text),
                 "'%.150s' belongs to the user %u, and the dispatcher runs as %u", path, st.st_uid,
                 geteuid());
    else
        snprintf(trouble->text, sizeof(trouble->text),
                 "the dispatcher, which runs as the user %u, may not use '%.150s'", geteuid(),
                 path);
    return false;
}

void blx_store_find_trouble(const struct blx_store *store, struct blx_trouble *trouble)
{
    char path[PATH_MAX];
    struct statvfs disk;
    struct blx_error why = {0};
    *trouble = (struct blx_trouble){.kind = BLX_TROUBLE_NONE};
    if (!is_there(store)) {
        trouble->kind = BLX_TROUBLE_GONE;
        snprintf(trouble->text, sizeof(trouble->text),
                 "'%.150s' is not the folder that the dispatcher opened: it was unmounted, or "
                 "replaced",
                 store->data_dir);
    } else if (statvfs(store->data_dir, &disk) == 0 && (disk.f_flag & ST_RDONLY) != 0) {
        trouble->kind = BLX_TROUBLE_READ_ONLY;
        snprintf(trouble->text, sizeof(trouble->text),
                 "the filesystem of the store '%.150s' is read-only", store->data_dir);
    } else if (!may_use(store->data_dir, trouble) ||
               blx_path_format(path, sizeof(path), NULL, "%s/agents", store->data_dir) < 0 ||
               !may_use(path, trouble)) {
        return;
    } else if (blx_reserve_look(store, &why) == -ENOSPC) {
        trouble->kind = BLX_TROUBLE_FULL;
        blx_text_set(trouble->text, why.message);
    }
}

bool blx_store_measure(const struct blx_store *store, struct blx_control_dispatcher *room)
{
    struct statvfs disk;
    if (statvfs(store->data_dir, &disk) != 0)
        return false;
    room->data_bytes = (uint64_t)disk.f_blocks * disk.f_frsize;
    room->data_free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    /* More free ones than there are: it makes them as needed, as CephFS does. */
    room->data_inodes = disk.f_favail <= disk.f_files ? disk.f_files : 0;
    room->data_free_inodes = disk.f_favail <= disk.f_files ? disk.f_favail : 0;
    return true;
}

void blx_agent_store_find_trouble(struct blx_agent_store agent, struct blx_trouble *trouble)
{
    static const char *const below[] = {"", "/checkpoints", "/volumes"};
    char dir[PATH_MAX], path[PATH_MAX];
    bool fine = true;
    *trouble = (struct blx_trouble){.kind = BLX_TROUBLE_NONE};
    if (blx_agent_store_path(agent, dir, NULL) < 0)
        return;
    for (size_t i = 0; fine && i < sizeof(below) / sizeof(below[0]); i++) {
        if (blx_path_format(path, sizeof(path), NULL, "%s%s", dir, below[i]) == 0)
            fine = may_use(path, trouble);
    }
}
