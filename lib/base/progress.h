/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Progress on a terminal: "restoring sda: 41 %, 3.2 GiB of 7.8 GiB, 410.0 MiB/s, ETA 11 s", redrawn
 * in place on stderr a few times a second. If stderr is not a terminal nothing is drawn.
 *
 * Threads: one thread at a time; the struct is the caller's. Nothing fails.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct blx_progress {
    const char *what; /* borrowed */
    uint64_t total_bytes;
    uint64_t started_ns;
    uint64_t drawn_ns;
    bool shown;
};

void blx_progress_init(struct blx_progress *progress, const char *what, uint64_t total_bytes);

/* Draws, unless the last drawing is less than 200 ms ago. Nothing is drawn in the first second. */
void blx_progress_update(struct blx_progress *progress, uint64_t done_bytes);

/* Removes the line. */
void blx_progress_done(struct blx_progress *progress);
