/* SPDX-License-Identifier: Apache-2.0 */
#include "store/prune/rewrite_group_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "store/damage_private.h"
#include "store/prune/carried_digests_private.h"

enum {
    PAGE_BYTES = 4096,
    GAIN = 10,         /* it is worth it if a tenth comes free */
    SMALL_PAGES = 256, /* segments up to here are put together */
};

void blx_rewrite_group_clear(struct blx_rewrite_group *group)
{
    for (size_t i = 0; i < group->count; i++)
        free(group->pieces[i].frames);
    free(group->pieces);
    *group = (struct blx_rewrite_group){0};
}

/* What a segment of these frames takes. */
static uint64_t file_bytes(uint64_t needed_bytes, uint64_t entries, uint64_t digests)
{
    if (needed_bytes == 0)
        return 0;
    return sizeof(struct blx_segment_header_disk) + needed_bytes +
           (digests << BLX_BLOCK_DIGEST_SHIFT) + entries * sizeof(struct blx_index_entry_disk) +
           sizeof(struct blx_segment_footer_disk);
}

static uint64_t whole_pages(uint64_t bytes)
{
    return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

static bool is_much_more(uint64_t bytes, uint64_t than_bytes)
{
    return bytes > than_bytes + than_bytes / GAIN;
}

bool blx_rewrite_piece_is_poor(const struct blx_rewrite_piece *piece)
{
    uint64_t bytes = whole_pages(file_bytes(piece->needed_bytes, piece->entries, piece->digests));
    return is_much_more(piece->used_bytes, bytes) ||
           piece->file_bytes <= (uint64_t)SMALL_PAGES * PAGE_BYTES;
}

bool blx_rewrite_group_fits(const struct blx_rewrite_group *group,
                            const struct blx_rewrite_piece *piece)
{
    return group->count == 0 ||
           (group->needed_bytes + piece->needed_bytes <= BLX_SEGMENT_MAX_BYTES &&
            group->entries + piece->entries <= BLX_SEGMENT_MAX_ENTRIES &&
            group->digests + piece->digests <= BLX_SEGMENT_MAX_DIGESTS);
}

int blx_rewrite_group_add(struct blx_rewrite_group *group, struct blx_rewrite_piece *piece)
{
    if (blx_array_make_room(group->pieces, group->count) < 0)
        return -ENOMEM;
    group->pieces[group->count++] = *piece;
    group->used_bytes += piece->used_bytes;
    group->needed_bytes += piece->needed_bytes;
    group->entries += piece->entries;
    group->digests += piece->digests;
    *piece = (struct blx_rewrite_piece){0};
    return 0;
}

/* A file's length decides along with the space that it takes: so a rewritten segment is not
 * rewritten again, whatever the filesystem makes of it. */
bool blx_rewrite_group_is_worth_it(const struct blx_rewrite_group *group)
{
    uint64_t bytes = file_bytes(group->needed_bytes, group->entries, group->digests);
    if (group->count == 0 || !is_much_more(group->used_bytes, whole_pages(bytes)))
        return false;
    return group->count > 1 || is_much_more(group->pieces[0].file_bytes, bytes);
}

int blx_rewrite_path(const char *volume_dir, char path[PATH_MAX], struct blx_error *err)
{
    return blx_path_format(path, PATH_MAX, err, "%s/" BLX_REWRITE_NAME, volume_dir);
}

/* What a copy needs. */
struct copying {
    const char *dir;
    const char *name; /* of the file there */
    struct blx_segment_writer *writer;
    uint8_t *buffer; /* owned; a frame */
    struct blx_carried_digests carried;
    int (*copied)(void *arg, uint64_t bytes, struct blx_error *err);
    void *arg;
};

static void copying_done(struct copying *copying)
{
    if (copying->writer != NULL)
        (void)blx_digest_log_remove(&copying->writer->log, NULL);
    blx_segment_writer_close(copying->writer);
    blx_carried_digests_done(&copying->carried);
    free(copying->buffer);
}

static int copy_frame(struct copying *copying, int fd, const char *path,
                      const struct blx_needed_frame *needed, struct blx_error *err)
{
    struct blx_frame frame;
    struct blx_error cause = {0};
    if (needed->bytes > BLX_FRAME_MAX_BYTES)
        return blx_error_set(err, -EBADMSG, "the segment '%s' is damaged: a frame is too large",
                             path);
    int rc = blx_pread_full(fd, copying->buffer, needed->bytes, needed->offset_bytes);
    if (rc < 0) /* bytes that the disk does not give are lost like damaged ones */
        return blx_error_errno(err, blx_is_damage(rc) ? -EBADMSG : rc, "cannot read '%s'", path);
    rc = blx_frame_parse(copying->buffer, needed->bytes, &frame, &cause);
    if (rc == -ENOMEM)
        return blx_error_errno(err, rc, "cannot read '%s'", path);
    if (rc < 0)
        return blx_error_set(err, rc, "the segment '%s' is damaged at byte %llu: %s", path,
                             (unsigned long long)needed->offset_bytes, cause.message);
    rc = blx_carried_digests_find(&copying->carried, &frame, needed->offset_bytes, err);
    if (rc == 0)
        rc = blx_segment_writer_append(copying->writer, &frame, err);
    return rc == 0 ? copying->copied(copying->arg, needed->bytes, err) : rc;
}

static int copy_piece(struct copying *copying, const struct blx_rewrite_piece *piece,
                      struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_segment_path(copying->dir, piece->number, path, err);
    if (rc < 0 || piece->frame_count == 0)
        return rc;
    rc = blx_carried_digests_open(&copying->carried, copying->dir, piece->number, err);
    if (rc < 0)
        return rc;
    const struct blx_key_id key_id = blx_carried_digests_key(&copying->carried);
    blx_segment_writer_set_digest_key(copying->writer, &key_id);
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDONLY | O_NOFOLLOW, 0, err);
    if (fd < 0)
        return fd;
    for (size_t i = 0; rc == 0 && i < piece->frame_count; i++)
        rc = copy_frame(copying, fd, path, &piece->frames[i], err);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    return rc;
}

