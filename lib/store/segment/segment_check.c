/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment/segment_check_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/damage_private.h"
#include "store/segment/digest_check_private.h"
#include "store/segment/segment_scan_private.h"
#include "store/segment/segment_walk_private.h"

enum { HEADER_BYTES = sizeof(struct blx_segment_header_disk), OPEN_TRIES = 5 };

static void walk_done(struct blx_segment_walk *walk)
{
    if (walk->reader.fd >= 0) {
        posix_fadvise(walk->reader.fd, 0, 0, POSIX_FADV_DONTNEED);
        close(walk->reader.fd);
    }
    free(walk->reader.path);
    blx_index_done(&walk->reader.index);
    blx_index_done(&walk->named);
    blx_index_done(&walk->rebuilt.index);
    free(walk->frame);
    free(walk->data);
}

static int no_memory(const struct blx_segment_walk *walk, struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot check '%s'", walk->reader.path);
}

/* The cause without "the segment 'PATH' is damaged: ", which is shown with the fault anyway.
 */
static const char *cause_of(const struct blx_error *cause)
{
    const char *at = strstr(cause->message, "is damaged: ");
    return at == NULL ? cause->message : at + strlen("is damaged: ");
}

static int read_header(struct blx_segment_walk *walk, struct blx_error *err)
{
    struct blx_segment_header_disk header;
    struct blx_error cause = {0};
    int rc = blx_segment_reader_header(&walk->reader, &header, &cause);
    if (rc == 0) {
        walk->rebuilt.summary.block_shift = header.block_shift;
        walk->rebuilt.summary.rewritten = (header.flags & BLX_SEGMENT_REWRITTEN) != 0;
        return 0;
    }
    if (!blx_is_damage(rc))
        return blx_error_copy(err, rc, &cause);
    return blx_segment_walk_fault(walk, 0, HEADER_BYTES, BLX_HARM_WHOLE, "%s", cause_of(&cause));
}

static int read_tail(struct blx_segment_walk *walk, struct blx_error *err)
{
    struct blx_segment_footer_disk footer;
    struct blx_error cause = {0};
    uint64_t file_bytes = walk->findings->file_bytes;
    int rc = blx_segment_reader_footer(&walk->reader, file_bytes, &footer, &cause);
    if (blx_is_damage(rc))
        return blx_segment_walk_fault(walk, file_bytes - sizeof(footer), sizeof(footer),
                                      BLX_HARM_WHOLE, "%s", cause_of(&cause));
    if (rc < 0)
        return blx_error_copy(err, rc, &cause);
    walk->footer_good = true;
    walk->rebuilt.summary.block_shift = footer.block_shift;
    walk->rebuilt.summary.rewritten = walk->reader.summary.rewritten;
    rc = blx_segment_reader_entries(&walk->reader, &footer, &cause);
    walk->index_good = rc == 0;
    if (rc == 0)
        return 0;
    blx_index_done(&walk->reader.index);
    if (!blx_is_damage(rc))
        return blx_error_copy(err, rc, &cause);
    uint64_t index_bytes = file_bytes - sizeof(footer) - walk->reader.index_offset_bytes;
    return blx_segment_walk_fault(walk, walk->reader.index_offset_bytes, index_bytes,
                                  BLX_HARM_WHOLE, "%s", cause_of(&cause));
}

/* Whether the index that lies between `frames_end` and the footer, perhaps with digests before it,
 * is the one that the frames give: then they are all of them, even if the footer cannot say it. */
static bool is_stored_index(const struct blx_segment_walk *walk, uint64_t frames_end)
{
    const struct blx_index *index = &walk->rebuilt.index;
    uint64_t tail_bytes =
        sizeof(struct blx_segment_footer_disk) + index->count * sizeof(struct blx_index_entry_disk);
    uint64_t room = walk->findings->file_bytes - frames_end, digests = 0;
    if (tail_bytes > room)
        return false;
    for (size_t i = 0; i < index->count; i++) {
        struct blx_index_entry entry = index->entries[i];
        struct blx_index_entry_disk stored, wanted;
        if (blx_pread_full(walk->reader.fd, &stored, sizeof(stored),
                           frames_end + room - tail_bytes + i * sizeof(stored)) < 0)
            return false;
        entry.has_digests = (blx_le32_get(stored.flags) & BLX_INDEX_DIGESTS) != 0;
        digests += entry.has_digests ? entry.extent.block_count : 0;
        wanted = blx_segment_entry_encode(&entry);
        if (memcmp(&stored, &wanted, sizeof(stored)) != 0)
            return false;
    }
    return room - tail_bytes == digests << BLX_BLOCK_DIGEST_SHIFT;
}

