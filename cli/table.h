/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of texts: a head and rows. Each column is as wide as its widest cell. Two blanks separate
 * the columns, and none follows the last one. On a narrow screen the last columns are folded into
 * an indented line below their row, and then others are left out. No word is ever cut.
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
    char **cells; /* owned; column_count for each row, the head first; one allocation per row */
    size_t cell_count, cell_capacity;

    /* Optional. If all are zero: stdout, no limits, no colours. */
    FILE *out;
    size_t max_width; /* then columns with nothing but "" and "-" are left out, too */
    size_t max_lines; /* without the head */
    size_t fold_from; /* the columns from this one on are folded if the screen is narrow; 0: none */
    const uint8_t *spare; /* columns to leave out if the screen is narrow, in this order */
    size_t spare_count;   /* entries of `spare` */
    /* The escape sequence that colours a row, or NULL. Row 0 is the head. */
    const char *(*paint)(void *arg, size_t row);
    void *paint_arg;
};

/* Makes it as wide as the terminal, if `out` is one: then `max_width` is set. */
void cli_table_fit(struct cli_table *table, FILE *out);

/* Adds a row with copies of column_count texts. -ENOMEM. */
int cli_table_add(struct cli_table *table, const char *const *texts);

/* Returns how many rows were printed, without the head. */
size_t cli_table_print(const struct cli_table *table);

void cli_table_done(struct cli_table *table);
