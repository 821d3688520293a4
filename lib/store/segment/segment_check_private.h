/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every byte of one segment, read and judged: header, frames, index, footer, nothing between and
 * nothing after them. Each frame is parsed and unpacked; an index is built from the frames and must
 * be the one that is stored. Private to lib/store; verify.h is the public side.
 *
 * Damage hurts in one of two ways. If a restore would refuse the segment (header, index or footer,
 * or it is gone) the whole segment is lost to it. A damaged frame costs only those blocks for which
 * the index names it.
 *
 * Threads: no shared state except the counter. Waits for the disk; pages of the file are dropped
 * from the page cache before and after, so that the disk is asked and no other pages are driven
 * out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "store/segment/segment.h"
#include "store/segment/segment_findings_private.h"

/*
 * 0 if the segment was read, whatever was found; faults say what. A range that the disk does not
 * give (EIO) is a fault. -ENOENT if there is no such file; -ENOMEM, and others that keep us from
 * judging it. Free `findings` with _done() in any case.
 *
 * open.seg is judged as a recovery would, and left alone: a torn tail is no damage, and if the file
 * changes under the reader it is read again.
 */
int blx_segment_check(const struct blx_segment_request *request,
                      struct blx_segment_findings *findings, struct blx_error *err);

/*
 * A reader for a segment that blx_segment_reader_open() refuses, with the index that its frames
 * give. `complete` says whether the index has every stored frame. -EBADMSG if not one frame can be
 * found.
 */
int blx_segment_reader_salvage(const char *volume_dir, uint32_t number, unsigned block_shift,
                               struct blx_segment_reader **reader, bool *complete,
                               struct blx_error *err);
