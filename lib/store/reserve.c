/* SPDX-License-Identifier: Apache-2.0 */
#include "store/reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "base/units.h"
#include "store/directory_private.h"

enum {
    PART = 64, /* of the filesystem */
    LEAST_BYTES = 1024 * 1024,
    MOST_BYTES = 64 * 1024 * 1024,
    INODES = 64,
    /* A receiver stops while this much is free beside the reserve: what it writes until it looks
     * again. */
    MARGIN_BYTES = 2 * 1024 * 1024,
    MARGIN_PART = 128,
    MARGIN_INODES = 8,
};

/* What there is, and what is wanted. */
struct room {
    uint64_t free_bytes, free_inodes;
    uint64_t reserve_bytes, reserve_inodes; /* inodes 0: the filesystem makes them as needed */
    uint64_t margin_bytes, margin_inodes;
    bool is_filled;
};

static int file_path(const struct blx_store *store, const char *name, char path[PATH_MAX])
{
    return blx_path_format(path, PATH_MAX, NULL, "%s/reserve/%s", store->data_dir, name);
}

static int inode_path(const struct blx_store *store, unsigned number, char path[PATH_MAX])
{
    return blx_path_format(path, PATH_MAX, NULL, "%s/reserve/inode.%u", store->data_dir, number);
}

static uint64_t clamp(uint64_t value, uint64_t least, uint64_t most)
{
    return value < least ? least : value > most ? most : value;
}

/* False if there is no DIR/reserve, or nobody knows. */
static bool measure(const struct blx_store *store, struct room *room)
{
    char path[PATH_MAX];
    struct statvfs disk;
    struct stat st;
    if (file_path(store, ".", path) < 0 || statvfs(path, &disk) < 0 ||
        file_path(store, "bytes", path) < 0)
        return false;
    uint64_t size = (uint64_t)disk.f_blocks * disk.f_frsize;
    *room = (struct room){
        .free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize,
        .free_inodes = disk.f_favail,
        .reserve_bytes = clamp(size / PART, LEAST_BYTES, MOST_BYTES),
        .margin_bytes = clamp(size / MARGIN_PART, 0, MARGIN_BYTES),
        .is_filled = lstat(path, &st) == 0,
    };
    /* CephFS counts those in use, and has no bound. */
    if (disk.f_files > 0 && disk.f_favail <= disk.f_files) {
        room->reserve_inodes = clamp(disk.f_files / PART, 4, INODES);
        room->margin_inodes = MARGIN_INODES;
    }
    return true;
}

/* Whether that many reserves are free, and the margin. */
static bool has_room(const struct room *room, unsigned reserves)
{
    return room->free_bytes >= reserves * room->reserve_bytes + room->margin_bytes &&
           (room->reserve_inodes == 0 ||
            room->free_inodes >= reserves * room->reserve_inodes + room->margin_inodes);
}

static int make_file(const char *path)
{
    return blx_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600, NULL);
}

/* `bytes` comes last: if it is there, all is. On a filesystem that preallocates nothing it never
 * is, and receivers leave the room free. */
static void fill(const struct blx_store *store, const struct room *room)
{
    char path[PATH_MAX];
    for (unsigned i = 0; i < room->reserve_inodes; i++) {
        BLX_CLEANUP_FD int fd = inode_path(store, i, path) < 0 ? -1 : make_file(path);
        if (fd < 0)
            return;
    }
    BLX_CLEANUP_FD int fd = file_path(store, "bytes", path) < 0 ? -1 : make_file(path);
    if (fd >= 0 && blx_sys->fallocate(fd, 0, 0, (off_t)room->reserve_bytes) != 0)
        blx_sys->unlink(path);
}

void blx_reserve_refill(const struct blx_store *store)
{
    struct room room;
    if (measure(store, &room) && !room.is_filled && has_room(&room, 1))
        fill(store, &room);
}

int blx_reserve_make(const struct blx_store *store, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_path_format(path, sizeof(path), err, "%s/reserve", store->data_dir);
    if (rc == 0)
        rc = blx_directory_make(path, err);
    if (rc == 0)
        blx_reserve_refill(store);
    return rc;
}

static int remove_one(void *arg, const char *name, struct blx_error *err)
{
    char path[PATH_MAX];
    (void)err;
    if (file_path(arg, name, path) == 0)
        blx_sys->unlink(path);
    return 0;
}

void blx_reserve_release(const struct blx_store *store)
{
    char path[PATH_MAX];
    struct room room;
    struct blx_store copy = *store;
    if (!measure(store, &room) || has_room(&room, 1) || file_path(store, ".", path) < 0)
        return;
    blx_directory_each(path, remove_one, &copy, NULL);
}

/* What is left is the reserve's, or nothing is. */
static int judge(const struct blx_store *store, const struct room *room, struct blx_error *err)
{
    char text[BLX_UNIT_TEXT_BYTES], inodes[48] = "";
    if (has_room(room, room->is_filled ? 0 : 1))
        return 0;
    if (room->reserve_inodes > 0)
        snprintf(inodes, sizeof(inodes), " and %" PRIu64 " inodes", room->free_inodes);
    return blx_error_set(err, -ENOSPC,
                         "the store '%.100s' is full: %s%s are free, and the last of them are kept "
                         "for pruning; prune checkpoints, or make room",
                         store->data_dir, blx_size_format(room->free_bytes, text), inodes);
}

int blx_reserve_look(const struct blx_store *store, struct blx_error *err)
{
    struct room room;
    return measure(store, &room) ? judge(store, &room, err) : 0;
}

int blx_reserve_check(const struct blx_store *store, struct blx_error *err)
{
    struct room room;
    if (!measure(store, &room))
        return 0;
    if (!room.is_filled && has_room(&room, 2)) {
        fill(store, &room);
        return 0;
    }
    return judge(store, &room, err);
}
