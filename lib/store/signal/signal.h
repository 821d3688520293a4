/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signal: after each commit the checkpoint is measured, judged against its agent's history, and
 * if it looks as if data had been encrypted, marked. docs/decisions/signal.md has the reasons.
 *
 *     manifest, indexes, frame headers --measure--> change --judge--> signal
 *                                                     |                 |
 *                       agents/ID/changes <-----------+                 +--> TIMESTAMP.suspicious
 *                                                                       +--> the last calm
 *                                                                            checkpoint is pinned
 *
 * What the agent sends decides the figures, so it must not gain anything by them: an agent has one
 * automatic pin at most. As long as that stands, further suspicious checkpoints get their marks and
 * nothing else. A person takes it off (`blxrep dispatcher unpin`).
 *
 * A crash before the mark leaves the checkpoint unmarked for ever; the next one is measured against
 * it.
 *
 * Threads: one at a time for an agent, the session that committed. Waits for the disk.
 */
#pragma once

#include "base/error.h"
#include "store/checkpoint/manifest.h"
#include "store/signal/sensitivity.h"
#include "store/signal/suspicion.h"

enum blx_signal_pin {
    BLX_SIGNAL_PINNED,      /* the last calm checkpoint, just now */
    BLX_SIGNAL_HELD_BEFORE, /* a pin stands already: an earlier signal's, or a person's of that
                               checkpoint */
    BLX_SIGNAL_NO_CALM,     /* there is no calm checkpoint */
};

struct blx_signal_outcome {
    struct blx_suspicion suspicion; /* kind BLX_SIGNAL_NONE: the checkpoint is calm */
    enum blx_signal_pin pin;        /* if it is not */
};

/*
 * Measures and judges the agent's newest checkpoint, `manifest`. With BLX_SENSITIVITY_OFF nothing
 * is done. An error leaves the checkpoint as good as it was: unmarked, or marked without a pin.
 */
int blx_signal_take(struct blx_agent_store agent, const struct blx_manifest *manifest,
                    enum blx_sensitivity sensitivity, struct blx_signal_outcome *outcome,
                    struct blx_error *err);
