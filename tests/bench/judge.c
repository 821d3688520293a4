/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judges checkpoints of an agent at each sensitivity, for suspicious.py: what the store noted that
 * they changed, against a chosen part of their agent's history.
 *
 *     bench_judge DATA_DIR AGENT TIMESTAMP... -- TIMESTAMP...
 *
 * The first ones are the history, the second ones are judged one after another, each with those
 * before it as history. A line for each of these: the timestamp, the signal's kind at low, default
 * and high, and the figures.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "store/signal/judge.h"

static const enum blx_sensitivity levels[] = {BLX_SENSITIVITY_LOW, BLX_SENSITIVITY_DEFAULT,
                                              BLX_SENSITIVITY_HIGH};

static const struct blx_history_row *find(const struct blx_history *all, const char *digits)
{
    blx_timestamp checkpoint = strtoull(digits, NULL, 10);
    for (size_t i = 0; i < all->count; i++)
        if (all->rows[i].checkpoint == checkpoint)
            return &all->rows[i];
    fprintf(stderr, "the history has no row of %s\n", digits);
    exit(1);
}

static void judge(struct blx_history histories[], struct blx_history_row row)
{
    const struct blx_change *change = &row.change;
    printf("%" PRIu64, row.checkpoint);
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        struct blx_signal signal;
        blx_signal_judge(&histories[i], &row, levels[i], BLX_SIGNAL_STANDS, &signal);
        row.suspicious = signal.kind != BLX_SIGNAL_NONE;
        histories[i].rows[histories[i].count++] = row;
        printf(" %s", blx_signal_kind_name(signal.kind));
    }
    printf(" %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
           " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
           change->data_bytes, change->hard_bytes, change->changed_bytes, change->zeroed_bytes,
           change->fresh_bytes, change->fresh_hard_bytes, change->replaced_bytes,
           change->packed_before_bytes, change->packed_after_bytes, change->hardened_bytes);
}

int main(int argc, char **argv)
{
    static struct blx_history all, histories[3];
    struct blx_store store = {.lock_fd = -1};
    struct blx_error err = {0};
    if (argc < 5) {
        fprintf(stderr, "usage: bench_judge DATA_DIR AGENT TIMESTAMP... -- TIMESTAMP...\n");
        return 2;
    }
    blx_text_set(store.data_dir, argv[1]);
    if (blx_history_read(blx_store_agent(&store, argv[2]), &all, &err) < 0) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    int at = 3;
    for (; at < argc && strcmp(argv[at], "--") != 0; at++)
        for (size_t i = 0; i < 3; i++) {
            histories[i].rows[histories[i].count] = *find(&all, argv[at]);
            histories[i].rows[histories[i].count++].suspicious = false;
        }
    for (at++; at < argc && histories[0].count < BLX_HISTORY_ROWS; at++)
        judge(histories, *find(&all, argv[at]));
    return 0;
}
