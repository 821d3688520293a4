/*
 * A table of texts on stdout: a head and rows, each column as wide as its widest cell, two blanks
 * between, none behind the last.
 *
 * Threads: one.
 */
#pragma once

#include <stddef.h>

enum { CLI_TABLE_MAX_COLUMNS = 10 };

struct cli_table {
    size_t column_count;
    char **cells; /* owned, column_count for each row, the head first */
    size_t cell_count;
};

/* Adds a row: column_count texts, copied. -ENOMEM. */
int cli_table_add(struct cli_table *table, const char *const *texts);

void cli_table_print(const struct cli_table *table);
void cli_table_done(struct cli_table *table);
