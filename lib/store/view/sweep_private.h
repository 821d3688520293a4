/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a sweep (sweep.h) begins with stretches, for tests of small volumes. Private to lib/store.
 */
#pragma once

#include "store/view/sweep.h"

struct blx_sweep_limits {
    uint64_t slack_bytes;       /* how far from its place a reader may read and still go on: some
                                   ask for several parts at once */
    uint64_t min_run_bytes;     /* that were read on, before the first stretch */
    uint64_t min_stretch_bytes; /* the first stretch; later ones have twice what was read on */
};

/* For tests: whether it has a stretch now. */
bool blx_sweep_has_stretch(struct blx_sweep *sweep);

/* As blx_sweep_new(). */
struct blx_sweep *blx_sweep_new_limited(struct blx_view *view,
                                        const struct blx_sweep_limits *limits);
