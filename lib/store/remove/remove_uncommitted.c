/* SPDX-License-Identifier: Apache-2.0 */
/* Frees a volume of the frames that no checkpoint has. Its state file says first that they are
 * lost, so that whatever a crash leaves of them is compared with the disk. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "store/directory_private.h"
#include "store/layout_private.h"
#include "store/receive/volume_file_private.h"
#include "store/remove/remove_private.h"
#include "store/segment/segment.h"

struct rest {
    struct blx_removal *removal;
    char dir[PATH_MAX];
    uint32_t next_segment; /* from here on no checkpoint has them; 0: none has the volume */
    bool has_frames;
    bool takes; /* or only looks */
};

/* The number in "NNNNNNNN.seg" and "NNNNNNNN.damaged"; 0: it is neither. */
static uint32_t number_of(const char *name)
{
    size_t length = strlen(name), digits = strspn(name, "0123456789");
    char sealed[64];
    if (strcmp(name + digits, ".damaged") != 0 || length >= sizeof(sealed))
        return blx_segment_number(name);
    memcpy(sealed, name, digits);
    memcpy(sealed + digits, ".seg", sizeof(".seg"));
    return blx_segment_number(sealed);
}

static bool is_uncommitted(const struct rest *rest, const char *name)
{
    uint32_t number = number_of(name);
    return strncmp(name, "open.", strlen("open.")) == 0 ||
           (number != 0 && number >= rest->next_segment);
}

static int visit_file(void *arg, const char *name, struct blx_error *err)
{
    struct rest *rest = arg;
    char path[PATH_MAX];
    struct stat st;
    if (!is_uncommitted(rest, name))
        return 0;
    int rc = blx_path_format(path, sizeof(path), err, "%s/%s", rest->dir, name);
    if (rc < 0 || lstat(path, &st) != 0)
        return rc;
    if (!rest->takes) {
        rest->removal->report->bytes += (uint64_t)st.st_blocks * 512;
        rest->has_frames =
            rest->has_frames || st.st_size > (off_t)sizeof(struct blx_segment_header_disk);
    } else if (blx_sys->unlink(path) != 0 && errno != ENOENT) {
        rc = blx_error_errno(err, -errno, "cannot remove '%s'", path);
    }
    return rc;
}

static int open_rest(struct blx_removal *removal, const char *volume, struct rest *rest,
                     struct blx_error *err)
{
    *rest = (struct rest){.removal = removal};
    for (size_t i = 0; i < removal->agent.count; i++) {
        const struct blx_manifest_volume *found =
            blx_manifest_find(&removal->agent.checkpoints[i].manifest, volume);
        if (found != NULL && found->next_segment > rest->next_segment)
            rest->next_segment = found->next_segment;
    }
    int rc = blx_agent_store_volume_path(removal->agent.store, volume, rest->dir, err);
    if (rc == 0 && access(rest->dir, F_OK) != 0)
        return blx_error_set(err, -ENOENT, "the agent '%s' has no volume '%s'",
                             removal->agent.store.id, volume);
    return rc;
}

int blx_removal_look_at_rest(struct blx_removal *removal, const char *volume, struct blx_error *err)
{
    struct rest rest;
    int rc = open_rest(removal, volume, &rest, err);
    if (rc == 0)
        rc = blx_directory_each(rest.dir, visit_file, &rest, err);
    removal->report->volumes += rc == 0 && (rest.has_frames || rest.next_segment == 0);
    return rc;
}

/* The frames are lost: the next session compares with what the last checkpoint has. If they were a
 * full pass's, that may be of another disk: the pass begins again. */
static int write_off(const struct rest *rest, struct blx_error *err)
{
    struct blx_volume_file file;
    struct blx_error cause = {0};
    int rc = blx_volume_file_read(rest->dir, &file, &cause);
    if (rc == -ENOENT || rc == -EBADMSG) /* that says the same */
        return 0;
    if (rc < 0)
        return blx_error_copy(err, rc, &cause);
    file.generation = (struct blx_generation){0};
    file.distrusted = file.distrusted || file.full_since != 0;
    file.full_since = 0;
    file.rescan_since = 0;
    file.seq_before = 0;
    return blx_volume_file_write(rest->dir, &file, err);
}

int blx_removal_take_rest(struct blx_removal *removal, const char *volume, struct blx_error *err)
{
    struct rest rest;
    int rc = open_rest(removal, volume, &rest, err);
    if (rc == 0 && rest.next_segment == 0)
        return blx_directory_remove(rest.dir, err);
    uint64_t bytes = removal->report->bytes;
    if (rc == 0)
        rc = blx_directory_each(rest.dir, visit_file, &rest, err);
    removal->report->bytes = bytes; /* counted before */
    if (rc < 0 || !rest.has_frames)
        return rc;
    rc = write_off(&rest, err);
    rest.takes = true;
    if (rc == 0)
        rc = blx_directory_each(rest.dir, visit_file, &rest, err);
    return rc == 0 ? blx_fsync_dir(rest.dir, err) : rc;
}
