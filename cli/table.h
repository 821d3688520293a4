/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of texts: a head and rows. Each column is as wide as its widest cell. Two blanks separate
 * the columns, and none follows the last one. On a narrow screen, columns are left out first; then
 * lines are cut.
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
    size_t max_width;     /* then columns with nothing but "" and "-" are left out, too */
    size_t max_rows;      /* without the head */
    const uint8_t *spare; /* columns to leave out if the screen is narrow, in this order */
    size_t spare_count;   /* entries of `spare` */
    /* The escape sequence that colours a row, or NULL. Row 0 is the head. */
    const char *(*paint)(void *arg, size_t row);
    void *paint_arg;
};

/* Adds a row with copies of column_count texts. -ENOMEM. */
int cli_table_add(struct cli_table *table, const char *const *texts);

void cli_table_print(const struct cli_table *table);
void cli_table_done(struct cli_table *table);
