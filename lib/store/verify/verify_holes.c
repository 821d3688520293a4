/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Zeros where a frame should be: a hole that a prune made, or damage? It is a hole if no checkpoint
 * that names the segment needs the frames. While a manifest says that holes are being made
 * (clearing), a power cut may leave one half made: there any damage of frames that nobody needs is
 * excused. Everywhere else a frame that nobody needs is all there or all zeros, so that a bit that
 * flips in it is found like any other.
 */
#include <errno.h>
#include <stdlib.h>

#include "store/checkpoint/needed_private.h"
#include "store/segment/segment.h"
#include "store/verify/verify_agent_private.h"

static int no_memory(const struct blx_verify_agent *agent, struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot verify the agent '%s'", agent->store.id);
}

/* Whether something in the segment waits for a judgement. */
static bool is_open(const struct blx_segment_findings *findings)
{
    for (size_t i = 0; i < findings->fault_count; i++)
        if (findings->faults[i].excused)
            return true;
    return findings->hole_count > 0;
}

static struct blx_verify_segment *segment_of(const struct blx_verify_volume *volume,
                                             uint32_t number)
{
    struct blx_verify_segment *segment = blx_verify_volume_segment(volume, number);
    return segment != NULL && segment->number == number ? segment : NULL;
}

/* Faults of frames are excused until somebody needs them. */
static void excuse(const struct blx_verify_volume *volume, const struct blx_manifest_volume *found)
{
    for (uint32_t s = 0; s < found->segment_count; s++) {
        struct blx_verify_segment *segment = segment_of(volume, found->segments[s]);
        struct blx_segment_findings *findings = segment == NULL ? NULL : &segment->findings;
        for (size_t i = 0; findings != NULL && i < findings->fault_count; i++)
            findings->faults[i].excused = !findings->faults[i].whole;
    }
}

static int judge_segment(void *arg, const struct blx_needed_segment *needed, struct blx_error *err)
{
    const struct blx_verify_volume *volume = arg;
    struct blx_verify_segment *segment = segment_of(volume, needed->number);
    struct blx_segment_findings *findings = segment == NULL ? NULL : &segment->findings;
    (void)err;
    for (size_t i = 0; findings != NULL && i < findings->hole_count; i++)
        if (blx_needed_within(needed, findings->holes[i].offset_bytes, findings->holes[i].bytes))
            findings->holes[i].needed = true;
    for (size_t i = 0; findings != NULL && i < findings->fault_count; i++) {
        struct blx_segment_fault *fault = &findings->faults[i];
        /* After the frames' end there are no frames, so that nothing excuses a fault there. */
        if (fault->offset_bytes >= needed->frames_end_bytes ||
            blx_needed_within(needed, fault->offset_bytes, fault->bytes))
            fault->excused = false;
    }
    return 0;
}

/* If an index is lost, or not read, nobody can tell which frames are needed: then all of them are.
 */
static void need_all(const struct blx_verify_volume *volume,
                     const struct blx_manifest_volume *found)
{
    for (uint32_t s = 0; s < found->segment_count; s++) {
        struct blx_verify_segment *segment = segment_of(volume, found->segments[s]);
        struct blx_segment_findings *findings = segment == NULL ? NULL : &segment->findings;
        for (size_t i = 0; findings != NULL && i < findings->hole_count; i++)
            findings->holes[i].needed = true;
        for (size_t i = 0; findings != NULL && i < findings->fault_count; i++)
            findings->faults[i].excused = false;
    }
}

static int judge_checkpoint(struct blx_verify_volume *volume,
                            const struct blx_manifest_volume *found, size_t *left,
                            struct blx_error *err)
{
    bool open = false;
    for (uint32_t s = 0; s < found->segment_count && !open; s++) {
        const struct blx_verify_segment *segment = segment_of(volume, found->segments[s]);
        open = segment != NULL && is_open(&segment->findings);
    }
    if (!open)
        return 0;
    if (found->segment_count > *left) {
        need_all(volume, found);
        return 0;
    }
    *left -= found->segment_count;
    struct blx_error cause = {0};
    int rc = blx_needed_find(volume->dir, found, judge_segment, volume, NULL, &cause);
    if (rc == -ENOMEM)
        return blx_error_copy(err, rc, &cause);
    if (rc < 0)
        need_all(volume, found);
    return 0;
}

