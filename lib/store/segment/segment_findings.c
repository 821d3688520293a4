/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment/segment_findings_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/text.h"

void blx_segment_findings_done(struct blx_segment_findings *findings)
{
    free(findings->faults);
    free(findings->extents);
    free(findings->holes);
    blx_index_done(&findings->index);
    *findings = (struct blx_segment_findings){0};
}

int blx_segment_findings_add_fault(struct blx_segment_findings *findings, uint64_t offset,
                                   uint64_t bytes, enum blx_segment_harm harm, const char *format,
                                   va_list args)
{
    if (blx_array_make_room(findings->faults, findings->fault_count) < 0)
        return -ENOMEM;
    struct blx_segment_fault *fault = &findings->faults[findings->fault_count++];
    *fault = (struct blx_segment_fault){.offset_bytes = offset,
                                        .bytes = bytes,
                                        .whole = harm == BLX_HARM_WHOLE,
                                        .first_extent = findings->extent_count};
    vsnprintf(fault->what, sizeof(fault->what), format, args);
    blx_text_clean(fault->what);
    return 0;
}

int blx_segment_findings_add_extent(struct blx_segment_findings *findings, struct blx_extent extent)
{
    struct blx_segment_fault *fault = &findings->faults[findings->fault_count - 1];
    struct blx_extent *last =
        fault->extent_count == 0 ? NULL : &findings->extents[findings->extent_count - 1];
    if (last != NULL && last->start_block + last->block_count == extent.start_block) {
        last->block_count += extent.block_count;
        return 0;
    }
    if (blx_array_make_room(findings->extents, findings->extent_count) < 0)
        return -ENOMEM;
    findings->extents[findings->extent_count++] = extent;
    fault->extent_count++;
    return 0;
}

int blx_segment_findings_add_hole(struct blx_segment_findings *findings, uint64_t offset_bytes,
                                  uint64_t bytes)
{
    size_t count = findings->hole_count;
    struct blx_segment_hole *last = count == 0 ? NULL : &findings->holes[count - 1];
    if (last != NULL && last->offset_bytes + last->bytes == offset_bytes) {
        last->bytes += bytes;
        return 0;
    }
    if (blx_array_make_room(findings->holes, count) < 0)
        return -ENOMEM;
    findings->holes[findings->hole_count++] =
        (struct blx_segment_hole){.offset_bytes = offset_bytes, .bytes = bytes};
    return 0;
}
