/* SPDX-License-Identifier: Apache-2.0 */
#include "store/receive/received_volume_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/assert.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/name.h"
#include "base/sys.h"
#include "store/directory_private.h"
#include "store/segment/segment_writer_private.h"

void blx_received_volume_free(struct blx_received_volume *volume)
{
    if (volume == NULL)
        return;
    blx_segment_writer_close(volume->open);
    free(volume->pending);
    free(volume->unreadable);
    free(volume->dir);
    free(volume);
}

void blx_received_volume_demand(struct blx_received_volume *volume, enum blx_received_state state,
                                const char *format, ...)
{
    va_list args;
    if (state <= volume->state)
        return;
    volume->state = state;
    va_start(args, format);
    vsnprintf(volume->reason, sizeof(volume->reason), format, args);
    va_end(args);
}

void blx_received_volume_go_on(struct blx_received_volume *volume)
{
    volume->state = BLX_RECEIVED_GOES_ON;
    volume->reason[0] = '\0';
}

int blx_received_volume_add_pending(struct blx_received_volume *volume,
                                    const struct blx_segment_summary *summary,
                                    struct blx_error *err)
{
    if (blx_array_make_room(volume->pending, volume->pending_count) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot note a segment of '%s'", volume->dir);
    blx_assert(volume->pending_count == 0 ||
               volume->pending[volume->pending_count - 1].number < summary->number);
    volume->pending[volume->pending_count++] = (struct blx_pending_segment){
        .number = summary->number,
        .key_id = summary->key_id,
        .changed_blocks = summary->changed_blocks,
        .stored_bytes = summary->stored_bytes,
    };
    return 0;
}

int blx_received_volume_seal(struct blx_received_volume *volume, struct blx_error *err)
{
    struct blx_segment_summary summary;
    int rc = blx_segment_writer_seal(blx_take_ptr(volume->open), &summary, err);
    if (rc < 0)
        return rc;
    volume->unsynced_bytes = 0;
    volume->next_number = summary.number + 1;
    return blx_received_volume_add_pending(volume, &summary, err);
}

int blx_received_volume_seal_frames(struct blx_received_volume *volume, struct blx_error *err)
{
    struct blx_segment_summary summary = {0};
    if (volume->open != NULL)
        blx_segment_writer_summary(volume->open, &summary);
    return summary.frame_count > 0 ? blx_received_volume_seal(volume, err) : 0;
}

/* A segment is sealed when it holds a GiB, or names as many blocks as a GiB of the smallest has. */
bool blx_received_volume_is_crowded(const struct blx_received_volume *volume)
{
    uint64_t of_a_pass = volume->info.size_bytes / BLX_SEGMENT_MAX_BYTES + 1;
    return volume->pending_count >= 4096 + 4 * of_a_pass;
}

struct siblings {
    size_t count;
};

static int count_sibling(void *arg, const char *name, struct blx_error *err)
{
    struct siblings *siblings = arg;
    (void)err;
    siblings->count += blx_name_check("volume name", name, NULL) == 0;
    return 0;
}

static int check_siblings(const struct blx_received_volume *volume, struct blx_error *err)
{
    char parent[PATH_MAX];
    struct siblings siblings = {0};
    int rc = blx_path_format(parent, sizeof(parent), err, "%.*s",
                             (int)(strrchr(volume->dir, '/') - volume->dir), volume->dir);
    if (rc == 0)
        rc = blx_directory_each(parent, count_sibling, &siblings, err);
    if (rc < 0 || siblings.count < BLX_RECEIVED_MOST_VOLUMES)
        return rc;
    return blx_error_set(err, -EDQUOT,
                         "the volume '%s' is refused: %zu are stored already in '%s'; `blxrep "
                         "dispatcher remove --volume=NAME` removes one",
                         volume->info.name, siblings.count, parent);
}

int blx_received_volume_make(struct blx_received_volume *volume, struct blx_error *err)
{
    if (volume->is_made)
        return 0;
    int rc = check_siblings(volume, err);
    if (rc == 0)
        rc = blx_directory_make(volume->dir, err);
    if (rc == 0)
        rc = blx_volume_file_write(volume->dir, &volume->file, err);
    volume->is_made = rc == 0;
    return rc;
}

static int remove_file(const char *path, struct blx_error *err)
{
    if (blx_sys->unlink(path) != 0 && errno != ENOENT)
        return blx_error_errno(err, -errno, "cannot remove '%s'", path);
    return 0;
}

int blx_received_volume_discard(struct blx_received_volume *volume, struct blx_error *err)
{
    char path[PATH_MAX];
    blx_segment_writer_close(blx_take_ptr(volume->open));
    volume->unsynced_bytes = 0;
    int rc = blx_path_format(path, sizeof(path), err, "%s/open.seg", volume->dir);
    if (rc == 0)
        rc = remove_file(path, err);
    if (rc == 0)
        rc = blx_path_format(path, sizeof(path), err, "%s/open.digests", volume->dir);
    if (rc == 0)
        rc = remove_file(path, err);
    while (rc == 0 && volume->pending_count > 0) {
        rc = blx_segment_path(volume->dir, volume->pending[volume->pending_count - 1].number, path,
                              err);
        if (rc == 0)
            rc = remove_file(path, err);
        if (rc == 0)
            volume->pending_count--;
    }
    return rc < 0 ? rc : blx_fsync_dir(volume->dir, err);
}
