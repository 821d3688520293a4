/* SPDX-License-Identifier: Apache-2.0 */
#include "base/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/units.h"

static const uint64_t redraw_ns = 200 * BLX_NS_PER_MS;
static const uint64_t first_ns = 1000 * BLX_NS_PER_MS;

void blx_progress_init(struct blx_progress *progress, const char *what, uint64_t total_bytes)
{
    *progress = (struct blx_progress){
        .what = what, .total_bytes = total_bytes, .started_ns = blx_clock_ns()};
}

void blx_progress_update(struct blx_progress *progress, uint64_t done_bytes)
{
    uint64_t now = blx_clock_ns();
    uint64_t elapsed = now - progress->started_ns;
    if (elapsed < first_ns || now - progress->drawn_ns < redraw_ns || !isatty(STDERR_FILENO))
        return;
    progress->drawn_ns = now;
    progress->shown = true;

    double rate = (double)done_bytes / blx_ns_to_seconds(elapsed);
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