static void keep_index(struct blx_segment_walk *walk, uint64_t frames_end)
{
    struct blx_segment_findings *findings = walk->findings;
    struct blx_index *from = walk->index_good ? &walk->reader.index : &walk->rebuilt.index;
    if (walk->index_good)
        findings->index_complete = true;
    else if (walk->footer_good)
        findings->index_complete =
            walk->rebuilt.summary.frame_count == walk->reader.summary.frame_count &&
            findings->frame_count == walk->rebuilt.summary.frame_count;
    else
        findings->index_complete = is_stored_index(walk, frames_end);
    findings->block_shift = walk->rebuilt.summary.block_shift;
    findings->index = *from;
    *from = (struct blx_index){0};
}

/* A restore refuses a segment that does not fit the volume of the checkpoint that names it. */
static int check_fit(struct blx_segment_walk *walk)
{
    const struct blx_segment_request *request = walk->request;
    const struct blx_segment_findings *findings = walk->findings;
    const struct blx_index *index = &findings->index;
    if (request->block_shift == 0 || index->count == 0)
        return 0;
    const struct blx_extent *last = &index->entries[index->count - 1].extent;
    if (findings->block_shift != request->block_shift)
        return blx_segment_walk_fault(walk, 0, findings->file_bytes, BLX_HARM_WHOLE,
                                      "it has another block size than its volume");
    if (last->start_block + last->block_count > request->blocks)
        return blx_segment_walk_fault(walk, 0, findings->file_bytes, BLX_HARM_WHOLE,
                                      "it holds blocks beyond the end of its volume");
    return 0;
}

static int check_sealed(struct blx_segment_walk *walk, struct blx_error *err)
{
    struct blx_segment_findings *findings = walk->findings;
    uint64_t frames_end, tail = sizeof(struct blx_segment_footer_disk);
    if (findings->file_bytes < HEADER_BYTES + tail) {
        blx_segment_walk_count(walk, findings->file_bytes);
        return blx_segment_walk_fault(walk, 0, findings->file_bytes, BLX_HARM_WHOLE,
                                      "it is too short") < 0
                   ? no_memory(walk, err)
                   : 0;
    }
    int rc = read_header(walk, err);
    if (rc == 0)
        rc = read_tail(walk, err);
    if (rc == 0)
        rc = blx_digest_check_table(walk);
    if (rc == 0)
        rc = blx_segment_walk_prepare(walk);
    if (rc < 0)
        return rc == -ENOMEM ? no_memory(walk, err) : rc;
    uint64_t end = walk->footer_good ? walk->reader.frames_end_bytes : findings->file_bytes - tail;
    if (blx_segment_walk_frames(walk, end, &frames_end) < 0 || blx_segment_walk_judge(walk) < 0)
        return no_memory(walk, err);
    keep_index(walk, frames_end);
    if (check_fit(walk) < 0)
        return no_memory(walk, err);
    blx_segment_walk_count(walk, findings->file_bytes - frames_end);
    return 0;
}

/* Any number will do in open.seg. */
static int read_open_header(struct blx_segment_walk *walk, struct blx_segment_header_disk *header)
{
    if (walk->findings->file_bytes < HEADER_BYTES)
        return -EBADMSG;
    int rc = blx_pread_full(walk->reader.fd, header, sizeof(*header), 0);
    if (rc < 0)
        return rc;
    walk->reader.summary.number = blx_le32_get(header->number);
    return blx_segment_reader_header(&walk->reader, header, NULL);
}

static int check_open(struct blx_segment_walk *walk, struct blx_error *err)
{
    struct blx_segment_findings *findings = walk->findings;
    struct blx_segment_header_disk header;
    uint64_t frames_end, found;
    int rc = read_open_header(walk, &header);
    if (rc < 0 && !blx_is_damage(rc))
        return blx_error_errno(err, rc, "cannot read '%s'", walk->reader.path);
    if (rc < 0) {
        rc = blx_segment_find_frame(walk->reader.fd, walk->reader.path, 0, findings->file_bytes,
                                    &found, err);
        if (rc < 0)
            return rc;
        findings->torn_bytes = rc == 1 ? 0 : findings->file_bytes;
        blx_segment_walk_count(walk, rc == 1 ? 0 : findings->file_bytes);
        if (rc == 0)
            return 0;
        if (blx_segment_walk_fault(walk, 0, HEADER_BYTES, BLX_HARM_WHOLE,
                                   "its header is not valid, but frames follow") < 0)
            return no_memory(walk, err);
    } else {
        walk->rebuilt.summary.block_shift = header.block_shift;
    }
    if (blx_segment_walk_frames(walk, findings->file_bytes, &frames_end) < 0)
        return no_memory(walk, err);
    if (frames_end < findings->file_bytes) {
        findings->torn_bytes = findings->file_bytes - frames_end;
        blx_segment_walk_count(walk, findings->torn_bytes);
    }
    return 0;
}

