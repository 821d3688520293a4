/* SPDX-License-Identifier: Apache-2.0 */
#include "store/signal/signal.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "store/checkpoint/manifest_file.h"
#include "store/checkpoint/pin.h"
#include "store/signal/measure_private.h"

static bool is_marked(const blx_timestamp *marked, size_t count, blx_timestamp checkpoint)
{
    return count > 0 &&
           bsearch(&checkpoint, marked, count, sizeof(*marked), blx_timestamp_compare) != NULL;
}

/* The newest checkpoint before `begun` without a mark; 0: there is none. */
static int find_calm(struct blx_agent_store agent, blx_timestamp begun, blx_timestamp *calm,
                     struct blx_error *err)
{
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    BLX_CLEANUP_FREE blx_timestamp *marked = NULL;
    size_t count = 0, marked_count = 0;
    int rc = blx_manifest_list(agent, 0, begun - 1, &all, &count, err);
    if (rc == 0)
        rc = blx_suspicion_list(agent, &marked, &marked_count, err);
    if (rc < 0)
        return rc;
    while (count > 0 && is_marked(marked, marked_count, all[count - 1]))
        count--;
    *calm = count > 0 ? all[count - 1] : 0;
    return 0;
}

/* A prune may take the checkpoint at the last moment: then the one before is the last calm one. */
static int pin_calm(struct blx_agent_store agent, struct blx_signal_outcome *outcome,
                    blx_timestamp begun, struct blx_error *err)
{
    struct blx_suspicion *suspicion = &outcome->suspicion;
    struct blx_error cause = {0};
    char reason[BLX_PIN_REASON_BYTES];
    int rc = -ENOENT;
    while (rc == -ENOENT) {
        enum blx_pin_result result = BLX_PIN_THERE;
        rc = find_calm(agent, begun, &suspicion->calm, err);
        outcome->pin = BLX_SIGNAL_NO_CALM;
        if (rc < 0 || suspicion->calm == 0)
            return rc;
        snprintf(reason, sizeof(reason),
                 "automatic: the last calm checkpoint before %llu, which "
                 "counts as suspicious",
                 (unsigned long long)suspicion->checkpoint);
        blx_error_clear(&cause);
        rc = blx_pin_write_automatic(agent, suspicion->calm, reason, &result, &cause);
        outcome->pin = result == BLX_PIN_MADE ? BLX_SIGNAL_PINNED : BLX_SIGNAL_HELD_BEFORE;
        begun = suspicion->calm;
    }
    return rc < 0 ? blx_error_copy(err, rc, &cause) : 0;
}

/* As long as the automatic pin of an earlier signal stands, this one belongs to that. */
static int mark(struct blx_agent_store agent, const struct blx_signal *signal, bool stands,
                struct blx_signal_outcome *outcome, struct blx_error *err)
{
    struct blx_suspicion *suspicion = &outcome->suspicion, earlier;
    int rc = 0;
    suspicion->since = suspicion->checkpoint;
    suspicion->judged_realtime_ns = blx_clock_realtime_ns();
    blx_text_set(suspicion->reason, signal->reason);
    if (!stands) {
        rc = pin_calm(agent, outcome, signal->begun, err);
    } else {
        outcome->pin = BLX_SIGNAL_HELD_BEFORE;
        rc = blx_pin_find_automatic(agent, &suspicion->calm, NULL, err);
        /* A mark of another signal has another one, if this one's could not be written. */
        if (rc == 0 && blx_suspicion_find_newest(agent, &earlier, NULL) == 0 &&
            earlier.calm == suspicion->calm)
            suspicion->since = earlier.since;
    }
    return rc == 0 ? blx_suspicion_write(agent, suspicion, err) : rc;
}

/* Whether a person has looked at the last signal: nothing holds its calm checkpoint any more, no
 * pin of ours and none of a person's. */
static bool is_answered(struct blx_agent_store agent, blx_timestamp pinned)
{
    struct blx_suspicion last;
    bool is_held = false;
    return pinned == 0 && (blx_suspicion_find_newest(agent, &last, NULL) < 0 || last.calm == 0 ||
                           blx_pin_read(agent, last.calm, &is_held, NULL) < 0 || !is_held);
}

int blx_signal_take(struct blx_agent_store agent, const struct blx_manifest *manifest,
                    enum blx_sensitivity sensitivity, struct blx_signal_outcome *outcome,
                    struct blx_error *err)
{
    struct blx_history_row row = {.checkpoint = manifest->timestamp};
    BLX_CLEANUP_FREE struct blx_history *history = malloc(sizeof(*history));
    struct blx_signal signal;
    struct blx_signal_outcome found = {.suspicion = {.checkpoint = manifest->timestamp}};
    blx_timestamp pinned = 0;
    *outcome = found;
    if (sensitivity == BLX_SENSITIVITY_OFF)
        return 0;
    if (history == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot judge what the checkpoint changed");
    int rc = blx_change_measure(agent, manifest, &row.change, err);
    if (rc == 0)
        rc = blx_history_read(agent, history, err);
    if (rc == 0)
        rc = blx_pin_find_automatic(agent, &pinned, NULL, err);
    if (rc < 0)
        return rc;
    blx_signal_judge(history, &row, sensitivity,
                     is_answered(agent, pinned) ? BLX_SIGNAL_ANSWERED : BLX_SIGNAL_STANDS, &signal);
    row.suspicious = signal.kind != BLX_SIGNAL_NONE;
    found.suspicion.kind = signal.kind;
    found.suspicion.sensitivity = sensitivity;
    found.suspicion.change = row.change;
    if (row.suspicious)
        rc = mark(agent, &signal, pinned != 0, &found, err);
    if (rc == 0)
        rc = blx_history_add(agent, &row, err);
    if (rc == 0)
        *outcome = found;
    return rc;
}
