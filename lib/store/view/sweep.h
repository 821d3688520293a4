/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader of a view (view.h) that may go through it from front to back. As long as it does, and
 * the changes are scattered so that each frame is needed at many places, it reads a stretch of the
 * view at a time in the plan's order, and keeps the stretch's blocks in place of their frames.
 * Whatever else is read goes through the view's cache as ever.
 *
 *     PLAIN ──goes on, scattered──► FILLING ──► READY ──read to its end──► FILLING
 *       ▲                              │failed     │goes elsewhere
 *       └──────────────────────────────┴───────────┘
 *
 * Memory: the stretch, which the cache gives up as long as there is one: three quarters of it. So
 * one sweep of a cache has one at a time; the others read as they would without. A stretch of 48
 * MiB takes 2 MiB more while it is planned.
 *
 * Threads: any, also for one sweep. A read blocks while its stretch is filled.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/view/view.h"

struct blx_sweep;

/* Borrows the view, which shows data. NULL: no memory. */
struct blx_sweep *blx_sweep_new(struct blx_view *view);

/* Nobody reads any more. NULL is allowed. */
void blx_sweep_free(struct blx_sweep *sweep);

/* As blx_view_read(). */
int blx_sweep_read(struct blx_sweep *sweep, void *buffer, size_t bytes, uint64_t offset_bytes,
                   struct blx_error *err);

/* Whether what comes at the offset was looked at, and is no stretch: then it helps to run ahead of
 * the reader. Otherwise what is read ahead may be read for nothing. */
bool blx_sweep_is_plain(struct blx_sweep *sweep, uint64_t offset_bytes);
