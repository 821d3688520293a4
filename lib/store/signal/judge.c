/* SPDX-License-Identifier: Apache-2.0 */
#include "store/signal/judge.h"

#include <stdio.h>

#include "base/units.h"

#define MIB UINT64_C(1048576)

/* How much of it is too much. */
struct amount {
    uint64_t floor_bytes;
    unsigned permille; /* of the data that packed before */
    unsigned times;    /* what is usual */
};

struct rules {
    unsigned share_percent; /* of the replaced data: has hardened */
    struct amount hardened, slow, fresh;
};

enum { SLOW_ROWS = 24 };

/* An amount of 0 permille: the rule is not asked. */
static const struct rules tables[BLX_SENSITIVITIES] = {
    [BLX_SENSITIVITY_LOW] = {.share_percent = 50,
                             .hardened = {32 * MIB, 50, 6},
                             .slow = {64 * MIB, 100, 6},
                             .fresh = {0, 0, 0}},
    [BLX_SENSITIVITY_DEFAULT] = {.share_percent = 35,
                                 .hardened = {4 * MIB, 15, 4},
                                 .slow = {8 * MIB, 25, 4},
                                 .fresh = {256 * MIB, 500, 10}},
    [BLX_SENSITIVITY_HIGH] = {.share_percent = 15,
                              .hardened = {1 * MIB, 3, 2},
                              .slow = {2 * MIB, 6, 2},
                              .fresh = {8 * MIB, 50, 4}},
};

const char *blx_sensitivity_name(enum blx_sensitivity sensitivity)
{
    static const char *const names[BLX_SENSITIVITIES] = {
        [BLX_SENSITIVITY_DEFAULT] = "default",
        [BLX_SENSITIVITY_LOW] = "low",
        [BLX_SENSITIVITY_HIGH] = "high",
        [BLX_SENSITIVITY_OFF] = "off",
    };
    return names[sensitivity];
}

const char *blx_signal_kind_name(enum blx_signal_kind kind)
{
    static const char *const names[BLX_SIGNAL_KINDS] = {
        [BLX_SIGNAL_NONE] = "none",
        [BLX_SIGNAL_HARDENED] = "hardened",
        [BLX_SIGNAL_SLOW] = "slow",
        [BLX_SIGNAL_FRESH] = "fresh",
    };
    return names[kind];
}

/* What is judged, and by what. */
struct court {
    const struct blx_history *history;
    const struct blx_history_row *row;
    const struct rules *rules;
    enum blx_signal_answer answer;
};

/* A suspicious checkpoint is no example, unless a person said that it was all right. */
static bool is_example(const struct court *court, const struct blx_history_row *row)
{
    return !row->suspicious || court->answer == BLX_SIGNAL_ANSWERED;
}

static uint64_t soft_bytes(const struct blx_change *change)
{
    return change->data_bytes > change->hard_bytes ? change->data_bytes - change->hard_bytes : 0;
}

static bool has_hardened(const struct court *court, const struct blx_change *change)
{
    return change->hardened_bytes > 0 &&
           blx_change_percent(change->hardened_bytes, change->replaced_bytes) >=
               court->rules->share_percent;
}

static bool is_much(const struct amount *amount, uint64_t bytes, uint64_t soft, uint64_t usual)
{
    return amount->permille > 0 && bytes >= amount->floor_bytes &&
           bytes / amount->permille >= soft / 1000 && usual <= bytes / amount->times;
}

/* The most that one of the first `count` checkpoints of the history did. */
static uint64_t most(const struct court *court, size_t count, enum blx_signal_kind kind)
{
    uint64_t found = 0;
    for (size_t i = 0; i < count; i++) {
        const struct blx_history_row *row = &court->history->rows[i];
        uint64_t bytes =
            kind == BLX_SIGNAL_FRESH ? row->change.fresh_hard_bytes : row->change.hardened_bytes;
        if (is_example(court, row) && bytes > found)
            found = bytes;
    }
    return found;
}

/* Whether a checkpoint of the history is a small part of it. */
static bool is_part(const struct court *court, const struct blx_history_row *row)
{
    return has_hardened(court, &row->change) &&
           row->change.hardened_bytes >= court->rules->slow.floor_bytes / SLOW_ROWS;
}

/* The checkpoints back to the last one that was suspicious. */
static size_t find_window(const struct court *court)
{
    const struct blx_history *history = court->history;
    size_t at = history->count;
    while (at > 0 && history->count - at < SLOW_ROWS - 1 && !history->rows[at - 1].suspicious)
        at--;
    return at;
}

