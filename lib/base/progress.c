/* SPDX-License-Identifier: Apache-2.0 */
#include "base/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/units.h"

enum { REDRAW_NS = 200 * 1000000, FIRST_NS = 1000 * 1000000 };

void blx_progress_init(struct blx_progress *progress, const char *what, uint64_t total_bytes)
{
    *progress = (struct blx_progress){
        .what = what, .total_bytes = total_bytes, .started_ns = blx_clock_ns()};
}

void blx_progress_update(struct blx_progress *progress, uint64_t done_bytes)
{
    uint64_t now = blx_clock_ns();
    uint64_t elapsed = now - progress->started_ns;
    if (elapsed < FIRST_NS || now - progress->drawn_ns < REDRAW_NS || !isatty(STDERR_FILENO))
        return;
    progress->drawn_ns = now;
    progress->shown = true;

    double rate = (double)done_bytes / ((double)elapsed / 1e9);
    uint64_t left = progress->total_bytes > done_bytes ? progress->total_bytes - done_bytes : 0;
    uint64_t percent = progress->total_bytes > 0 ? done_bytes * 100 / progress->total_bytes : 100;
    char done[BLX_UNIT_TEXT_BYTES], total[BLX_UNIT_TEXT_BYTES], speed[BLX_UNIT_TEXT_BYTES],
        eta[BLX_UNIT_TEXT_BYTES] = "?";
    if (rate > 0)
        blx_duration_format((uint64_t)((double)left / rate) * 1000, eta);
    fprintf(stderr, "\r%s: %" PRIu64 " %%, %s of %s, %s/s, ETA %s\033[K", progress->what, percent,
            blx_size_format(done_bytes, done), blx_size_format(progress->total_bytes, total),
            blx_size_format((uint64_t)rate, speed), eta);
}

void blx_progress_done(struct blx_progress *progress)
{
    if (progress->shown)
        fprintf(stderr, "\r\033[K");
    progress->shown = false;
}