static int open_file(struct blx_segment_walk *walk, struct blx_error *err)
{
    const struct blx_segment_request *request = walk->request;
    struct stat st;
    int rc = blx_segment_reader_name(&walk->reader, request->volume_dir, request->number, err);
    if (rc < 0)
        return rc;
    walk->reader.fd = blx_open(walk->reader.path, O_RDONLY | O_NOFOLLOW, 0, err);
    if (walk->reader.fd < 0)
        return walk->reader.fd;
    if (fstat(walk->reader.fd, &st) != 0)
        return blx_error_errno(err, -errno, "cannot read '%s'", walk->reader.path);
    walk->findings->file_bytes = (uint64_t)st.st_size;
    posix_fadvise(walk->reader.fd, 0, 0, POSIX_FADV_DONTNEED);
    posix_fadvise(walk->reader.fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return 0;
}

static int check_once(const struct blx_segment_request *request,
                      struct blx_segment_findings *findings, struct blx_error *err)
{
    BLX_CLEANUP(walk_done)
    struct blx_segment_walk walk = {
        .request = request,
        .findings = findings,
        .reader = {.fd = -1, .summary.number = request->number},
        .rebuilt = {.fd = -1, .log.fd = -1, .summary.block_shift = request->block_shift},
    };
    struct blx_error cause = {0};
    int rc = open_file(&walk, &cause);
    if (blx_is_damage(rc))
        return blx_segment_walk_fault(&walk, 0, 0, BLX_HARM_WHOLE, "%s", cause.message) < 0
                   ? no_memory(&walk, err)
                   : 0;
    if (rc < 0)
        return blx_error_copy(err, rc, &cause);
    size_t most = BLX_FRAME_MAX_BYTES;
    walk.frame = malloc(findings->file_bytes < most ? (size_t)findings->file_bytes + 1 : most);
    if (walk.frame == NULL)
        return no_memory(&walk, err);
    return request->number == 0 ? check_open(&walk, err) : check_sealed(&walk, err);
}

/* What tells that a file is another one, or has changed. */
static bool look(const struct blx_segment_request *request, struct stat *st)
{
    char path[PATH_MAX];
    return blx_path_format(path, sizeof(path), NULL, "%s/open.seg", request->volume_dir) == 0 &&
           stat(path, st) == 0;
}

static bool is_unchanged(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

int blx_segment_check(const struct blx_segment_request *request,
                      struct blx_segment_findings *findings, struct blx_error *err)
{
    *findings = (struct blx_segment_findings){0};
    if (request->number != 0)
        return check_once(request, findings, err);
    /* A session may cut a torn tail off and write on while we read: then apparent damage is
     * none. */
    for (int tries = 1;; tries++) {
        struct stat before, after;
        if (!look(request, &before))
            return -ENOENT;
        int rc = check_once(request, findings, err);
        if (rc < 0 || findings->fault_count == 0 || tries == OPEN_TRIES)
            return rc;
        if (look(request, &after) && is_unchanged(&before, &after))
            return 0;
        blx_segment_findings_done(findings);
    }
}

int blx_segment_reader_salvage(const char *volume_dir, uint32_t number, unsigned block_shift,
                               struct blx_segment_reader **reader, bool *complete,
                               struct blx_error *err)
{
    BLX_CLEANUP(blx_segment_findings_done) struct blx_segment_findings findings = {0};
    struct blx_segment_request request = {
        .volume_dir = volume_dir, .number = number, .block_shift = block_shift};
    int rc = blx_segment_check(&request, &findings, err);
    if (rc < 0)
        return rc;
    if (findings.index.count == 0)
        return blx_error_set(err, -EBADMSG, "no frame can be found in it");
    struct blx_segment_reader *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot open a segment in '%s'", volume_dir);
    made->fd = -1;
    made->summary =
        (struct blx_segment_summary){.number = number, .block_shift = findings.block_shift};
    rc = blx_segment_reader_name(made, volume_dir, number, err);
    if (rc < 0) {
        blx_segment_reader_close(made);
        return rc;
    }
    made->index = findings.index;
    findings.index = (struct blx_index){0};
    *complete = findings.index_complete;
    *reader = made;
    return 0;
}