static int hole_fault(struct blx_segment_findings *findings, const struct blx_segment_hole *hole,
                      bool whole, const char *format, ...) __attribute__((format(printf, 4, 5)));

static int hole_fault(struct blx_segment_findings *findings, const struct blx_segment_hole *hole,
                      bool whole, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int rc = blx_segment_findings_add_fault(findings, hole->offset_bytes, hole->bytes,
                                            whole ? BLX_HARM_WHOLE : BLX_HARM_FRAMES, format, args);
    va_end(args);
    return rc;
}

/* Zeros that somebody needs, with the blocks that the index has there. Where it cannot be read now
 * nobody knows which these are: then the segment is lost, as to a restore. */
static int convict(const struct blx_verify_volume *volume, struct blx_verify_segment *segment,
                   const struct blx_segment_hole *hole)
{
    struct blx_segment_findings *findings = &segment->findings;
    struct blx_segment_reader *reader = NULL;
    int opened = 0;
    if (segment->number != 0)
        opened = blx_segment_reader_open(volume->dir, segment->number, &reader, NULL);
    if (opened == -ENOMEM)
        return opened;
    int rc = hole_fault(findings, hole, opened < 0, "not a valid frame: it is all zeros");
    if (rc < 0 || reader == NULL) {
        blx_segment_reader_close(reader);
        return rc;
    }
    const struct blx_index *index = blx_segment_reader_index(reader);
    for (size_t i = 0; rc == 0 && i < index->count; i++) {
        const struct blx_index_entry *entry = &index->entries[i];
        if (!entry->zero && entry->frame_offset >= hole->offset_bytes &&
            entry->frame_offset < hole->offset_bytes + hole->bytes)
            rc = blx_segment_findings_add_extent(findings, entry->extent);
    }
    blx_segment_reader_close(reader);
    return rc;
}

/* The first segment that is in no checkpoint yet. Below it one that no manifest names was left over
 * by a prune that was cut off. */
static uint32_t uncommitted_from(const struct blx_verify_volume *volume)
{
    uint32_t from = 0;
    for (size_t i = 0; i < volume->link_count; i++)
        if (volume->links[i].entry->next_segment > from)
            from = volume->links[i].entry->next_segment;
    return from;
}

static int settle_segment(const struct blx_verify_volume *volume,
                          struct blx_verify_segment *segment, bool committed)
{
    struct blx_segment_findings *findings = &segment->findings;
    size_t kept = 0;
    int rc = 0;
    for (size_t i = 0; i < findings->fault_count; i++)
        if (!findings->faults[i].excused)
            findings->faults[kept++] = findings->faults[i];
    findings->fault_count = kept;
    for (size_t i = 0; rc == 0 && i < findings->hole_count; i++)
        if (findings->holes[i].needed || !committed)
            rc = convict(volume, segment, &findings->holes[i]);
    return rc;
}

/* Each list is read once for every manifest that names something to be judged. */
static int judge_checkpoints(struct blx_verify_volume *volume, struct blx_error *err)
{
    size_t left = BLX_VERIFY_WAYS * volume->segment_count + BLX_VERIFY_MORE;
    int rc = 0;
    for (size_t i = 0; i < volume->link_count; i++)
        if (volume->links[i].entry->clearing)
            excuse(volume, volume->links[i].entry);
    for (size_t i = 0; rc == 0 && i < volume->link_count; i++)
        rc = judge_checkpoint(volume, volume->links[i].entry, &left, err);
    return rc;
}

static int judge_volume(struct blx_verify_agent *agent, struct blx_verify_volume *volume,
                        struct blx_error *err)
{
    int rc = judge_checkpoints(volume, err);
    uint32_t from = uncommitted_from(volume);
    for (size_t s = 0; rc == 0 && s < volume->segment_count; s++) {
        struct blx_verify_segment *segment = &volume->segments[s];
        bool committed = segment->number != 0 && (segment->named || segment->number < from);
        if (settle_segment(volume, segment, committed) < 0)
            rc = no_memory(agent, err);
    }
    return rc;
}

int blx_verify_agent_holes(struct blx_verify_agent *agent, struct blx_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < agent->volume_count; i++)
        rc = judge_volume(agent, &agent->volumes[i], err);
    return rc;
}