/* What was done in small parts since row `window`. `first` becomes the oldest of them. */
static uint64_t add_up(const struct court *court, size_t window, blx_timestamp *first)
{
    const struct blx_history *history = court->history;
    uint64_t sum = court->row->change.hardened_bytes;
    for (size_t at = history->count; at > window; at--) {
        const struct blx_history_row *row = &history->rows[at - 1];
        if (!is_part(court, row))
            continue;
        sum += row->change.hardened_bytes;
        *first = row->checkpoint;
    }
    return sum;
}

/* The oldest of the checkpoints before this one that are parts without a gap. */
static blx_timestamp find_first(const struct court *court)
{
    const struct blx_history *history = court->history;
    blx_timestamp first = court->row->checkpoint;
    for (size_t at = history->count; at > 0 && is_part(court, &history->rows[at - 1]); at--)
        first = history->rows[at - 1].checkpoint;
    return first;
}

static void explain(const struct blx_change *change, uint64_t bytes, uint64_t usual,
                    struct blx_signal *signal)
{
    char amount[BLX_UNIT_TEXT_BYTES], before[BLX_UNIT_TEXT_BYTES];
    blx_size_format(bytes, amount);
    blx_size_format(usual, before);
    unsigned share = blx_change_percent(bytes, soft_bytes(change));
    const char *usually = usual == 0 ? "never before in its history" : before;
    const char *at_most = usual == 0 ? "" : "before, at most ";
    if (signal->kind == BLX_SIGNAL_FRESH)
        snprintf(signal->reason, sizeof(signal->reason),
                 "%s of new data do not pack, as encrypted or compressed data: %u %% of the data "
                 "that packs on its disks; %s%s",
                 amount, share, at_most, usually);
    else
        snprintf(signal->reason, sizeof(signal->reason),
                 "%s of data that packed well were replaced by data that does not pack%s: %u %% of "
                 "the data that packs on its disks, and what was replaced packed to %u %% and now "
                 "to %u %%; %s%s",
                 amount, signal->kind == BLX_SIGNAL_SLOW ? ", over several checkpoints" : "", share,
                 blx_change_percent(change->packed_before_bytes, change->replaced_bytes),
                 blx_change_percent(change->packed_after_bytes, change->replaced_bytes), at_most,
                 usually);
}

/* `bytes` and `usual` become those that the reason names. */
static enum blx_signal_kind judge_hardened(const struct court *court, uint64_t *bytes,
                                           uint64_t *usual, blx_timestamp *begun)
{
    const struct rules *rules = court->rules;
    const struct blx_change *change = &court->row->change;
    uint64_t soft = soft_bytes(change);
    if (!has_hardened(court, change))
        return BLX_SIGNAL_NONE;
    *bytes = change->hardened_bytes;
    *usual = most(court, court->history->count, BLX_SIGNAL_HARDENED);
    if (is_much(&rules->hardened, *bytes, soft, *usual)) {
        *begun = find_first(court);
        return BLX_SIGNAL_HARDENED;
    }
    size_t window = find_window(court), rows = court->history->count - window + 1;
    *bytes = add_up(court, window, begun);
    *usual = most(court, window, BLX_SIGNAL_HARDENED);
    return is_much(&rules->slow, *bytes, soft, *usual * rows) ? BLX_SIGNAL_SLOW : BLX_SIGNAL_NONE;
}

/* Encryption makes no more of it than there was to encrypt: a disk that is filled is none. */
static enum blx_signal_kind judge_fresh(const struct court *court, uint64_t *bytes, uint64_t *usual)
{
    const struct blx_change *change = &court->row->change;
    uint64_t soft = soft_bytes(change);
    *bytes = change->fresh_hard_bytes;
    *usual = most(court, court->history->count, BLX_SIGNAL_FRESH);
    bool much = is_much(&court->rules->fresh, *bytes, soft, *usual);
    return much && *bytes / 5 <= soft / 4 ? BLX_SIGNAL_FRESH : BLX_SIGNAL_NONE;
}

void blx_signal_judge(const struct blx_history *history, const struct blx_history_row *row,
                      enum blx_sensitivity sensitivity, enum blx_signal_answer answer,
                      struct blx_signal *signal)
{
    const struct court court = {history, row, &tables[sensitivity], answer};
    uint64_t bytes = 0, usual = 0;
    *signal = (struct blx_signal){.begun = row->checkpoint};
    signal->kind = judge_hardened(&court, &bytes, &usual, &signal->begun);
    if (signal->kind == BLX_SIGNAL_NONE) {
        signal->begun = row->checkpoint;
        signal->kind = judge_fresh(&court, &bytes, &usual);
    }
    if (signal->kind != BLX_SIGNAL_NONE)
        explain(&row->change, bytes, usual, signal);
}
