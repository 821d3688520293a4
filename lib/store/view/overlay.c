/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/io.h"
#include "base/le.h"
#include "base/name.h"
#include "base/sys.h"
#include "base/text.h"

enum { UNIT = BLX_OVERLAY_UNIT_BYTES, HEADER_BYTES = 4096 };

static const char magic[16] = "blxrep overlay 1";

struct header_disk {
    char magic[16];
    blx_le64 checkpoint;
    blx_le64 size_bytes;
    char agent_id[BLX_NAME_BYTES];
} __attribute__((packed));

struct blx_overlay {
    enum blx_overlay_mode mode;
    int fd;
    bool nameless;
    char path[PATH_MAX];
    uint64_t room_bytes;  /* for units that were not written before; `writing` */
    uint64_t size_bytes;  /* of all volumes; constant */
    uint64_t data_offset; /* constant */
    size_t bitmap_bytes;
    /* Mapped. A bit is set after its unit was written; nobody clears one. */
    _Atomic uint8_t *bitmap;
    pthread_mutex_t
        writing; /* so that a unit that is written in part is read and written at once */
};

void blx_overlay_close(struct blx_overlay *overlay)
{
    if (overlay == NULL)
        return;
    if (overlay->bitmap != NULL)
        munmap((void *)overlay->bitmap, overlay->bitmap_bytes);
    if (overlay->fd >= 0)
        close(overlay->fd);
    pthread_mutex_destroy(&overlay->writing);
    free(overlay);
}

static const char *temporary_folder(void)
{
    const char *folder = getenv("TMPDIR");
    return folder != NULL && folder[0] == '/' ? folder : "/var/tmp";
}

int blx_overlay_open_nameless(struct blx_error *err)
{
    return blx_open(temporary_folder(), O_RDWR | O_TMPFILE, 0600, err);
}

static int open_file(struct blx_overlay *overlay, const char *path, struct blx_error *err)
{
    bool writes = overlay->mode == BLX_OVERLAY_WRITE;
    blx_text_set(overlay->path, path[0] != '\0' ? path : temporary_folder());
    overlay->nameless = path[0] == '\0';
    overlay->fd =
        overlay->nameless
            ? blx_overlay_open_nameless(err)
            : blx_open(path, (writes ? O_RDWR | O_CREAT : O_RDONLY) | O_NOFOLLOW, 0600, err);
    return overlay->fd < 0 ? overlay->fd : 0;
}

