/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of texts: a head and rows, each column as wide as its widest cell, two blanks between,
 * none behind the last. On a screen that is too narrow columns are left out, then lines are cut.
 *
 * Threads: one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { CLI_TABLE_MAX_COLUMNS = 16 };

struct cli_table {
    size_t column_count;
    char *
        *cells; /* owned, column_count for each row, the head first; a row's texts are one block */
    size_t cell_count, cell_capacity;

    /* Set by the caller where they are wanted; zero: no limits, stdout, no colours. */
    FILE *out;
    size_t max_width;     /* columns without anything to say are left out, too */
    size_t max_rows;      /* without the head */
    const uint8_t *spare; /* columns to be left out where it is narrow, the first one first */
    size_t spare_count;   /* of `spare` */
    const char *(*paint)(void *arg,
                         size_t row); /* escape before a row, row 0 is the head; or NULL */
    void *paint_arg;
};

/* Adds a row: column_count texts, copied. -ENOMEM. */
int cli_table_add(struct cli_table *table, const char *const *texts);

void cli_table_print(const struct cli_table *table);
void cli_table_done(struct cli_table *table);
