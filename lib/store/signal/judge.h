/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a checkpoint looks as if somebody had encrypted what lies on the server: a signal, no
 * verdict. docs/signal.md shows how often it was right and wrong.
 *
 * Three rules, each with its amounts (judge.c has the table). The first that holds gives the kind:
 *
 *     HARDENED  much of the data that packed well was replaced, in place, by data that does not
 *     SLOW      the same, in small parts over the last checkpoints
 *     FRESH     very much data that does not pack came where there were zeros, and no more than
 *               encrypting all that there was would make
 *
 * Amounts are shares of the data that packed before, so that they do not depend on the disk's size,
 * with a floor; and they must be a multiple of what the agent's own history shows, so that whoever
 * replaces archives each night stays calm. Suspicious checkpoints do not count as history, unless a
 * person has taken the pin off that came with them.
 *
 * Threads: pure. The same figures give the same judgement.
 */
#pragma once

#include <stddef.h>

#include "store/signal/history.h"
#include "store/signal/sensitivity.h"

enum blx_signal_kind {
    BLX_SIGNAL_NONE, /* calm */
    BLX_SIGNAL_HARDENED,
    BLX_SIGNAL_SLOW,
    BLX_SIGNAL_FRESH,
    BLX_SIGNAL_KINDS
};

/* "none", "hardened", "slow", "fresh" */
const char *blx_signal_kind_name(enum blx_signal_kind kind);

/* Whether a person has answered the last signal. */
enum blx_signal_answer { BLX_SIGNAL_ANSWERED, BLX_SIGNAL_STANDS };

enum { BLX_SIGNAL_REASON_BYTES = 384 };

struct blx_signal {
    enum blx_signal_kind kind;
    blx_timestamp begun; /* the first checkpoint that belongs to it: those before are calm */
    char reason[BLX_SIGNAL_REASON_BYTES]; /* in words; "": it is calm */
};

/* Judges the checkpoint of `row`; `history` has the ones before. */
void blx_signal_judge(const struct blx_history *history, const struct blx_history_row *row,
                      enum blx_sensitivity sensitivity, enum blx_signal_answer answer,
                      struct blx_signal *signal);