static int begin(struct copying *copying, uint32_t number, unsigned block_shift,
                 struct blx_error *err)
{
    struct blx_segment_writer *writer = calloc(1, sizeof(*writer));
    copying->writer = writer;
    copying->buffer = malloc(BLX_FRAME_MAX_BYTES);
    if (writer != NULL)
        writer->fd = writer->log.fd = -1;
    if (writer == NULL || copying->buffer == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot rewrite segments in '%s'", copying->dir);
    writer->summary = (struct blx_segment_summary){
        .number = number, .block_shift = block_shift, .rewritten = true};
    int rc = blx_path_format(writer->path, PATH_MAX, err, "%s/%s", copying->dir, copying->name);
    if (rc < 0)
        return rc;
    writer->fd = blx_open(writer->path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600, err);
    return writer->fd < 0 ? writer->fd : blx_segment_writer_begin(writer, err);
}

int blx_rewrite_group_copy(const struct blx_rewrite_group *group, const char *volume_dir,
                           const char *name, unsigned block_shift,
                           const struct blx_volume_key *digest_key,
                           int (*copied)(void *arg, uint64_t bytes, struct blx_error *err),
                           void *arg, struct blx_segment_writer **made, struct blx_error *err)
{
    BLX_CLEANUP(copying_done)
    struct copying copying = {.dir = volume_dir,
                              .name = name,
                              .copied = copied,
                              .arg = arg,
                              .carried = {.key = digest_key}};
    int rc = begin(&copying, group->pieces[0].number, block_shift, err);
    for (size_t i = group->count; rc == 0 && i > 0; i--)
        rc = copy_piece(&copying, &group->pieces[i - 1], err);
    if (rc == 0)
        rc = blx_segment_writer_finish(copying.writer, err);
    if (rc == 0)
        rc = blx_digest_log_remove(&copying.writer->log, err);
    if (rc < 0)
        return rc;
    posix_fadvise(copying.writer->fd, 0, 0, POSIX_FADV_DONTNEED);
    *made = blx_take_ptr(copying.writer);
    return 0;
}
