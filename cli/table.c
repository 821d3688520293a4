#include "cli/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cli_table_add(struct cli_table *table, const char *const *texts)
{
    size_t wanted = table->cell_count + table->column_count;
    char **grown = reallocarray(table->cells, wanted, sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    table->cells = grown;
    for (size_t i = 0; i < table->column_count; i++) {
        char *copy = strdup(texts[i]);
        if (copy == NULL)
            return -ENOMEM;
        grown[table->cell_count++] = copy;
    }
    return 0;
}

static void print_row(char *const *cells, size_t column_count, const size_t *widths)
{
    while (column_count > 1 && cells[column_count - 1][0] == '\0')
        column_count--;
    for (size_t i = 0; i + 1 < column_count; i++)
        printf("%-*s  ", (int)widths[i], cells[i]);
    printf("%s\n", cells[column_count - 1]);
}

void cli_table_print(const struct cli_table *table)
{
    size_t widths[CLI_TABLE_MAX_COLUMNS] = {0};
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t *width = &widths[i % table->column_count];
        size_t length = strlen(table->cells[i]);
        *width = length > *width ? length : *width;
    }
    for (size_t i = 0; i < table->cell_count; i += table->column_count)
        print_row(table->cells + i, table->column_count, widths);
}

void cli_table_done(struct cli_table *table)
{
    for (size_t i = 0; i < table->cell_count; i++)
        free(table->cells[i]);
    free(table->cells);
    *table = (struct cli_table){0};
}