static int lock_file(const struct blx_overlay *overlay, struct blx_error *err)
{
    bool writes = overlay->mode == BLX_OVERLAY_WRITE;
    if (flock(overlay->fd, (writes ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0)
        return blx_error_set(err, -EBUSY,
                             "'%s' is in use by a mount, a restore or a server that was booted: "
                             "end that one, or name another file",
                             overlay->path);
    return 0;
}

static struct blx_overlay *make(enum blx_overlay_mode mode)
{
    struct blx_overlay *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return NULL;
    made->mode = mode;
    made->fd = -1;
    pthread_mutex_init(&made->writing, NULL);
    return made;
}

int blx_overlay_adopt(int fd, struct blx_overlay **overlay, struct blx_error *err)
{
    struct blx_overlay *made = make(BLX_OVERLAY_WRITE);
    if (made == NULL) {
        close(fd);
        return blx_error_errno(err, -ENOMEM, "cannot open the overlay");
    }
    made->fd = fd;
    made->nameless = true;
    blx_text_set(made->path, "the overlay");
    int rc = lock_file(made, err);
    if (rc < 0)
        blx_overlay_close(made);
    else
        *overlay = made;
    return rc;
}

int blx_overlay_open(const char *path, enum blx_overlay_mode mode, struct blx_overlay **overlay,
                     struct blx_error *err)
{
    struct blx_overlay *made = make(mode);
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot open '%s'", path);
    int rc = open_file(made, path, err);
    if (rc == 0)
        rc = lock_file(made, err);
    if (rc < 0) {
        blx_overlay_close(made);
        return rc;
    }
    *overlay = made;
    return 0;
}

uint64_t blx_overlay_place(const struct blx_manifest *manifest, uint32_t at)
{
    uint64_t place = 0;
    for (uint32_t i = 0; i < at; i++)
        place += (manifest->volumes[i].size_bytes + UNIT - 1) / UNIT * UNIT;
    return place;
}

/* An empty file, or one whose first write was torn. */
static bool is_fresh(const struct blx_overlay *overlay, const struct header_disk *wanted,
                     off_t bytes)
{
    struct header_disk found;
    return overlay->mode == BLX_OVERLAY_WRITE && bytes < (off_t)sizeof(found) &&
           blx_pread_full(overlay->fd, &found, (size_t)bytes, 0) == 0 &&
           memcmp(&found, wanted, (size_t)bytes) == 0;
}

/* A fresh file gets its header; any other must have the same one. */
static int check_header(const struct blx_overlay *overlay, const struct header_disk *wanted,
                        struct stat *st, struct blx_error *err)
{
    struct header_disk found;
    if (fstat(overlay->fd, st) != 0)
        return blx_error_errno(err, -errno, "cannot use '%s'", overlay->path);
    if (!S_ISREG(st->st_mode))
        return blx_error_set(err, -EINVAL, "'%s' is no file: name one for what is written",
                             overlay->path);
    if (is_fresh(overlay, wanted, st->st_size)) {
        int rc = blx_pwrite_full(overlay->fd, wanted, sizeof(*wanted), 0);
        return rc < 0 ? blx_error_errno(err, rc, "cannot write '%s'", overlay->path) : 0;
    }
    int rc = blx_pread_full(overlay->fd, &found, sizeof(found), 0);
    if (rc < 0 && rc != -ENODATA)
        return blx_error_errno(err, rc, "cannot read '%s'", overlay->path);
    if (rc < 0 || memcmp(found.magic, magic, sizeof(magic)) != 0)
        return blx_error_set(err, -EINVAL,
                             "'%s' holds something else: name %s file for what is written",
                             overlay->path, overlay->mode == BLX_OVERLAY_WRITE ? "a new" : "the");
    if (memcmp(&found, wanted, sizeof(found)) != 0)
        return blx_error_set(err, -EINVAL,
                             "'%s' was written over the checkpoint %llu of '%.64s': give that "
                             "one, or name another file",
                             overlay->path, (unsigned long long)blx_le64_get(found.checkpoint),
                             found.agent_id);
    return 0;
}

/* A bitmap on a full disk would end the process, so its room is taken first. */
static int make_room(const struct blx_overlay *overlay, off_t bytes, const struct stat *st,
                     struct blx_error *err)
{
    if (overlay->mode == BLX_OVERLAY_READ) {
        if (st->st_size < bytes)
            return blx_error_set(err, -EINVAL,
                                 "'%s' was cut short: it had %lld bytes, and has %lld",
                                 overlay->path, (long long)bytes, (long long)st->st_size);
        return 0;
    }
    int rc = blx_sys->ftruncate(overlay->fd, bytes);
    if (rc == 0)
        rc = blx_sys->fallocate(overlay->fd, 0, HEADER_BYTES, (off_t)overlay->bitmap_bytes);
    if (rc == 0 || errno == EOPNOTSUPP)
        return 0;
    return blx_error_errno(err, -errno, "cannot write '%s'", overlay->path);
}

/* A server that is booted decides what it writes, and others need the folder for temporary files,
 * too. */
static void find_room(struct blx_overlay *overlay)
{
    struct statvfs disk;
    overlay->room_bytes = UINT64_MAX;
    if (overlay->nameless && fstatvfs(overlay->fd, &disk) == 0 && disk.f_blocks > 0)
        overlay->room_bytes = (uint64_t)disk.f_bavail * disk.f_frsize / 2;
}

int blx_overlay_begin(struct blx_overlay *overlay, const char *agent_id,
                      const struct blx_manifest *manifest, struct blx_error *err)
{
    struct header_disk wanted = {.checkpoint = blx_le64_of(manifest->timestamp)};
    struct stat st;
    overlay->size_bytes = blx_overlay_place(manifest, manifest->volume_count);
    uint64_t units = overlay->size_bytes / UNIT;
    overlay->bitmap_bytes = (size_t)(units / 8 / UNIT + 1) * UNIT;
    overlay->data_offset = HEADER_BYTES + overlay->bitmap_bytes;
    memcpy(wanted.magic, magic, sizeof(magic));
    wanted.size_bytes = blx_le64_of(overlay->size_bytes);
    blx_text_set(wanted.agent_id, agent_id);
    int rc = check_header(overlay, &wanted, &st, err);
    if (rc == 0)
        rc = make_room(overlay, (off_t)(overlay->data_offset + units * UNIT), &st, err);
    if (rc < 0)
        return rc;
    int rights = overlay->mode == BLX_OVERLAY_WRITE ? PROT_READ | PROT_WRITE : PROT_READ;
    void *mapped = mmap(NULL, overlay->bitmap_bytes, rights, MAP_SHARED, overlay->fd, HEADER_BYTES);
    if (mapped == MAP_FAILED)
        return blx_error_errno(err, -errno, "cannot use '%s'", overlay->path);
    find_room(overlay);
    overlay->bitmap = mapped;
    return 0;
}

static bool is_written(const struct blx_overlay *overlay, uint64_t unit)
{
    return (atomic_load(&overlay->bitmap[unit / 8]) >> unit % 8 & 1) != 0;
}

static void mark_written(struct blx_overlay *overlay, uint64_t unit)
{
    atomic_fetch_or(&overlay->bitmap[unit / 8], (uint8_t)(1U << unit % 8));
}

/* How many of `bytes` from the place on lie in units that are alike. */
static size_t run_of(const struct blx_overlay *overlay, uint64_t place, size_t bytes)
{
    uint64_t unit = place / UNIT;
    bool written = is_written(overlay, unit);
    size_t run = UNIT - (size_t)(place % UNIT);
    while (run < bytes && is_written(overlay, ++unit) == written)
        run += UNIT;
    return run < bytes ? run : bytes;
}

int blx_overlay_read(struct blx_overlay *overlay, const struct blx_overlay_below *below,
                     void *buffer, size_t bytes, uint64_t offset_bytes)
{
    uint8_t *to = buffer;
    int rc = 0;
    while (rc == 0 && bytes > 0) {
        uint64_t place = below->offset_bytes + offset_bytes;
        size_t run = run_of(overlay, place, bytes);
        rc = is_written(overlay, place / UNIT)
                 ? blx_pread_full(overlay->fd, to, run, overlay->data_offset + place)
                 : below->read(below->arg, to, run, offset_bytes);
        to += run;
        offset_bytes += run;
        bytes -= run;
    }
    return rc;
}

/* A part of a unit, whose rest is what it was. */
static int write_part(struct blx_overlay *overlay, const struct blx_overlay_below *below,
                      const void *from, size_t bytes, uint64_t offset_bytes)
{
    uint8_t unit[UNIT] = {0};
    uint64_t place = below->offset_bytes + offset_bytes;
    uint64_t start = offset_bytes - place % UNIT;
    size_t inside = below->size_bytes - start < UNIT ? (size_t)(below->size_bytes - start) : UNIT;
    int rc = blx_overlay_read(overlay, below, unit, inside, start);
    if (rc < 0)
        return rc;
    memcpy(unit + place % UNIT, from, bytes);
    rc = blx_pwrite_full(overlay->fd, unit, UNIT, overlay->data_offset + place - place % UNIT);
    if (rc == 0)
        mark_written(overlay, place / UNIT);
    return rc;
}

static int write_units(struct blx_overlay *overlay, uint64_t place, const void *from, size_t bytes)
{
    int rc = blx_pwrite_full(overlay->fd, from, bytes, overlay->data_offset + place);
    for (uint64_t unit = place / UNIT; rc == 0 && unit < (place + bytes) / UNIT; unit++)
        mark_written(overlay, unit);
    return rc;
}

/* Those that the write touches and that take room then. */
static uint64_t count_fresh_bytes(const struct blx_overlay *overlay, uint64_t place, size_t bytes)
{
    uint64_t fresh = 0;
    for (uint64_t unit = place / UNIT; bytes > 0 && unit <= (place + bytes - 1) / UNIT; unit++)
        fresh += is_written(overlay, unit) ? 0 : UNIT;
    return fresh;
}

int blx_overlay_write(struct blx_overlay *overlay, const struct blx_overlay_below *below,
                      const void *buffer, size_t bytes, uint64_t offset_bytes)
{
    const uint8_t *from = buffer;
    pthread_mutex_lock(&overlay->writing);
    uint64_t fresh = count_fresh_bytes(overlay, below->offset_bytes + offset_bytes, bytes);
    int rc = fresh <= overlay->room_bytes ? 0 : -ENOSPC;
    overlay->room_bytes -= rc == 0 ? fresh : 0;
    while (rc == 0 && bytes > 0) {
        uint64_t place = below->offset_bytes + offset_bytes;
        size_t part = UNIT - (size_t)(place % UNIT);
        if (part == UNIT && bytes >= UNIT) {
            part = bytes / UNIT * UNIT;
            rc = write_units(overlay, place, from, part);
        } else {
            part = part < bytes ? part : bytes;
            rc = write_part(overlay, below, from, part, offset_bytes);
        }
        from += part;
        offset_bytes += part;
        bytes -= part;
    }
    pthread_mutex_unlock(&overlay->writing);
    return rc;
}

bool blx_overlay_find(const struct blx_overlay *overlay, const struct blx_overlay_below *below,
                      uint64_t offset_bytes, struct blx_overlay_run *run)
{
    uint64_t at = offset_bytes;
    while (at < below->size_bytes) {
        uint64_t place = below->offset_bytes + at, left = below->size_bytes - at;
        size_t bytes = run_of(overlay, place, left < SIZE_MAX ? (size_t)left : SIZE_MAX);
        if (is_written(overlay, place / UNIT)) {
            *run = (struct blx_overlay_run){.offset_bytes = at, .bytes = bytes};
            return true;
        }
        at += bytes;
    }
    return false;
}

int blx_overlay_sync(struct blx_overlay *overlay)
{
    if (msync((void *)overlay->bitmap, overlay->bitmap_bytes, MS_SYNC) != 0 ||
        blx_sys->fsync(overlay->fd) != 0)
        return -errno;
    return 0;
}
