/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/overlay.h"

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
#include <unistd.h>

#include "base/io.h"
#include "base/le.h"
#include "base/name.h"
#include "base/text.h"

enum { UNIT = MOUNT_OVERLAY_UNIT_BYTES, HEADER_BYTES = 4096 };

static const char magic[16] = "blxrep overlay 1";

struct header_disk {
    char magic[16];
    blx_le64 checkpoint;
    blx_le64 size_bytes;
    char agent_id[BLX_NAME_BYTES];
} __attribute__((packed));

struct mount_overlay {
    int fd;
    char path[PATH_MAX];
    uint64_t size_bytes;  /* of all volumes; constant */
    uint64_t data_offset; /* constant */
    size_t bitmap_bytes;
    /* Mapped. A bit is set after its unit was written; nobody clears one. */
    _Atomic uint8_t *bitmap;
    pthread_mutex_t
        writing; /* so that a unit that is written in part is read and written at once */
};

void mount_overlay_close(struct mount_overlay *overlay)
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

static int open_file(struct mount_overlay *overlay, const char *path, struct blx_error *err)
{
    const char *folder = getenv("TMPDIR");
    if (path[0] == '\0') {
        folder = folder != NULL && folder[0] == '/' ? folder : "/var/tmp";
        blx_text_set(overlay->path, folder);
        overlay->fd = open(folder, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    } else {
        blx_text_set(overlay->path, path);
        overlay->fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    }
    if (overlay->fd < 0)
        return blx_error_errno(err, -errno, "cannot open '%s' for what is written", overlay->path);
    if (flock(overlay->fd, LOCK_EX | LOCK_NB) != 0)
        return blx_error_set(err, -EBUSY,
                             "'%s' belongs to another mount: end that one, or name another file",
                             overlay->path);
    return 0;
}

int mount_overlay_open(const char *path, struct mount_overlay **overlay, struct blx_error *err)
{
    struct mount_overlay *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot open '%s'", path);
    made->fd = -1;
    pthread_mutex_init(&made->writing, NULL);
    int rc = open_file(made, path, err);
    if (rc < 0) {
        mount_overlay_close(made);
        return rc;
    }
    *overlay = made;
    return 0;
}

/* A file that is empty gets its header; any other must have the same one. */
static int check_header(const struct mount_overlay *overlay, const char *agent_id,
                        blx_timestamp checkpoint, struct blx_error *err)
{
    struct stat st;
    struct header_disk found, wanted = {.checkpoint = blx_le64_of(checkpoint),
                                        .size_bytes = blx_le64_of(overlay->size_bytes)};
    memcpy(wanted.magic, magic, sizeof(magic));
    blx_text_set(wanted.agent_id, agent_id);
    if (fstat(overlay->fd, &st) != 0)
        return blx_error_errno(err, -errno, "cannot use '%s'", overlay->path);
    if (!S_ISREG(st.st_mode))
        return blx_error_set(err, -EINVAL, "'%s' is no file: name one for what is written",
                             overlay->path);
    if (st.st_size == 0) {
        int rc = blx_pwrite_full(overlay->fd, &wanted, sizeof(wanted), 0);
        return rc < 0 ? blx_error_errno(err, rc, "cannot write '%s'", overlay->path) : 0;
    }
    int rc = blx_pread_full(overlay->fd, &found, sizeof(found), 0);
    if (rc < 0 || memcmp(found.magic, magic, sizeof(magic)) != 0)
        return blx_error_set(err, -EINVAL,
                             "'%s' holds something else: name a new file for what is written",
                             overlay->path);
    if (memcmp(&found, &wanted, sizeof(found)) != 0)
        return blx_error_set(err, -EINVAL,
                             "'%s' was written over the checkpoint %llu of '%.64s': mount that "
                             "one, or name a new file",
                             overlay->path, (unsigned long long)blx_le64_get(found.checkpoint),
                             found.agent_id);
    return 0;
}

int mount_overlay_begin(struct mount_overlay *overlay, const char *agent_id,
                        blx_timestamp checkpoint, uint64_t size_bytes, struct blx_error *err)
{
    uint64_t units = size_bytes / UNIT + (size_bytes % UNIT != 0);
    overlay->size_bytes = size_bytes;
    overlay->bitmap_bytes = (size_t)(units / 8 / UNIT + 1) * UNIT;
    overlay->data_offset = HEADER_BYTES + overlay->bitmap_bytes;
    int rc = check_header(overlay, agent_id, checkpoint, err);
    if (rc < 0)
        return rc;
    if (ftruncate(overlay->fd, (off_t)(overlay->data_offset + units * UNIT)) != 0)
        return blx_error_errno(err, -errno, "cannot write '%s'", overlay->path);
    void *mapped = mmap(NULL, overlay->bitmap_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                        overlay->fd, HEADER_BYTES);
    if (mapped == MAP_FAILED)
        return blx_error_errno(err, -errno, "cannot use '%s'", overlay->path);
    overlay->bitmap = mapped;
    return 0;
}

static bool is_written(const struct mount_overlay *overlay, uint64_t unit)
{
    return (atomic_load(&overlay->bitmap[unit / 8]) >> unit % 8 & 1) != 0;
}

static void mark_written(struct mount_overlay *overlay, uint64_t unit)
{
    atomic_fetch_or(&overlay->bitmap[unit / 8], (uint8_t)(1U << unit % 8));
}

/* How many of `bytes` from the place on lie in units that are alike. */
static size_t run_of(const struct mount_overlay *overlay, uint64_t place, size_t bytes)
{
    uint64_t unit = place / UNIT;
    bool written = is_written(overlay, unit);
    size_t run = UNIT - (size_t)(place % UNIT);
    while (run < bytes && is_written(overlay, ++unit) == written)
        run += UNIT;
    return run < bytes ? run : bytes;
}

int mount_overlay_read(struct mount_overlay *overlay, const struct mount_below *below, void *buffer,
                       size_t bytes, uint64_t offset_bytes)
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
static int write_part(struct mount_overlay *overlay, const struct mount_below *below,
                      const void *from, size_t bytes, uint64_t offset_bytes)
{
    uint8_t unit[UNIT] = {0};
    uint64_t place = below->offset_bytes + offset_bytes;
    uint64_t start = offset_bytes - place % UNIT;
    size_t inside = below->size_bytes - start < UNIT ? (size_t)(below->size_bytes - start) : UNIT;
    int rc = mount_overlay_read(overlay, below, unit, inside, start);
    if (rc < 0)
        return rc;
    memcpy(unit + place % UNIT, from, bytes);
    rc = blx_pwrite_full(overlay->fd, unit, UNIT, overlay->data_offset + place - place % UNIT);
    if (rc == 0)
        mark_written(overlay, place / UNIT);
    return rc;
}

static int write_units(struct mount_overlay *overlay, uint64_t place, const void *from,
                       size_t bytes)
{
    int rc = blx_pwrite_full(overlay->fd, from, bytes, overlay->data_offset + place);
    for (uint64_t unit = place / UNIT; rc == 0 && unit < (place + bytes) / UNIT; unit++)
        mark_written(overlay, unit);
    return rc;
}

int mount_overlay_write(struct mount_overlay *overlay, const struct mount_below *below,
                        const void *buffer, size_t bytes, uint64_t offset_bytes)
{
    const uint8_t *from = buffer;
    int rc = 0;
    pthread_mutex_lock(&overlay->writing);
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

int mount_overlay_sync(struct mount_overlay *overlay)
{
    if (msync((void *)overlay->bitmap, overlay->bitmap_bytes, MS_SYNC) != 0 ||
        fsync(overlay->fd) != 0)
        return -errno;
    return 0;
}
